"""What corpus rules see of the rows: an id and a few bytes each, in order, as often as they want to look.

On disk it is a folder (tasks/), in memory a list; a rule cannot tell which, and holds no more of it than it must.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class Signatures(Protocol):
    """The signatures that one rule made of all rows, in the order of the rows."""

    def __len__(self) -> int:
        """How many rows."""

    def batches(self) -> Iterator[pa.Array]:
        """All signatures in order, as Arrow binary arrays of some thousand rows; may be called again and again."""

    def at(self, positions: npt.NDArray[np.int64]) -> list[bytes]:
        """The signatures at some positions (ascending, without repeats)."""

    def ids(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """The ids of the rows at some positions (ascending, without repeats)."""


class Held:
    """Signatures in memory."""

    def __init__(self, rows: Iterable[tuple[str, bytes]]) -> None:
        self.rows: Sequence[tuple[str, bytes]] = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[pa.Array]:
        """See Signatures."""
        for at in range(0, len(self.rows), 1_000):
            yield pa.array([sig for _, sig in self.rows[at : at + 1_000]], pa.binary())

    def at(self, positions: npt.NDArray[np.int64]) -> list[bytes]:
        """See Signatures."""
        return [self.rows[i][1] for i in positions]

    def ids(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """See Signatures."""
        return [self.rows[i][0] for i in positions]
