"""Thins large classes to the rows nearest to the smallest class: NearMiss.

Mani & Zhang 2003, *kNN approach to unbalanced data distributions*, ICML workshop; as in imbalanced-learn.

imbalanced-learn's own holds distances to all rows of the smallest class for version 2, and up to 1 GB of them for the
others; here they are worked out in blocks. The tests hold the choice against theirs. What stays lies near other
classes, which sharpens a border and thins out what is typical.
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from nightforge.balance._neighbours import Features, nearest
from nightforge.balance._targets import Ints, Thin, coded, lowered, sized

NEEDS = "embedding"


class Config(Thin):
    """How far a class may stand out, and which of its rows stay."""

    version: Literal[1, 2, 3]
    """1: the rows whose `neighbours` nearest rows of the smallest class are nearest; 2: whose farthest ones are;
    3: of the `candidates` nearest to each row of the smallest class, those farthest from it. Version 3 has no others to
    choose from, and may keep far fewer rows than asked (it then warns): 132 of 2,000 in one trial."""
    neighbours: int = Field(ge=1, le=1000)
    """Rows of the smallest class that a distance is taken to."""
    candidates: int = Field(ge=1, le=1000)
    """Rows taken next to each row of the smallest class; version 3 alone looks at it."""


SAMPLE = Config(weights="equal", median_ratio_max=1.5, rows_max=None, version=1, neighbours=3, candidates=3)


def resample(labels: Sequence[str], features: Features, cfg: Config, rng: np.random.Generator) -> Ints:
    """Indices of the rows that stay, in their order; nothing is left to chance."""
    names, codes = coded(labels)
    sizes = sized(names, codes)
    keep = np.ones(len(labels), bool)
    for label, wanted in lowered(sizes, cfg).items():
        smallest = np.flatnonzero(codes == names.index(min(names, key=lambda name: sizes[name])))
        rows = np.flatnonzero(codes == names.index(label))
        keep[rows] = False
        keep[_chosen(features, rows, smallest, wanted, cfg)] = True
        if (kept := int(keep[rows].sum())) < wanted:
            warnings.warn(f"near_miss: {wanted} rows of {label!r} asked, {kept} kept", stacklevel=2)
    return np.flatnonzero(keep)


def _chosen(features: Features, rows: Ints, smallest: Ints, wanted: int, cfg: Config) -> Ints:
    k = min(cfg.neighbours, len(smallest))
    if cfg.version == 3:
        near = nearest(features, smallest, rows, min(cfg.candidates, len(rows)))
        rows = np.unique(np.concatenate([found[np.isfinite(distances)] for distances, found in near]))
    near = nearest(features, rows, smallest, k, farthest=cfg.version == 2)
    total = np.concatenate([distances.sum(axis=1) for distances, _ in near])  # (rows,)
    return rows[np.argsort(-total if cfg.version == 3 else total, kind="stable")[:wanted]]
