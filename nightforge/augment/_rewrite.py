"""Sentences said anew by a model: what back_translation.py and paraphrase.py share."""

import math
import random
from collections.abc import Callable, Iterable, Sequence

from pydantic import Field

from nightforge.augment._models import Sampling
from nightforge.augment._prose import Change, Draw, Varied, sentences


class Rewritten(Varied):
    """Which sentences are said anew."""

    sentence_share: float = Field(gt=0, le=1)
    """Share of the sentences to say anew (rounded up). One that holds an address, a number, code or other things to
    keep is never touched."""
    words_min: int = Field(ge=1)
    """Words from which a sentence is said anew."""
    sampling: Sampling
    """How the model is drawn from."""


def plan(cfg: Rewritten, say: Callable[[Sequence[str], int], list[str]], text: str) -> Draw | None:
    """What draws the sentences to say anew, and has them said.

    Args:
        cfg: which, how many.
        say: (sentences, seed) → each said anew, or an empty text where the model fails.
        text: a part of a record.
    """
    found = sentences(text, cfg.words_min)
    if not found:
        return None

    def draw(rng: random.Random) -> Iterable[Change]:
        chosen = rng.sample(found, math.ceil(cfg.sentence_share * len(found)))
        said = say([sentence for _, sentence in chosen], rng.getrandbits(32))
        return [Change(at, sentence, new or sentence) for (at, sentence), new in zip(chosen, said, strict=True)]

    return draw
