"""Copies the rows that the SMOTE family would start from: near the border of their class, or where it is sparse.

SMOTE puts new vectors between two rows; a vector is no text, so here the row itself is copied, and `augment` varies it.
Which rows: as Borderline-SMOTE (Han, Wang, Mao 2005), those whose neighbours are of other classes for the most part but
not all; as ADASYN (He et al. 2008), each in proportion to its neighbours of other classes; or where rows of its own
class are far. Definitions as in imbalanced-learn, which the tests hold them against.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nightforge.balance._neighbours import Features, nearest
from nightforge.balance._targets import Copy, Ints, coded, poured, raised, sized

NEEDS = "embedding"


class Config(Copy):
    """How many copies there may be, and of which rows."""

    kind: Literal["borderline", "adasyn", "sparse"]
    """`borderline`: rows of which at least half of the neighbours, but not all, are of other classes; `adasyn`: in
    proportion to the neighbours of other classes; `sparse`: in proportion to the mean distance to the neighbours of
    the row's own class."""
    neighbours: int = Field(ge=1, le=1000)
    """Nearest rows looked at."""


SAMPLE = Config(weights="equal", synthetic_share_max=0.3, copies_max=3, kind="borderline", neighbours=5)


def resample(labels: Sequence[str], features: Features, cfg: Config, rng: np.random.Generator) -> Ints:
    """Indices of all rows in their order, then of the copies.

    Rows that are to be copied equally often differ by one copy at most; the others of their class come when each of
    these has been copied `copies_max` times. Which of two equals comes first is left to `rng`.
    """
    names, codes = coded(labels)
    made = [np.arange(len(labels))]
    for label, copies in sorted(raised(sized(names, codes), cfg).items()):
        rows = rng.permutation(np.flatnonzero(codes == names.index(label)))
        scores, none = _scores(features, rows, codes, cfg), np.zeros(len(rows), int)
        times = poured(copies, none, scores, none + cfg.copies_max)
        made.append(np.sort(np.repeat(rows, times)))
    return np.concatenate(made)


def _scores(features: Features, rows: Ints, codes: npt.NDArray[np.int32], cfg: Config) -> npt.NDArray[np.float64]:
    """(rows,) how much each row wants copies; all rows are of one class."""
    among = np.sort(rows) if cfg.kind == "sparse" else np.arange(len(codes))
    scores = [np.zeros(0)]
    for distances, found in nearest(features, rows, among, cfg.neighbours):
        known = np.isfinite(distances)
        wanted = np.where(known, distances, 0) if cfg.kind == "sparse" else known & (codes[found] != codes[rows[0]])
        scores.append(wanted.sum(axis=1) / np.maximum(1, known.sum(axis=1)))
    score = np.concatenate(scores)
    return np.asarray((score >= 0.5) & (score < 1), float) if cfg.kind == "borderline" else score
