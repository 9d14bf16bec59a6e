"""Drops texts that a small language model of a trusted source finds too surprising, or not surprising enough.

CCNet (Wenzek et al. 2020, arXiv 1911.00359, §3.3) cuts by the perplexity of a Kneser–Ney model of Wikipedia. Ours
(nightforge/ngram.py) counts bytes, so it knows every script and no tokenizer; it is fitted when the stage starts, to
texts that the user trusts, and its measure is bits per byte, which does not depend on the length of a text. The trusted
texts are held while it is. With 4 MB of them it reads 2,000 pages of 1.2 kB a second a core.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from nightforge import assets as laid
from nightforge import config, ngram
from nightforge.errors import DataError
from nightforge.records import Mark, Reject
from nightforge.view import View

HELD_OUT = 10
"""Every so-manieth trusted text is not learnt from: it says how surprising a new text of that source is."""
LN2 = float(np.log(2))


class Config(config.Config):
    """Whose language is trusted, and how far a text may be from it."""

    trusted: str
    """Name of an asset: texts in the language that is wanted (*.jsonl with `text`, or *.txt with paragraphs)."""
    order: int = Field(ge=1, le=ngram.MAX_ORDER)
    """Bytes in an n-gram: 5 suits a megabyte of trusted text."""
    fit_bytes_max: int = Field(ge=1_000)
    """Most bytes learnt from, of texts spread evenly over the source; about 100 bytes of memory each while fitting."""
    bounds: Literal["bits_per_byte", "quantile"]
    """What `low` and `high` are: bits per byte, or shares of held-out trusted texts that lie below."""
    low: float = Field(ge=0)
    """Least surprise; 0 bounds nothing. Below lies what repeats itself or the trusted source."""
    high: float = Field(gt=0)
    """Most surprise."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high or (self.bounds == "quantile" and self.high > 1):
            raise ValueError(f"expected low < high, and quantiles up to 1, got {self.low} and {self.high}")
        return self


SAMPLE = Config(trusted="trusted", order=5, fit_bytes_max=4_000_000, bounds="quantile", low=0, high=0.99)


class Trusted(NamedTuple):
    """A fitted model, and bounds in bits per byte."""

    model: ngram.Backoff
    low: float
    high: float


def prepare(cfg: Config, assets: Path) -> Trusted:
    """Fit the model to the trusted texts, and bounds to those held out.

    Raises:
        AssetMissing: there are none.
        DataError: too few to hold some out.
    """
    texts = [text.encode("utf-8", "surrogatepass") for text in laid.texts(assets, cfg.trusted)]
    held_out = texts[::HELD_OUT]
    rest = [text for i, text in enumerate(texts) if i % HELD_OUT]
    if len(held_out) < 10 and cfg.bounds == "quantile":
        raise DataError(
            f"{assets / cfg.trusted}: expected {9 * HELD_OUT + 1} texts or more to find quantiles, got {len(texts)}. "
            "Add texts, or give bounds in bits_per_byte."
        )
    step = max(1, -(-sum(map(len, rest)) // cfg.fit_bytes_max))
    model = ngram.backed_off(ngram.fit([(None, text) for text in rest[::step] or texts], cfg.order))
    if cfg.bounds == "bits_per_byte":
        return Trusted(model, cfg.low, cfg.high)
    surprise = [bits_per_byte(model, text) for text in held_out]
    low, high = np.quantile(surprise, [cfg.low, cfg.high])
    return Trusted(model, float(low) if cfg.low else 0.0, float(high))


def judge(view: View, cfg: Config, trusted: Trusted) -> Iterator[Mark | Reject]:
    """How surprising a text is, and whether that is out of bounds; a text of no bytes is not judged."""
    if not view.text:
        return
    surprise = bits_per_byte(trusted.model, view.text.encode("utf-8", "surrogatepass"))
    yield Mark("bits_per_byte", surprise)
    if surprise > trusted.high:
        yield Reject("perplexity_too_high", f"{surprise:.2f} > {trusted.high:.2f} bits per byte")
    elif surprise < trusted.low:
        yield Reject("perplexity_too_low", f"{surprise:.2f} < {trusted.low:.2f} bits per byte")


def bits_per_byte(model: ngram.Backoff, text: bytes) -> float:
    """Of a text of one byte or more, rounded so that no last digit of a machine decides."""
    return round(ngram.text_nats(model, text) / LN2 / len(text), 4)
