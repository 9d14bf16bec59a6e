"""Texts that the teacher writes, for the student to be trained on: Kim & Rush 2016, arXiv 1606.07947, §3.2.

They take the likeliest text for each source; a language model has no source, and few likeliest texts: ours are drawn.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import Field

from nightforge import config, models, sampling
from nightforge.batching import Data
from nightforge.corpus import Corpus, corpus
from nightforge.scoring import END, GIVEN, TEXT, Encoded

PROMPTS = 64
"""Texts that are written at once."""


class Written(config.Config):
    """What the teacher is asked to write."""

    texts: int = Field(ge=1)
    """How many; each goes on from the start of a row of the train split."""
    prompt_tokens: int = Field(ge=1)
    """Tokens of that start, its label among them; they are not learnt."""
    new_tokens: int = Field(ge=1)
    """Tokens of a text at most."""
    temperature: float = Field(gt=0)
    """Below 1 likely tokens are drawn more often."""
    top_p: float = Field(gt=0, le=1)
    """Probability of the likeliest tokens that may be drawn."""


def written(teacher: Any, split: Data, cfg: Written, seed: int) -> Corpus:
    """Rows to train on in place of those of a split, determined by the seed."""
    return corpus(_documents(teacher, split, cfg, seed), models.context_length(teacher))


def _documents(teacher: Any, split: Data, cfg: Written, seed: int) -> Iterator[Encoded]:
    count = len(split.sizes)
    chosen = np.random.default_rng(seed).permutation(np.arange(max(cfg.texts, count)) % count)[: cfg.texts].tolist()
    end = teacher.config.eos_token_id
    for at in range(0, cfg.texts, PROMPTS):
        rows = chosen[at : at + PROMPTS]
        prompts = [
            split.batch([row]).tensors["ids"][0, : min(cfg.prompt_tokens, int(split.sizes[row]))].tolist()
            for row in rows
        ]
        room = min(cfg.new_tokens, models.context_length(teacher) - max(map(len, prompts)))
        made = sampling.sample(teacher, prompts, room, cfg.temperature, cfg.top_p, seed + at)
        for prompt, text in zip(prompts, made, strict=True):
            closing = [end] if len(text) < room else []
            marks = [GIVEN] * len(prompt) + [TEXT] * len(text) + [END] * len(closing)
            yield Encoded([*prompt, *text, *closing], marks)
