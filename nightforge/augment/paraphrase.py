"""Has the user's own causal language model say sentences in other words: Dai et al. 2023, arXiv 2302.13007.

What it answers is cut at the first line break. A model that was not made for it will say something else: the bounds on
change, label and language in `augment.quality` then refuse the variant.
"""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from nightforge.augment._models import Local, Sampling, generate, load
from nightforge.augment._prose import variants
from nightforge.augment._rewrite import Rewritten, plan
from nightforge.records import Record

SLOT = "{text}"


def _with_slot(template: str) -> str:
    if template.count(SLOT) != 1:
        raise ValueError(f"expected {SLOT} once, where the sentence is put in")
    return template


class Config(Rewritten):
    """Which model says how much anew, and how it is asked."""

    asset: str
    """Name of an asset: a Hugging Face folder of a causal language model, with safetensors."""
    prompt: Annotated[str, AfterValidator(_with_slot)]
    """What the model goes on after, with {text} where the sentence is put in."""


SAMPLE = Config(
    part="all",
    tries=2,
    sentence_share=0.5,
    words_min=3,
    sampling=Sampling(temperature=0.8, top_p=0.95, new_tokens=8, batch=16),
    asset="causal_lm",
    prompt="Say this in other words.\nText: {text}\nIn other words:",
)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where no sentence may be said anew.

    Raises:
        AssetMissing: the model is not among the assets.
    """
    local = load(assets, cfg.asset, "AutoModelForCausalLM")
    return variants(record, cfg, rng, partial(plan, cfg, partial(_say, local, cfg)))


def _say(local: Local, cfg: Config, texts: Sequence[str], seed: int) -> list[str]:
    return generate(local, [cfg.prompt.replace(SLOT, text) for text in texts], cfg.sampling, seed)
