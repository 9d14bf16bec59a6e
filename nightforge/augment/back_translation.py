"""Translates sentences into another language and back: Sennrich et al. 2016, arXiv 1511.06709; Edunov et al. 2018.

Two local sequence-to-sequence folders (Marian, or any other that needs no language tag) are read by transformers; what
is drawn is sampled, since the likeliest translation back is often the sentence itself (arXiv 1808.09381).
"""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from nightforge.augment._models import Local, Sampling, generate, load
from nightforge.augment._prose import variants
from nightforge.augment._rewrite import Rewritten, plan
from nightforge.records import Record


class Config(Rewritten):
    """Which models translate how much."""

    there: str
    """Name of an asset: the model that translates into the other language."""
    back: str
    """Name of an asset: the model that translates back."""


SAMPLE = Config(
    part="all",
    tries=2,
    sentence_share=0.5,
    words_min=3,
    sampling=Sampling(temperature=0.8, top_p=0.95, new_tokens=8, batch=16),
    there="translate_there",
    back="translate_back",
)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where no sentence may be translated.

    Raises:
        AssetMissing: a model is not among the assets.
    """
    there, back = (load(assets, name, "AutoModelForSeq2SeqLM") for name in (cfg.there, cfg.back))
    return variants(record, cfg, rng, partial(plan, cfg, partial(_translate, there, back, cfg.sampling)))


def _translate(there: Local, back: Local, cfg: Sampling, texts: Sequence[str], seed: int) -> list[str]:
    return generate(back, generate(there, texts, cfg, seed), cfg, seed + 1)
