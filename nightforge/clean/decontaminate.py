"""Drops rows that share runs of words with the user's own benchmark files (see nightforge/overlap.py for the sources).

A benchmark is an asset: *.jsonl (an object a line) or *.txt (an item a paragraph) under `ingest.assets`. The splits of
the data itself are kept apart by the stage split.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from nightforge import assets as assets_of
from nightforge import overlap
from nightforge.records import Reject
from nightforge.view import View
from nightforge.words import folded


class Config(overlap.Overlap):
    """Which benchmarks, and what counts as having seen an item of one."""

    benchmarks: list[str] = Field(min_length=1)
    """Names of assets."""
    keys: list[str] = Field(min_length=1)
    """What makes an item of a line of JSON, such as [question, answer]: the texts of these, joined by line breaks."""


SAMPLE = Config(run_words=13, item_words_min=8, share_min=0.0, benchmarks=["benchmark"], keys=["text"])


def prepare(cfg: Config, assets: Path) -> overlap.Items:
    """The benchmarks' items, named as `benchmark#place`, places counted from 1.

    Raises:
        AssetMissing: a benchmark is not among the assets.
        DataError: a file of it cannot be read.
    """
    items = (
        (f"{name}#{at}", folded(text))
        for name in cfg.benchmarks
        for at, text in enumerate(assets_of.texts(assets, name, cfg.keys), 1)
    )
    return overlap.Items(items, cfg)


def judge(view: View, cfg: Config, state: overlap.Items) -> Iterator[Reject]:
    """The item that the text has seen most of."""
    if hit := state.find(view.folded):
        yield Reject("contaminated", str(hit))
