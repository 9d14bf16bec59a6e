"""What the rules against duplicates share: a reason for every row of a cluster but its first."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nightforge.records import Reject
from nightforge.signatures import Signatures

ROWS_AT_ONCE = 10_000


def rejects(signatures: Signatures, firsts: npt.NDArray[np.int64], reason: str) -> Iterator[tuple[int, Reject]]:
    """Position → why, in order. `firsts` (n,) tells each row the first row that it repeats, a first row itself."""
    later = np.flatnonzero(firsts != np.arange(len(firsts)))
    for at in range(0, len(later), ROWS_AT_ONCE):
        some = later[at : at + ROWS_AT_ONCE]
        shown, which = np.unique(firsts[some], return_inverse=True)
        names = signatures.ids(shown)
        yield from ((int(row), Reject(reason, f"of {names[w]}")) for row, w in zip(some, which, strict=True))
