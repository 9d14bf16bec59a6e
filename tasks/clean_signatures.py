"""Signatures on disk: what nightforge/signatures.py promises, over the folders that the chunks left.

A column (the ids, or the signatures of one rule) of a chunk is two files: `<column>.bytes`, its values one after
another, and `<column>.ends`, where each ends (int64). They are read by position, never mapped: the pages of a map count
as memory.
"""

import os
from collections.abc import Iterator, Sequence
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ROWS_PER_BATCH = 4_096
Positions = npt.NDArray[np.int64]


class Spill:
    """Writes a column of a chunk; memory holds a batch."""

    def __init__(self, path: Path) -> None:
        self._bytes: BufferedWriter = path.with_suffix(".bytes").open("wb")
        self._ends: BufferedWriter = path.with_suffix(".ends").open("wb")
        self._end = 0

    def extend(self, values: Sequence[bytes]) -> None:
        """Append values."""
        ends = np.cumsum([self._end, *map(len, values)], dtype=np.int64)[1:]
        self._bytes.write(b"".join(values))
        self._ends.write(ends.tobytes())
        self._end = int(ends[-1]) if len(ends) else self._end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bytes.close()
        self._ends.close()


def rows_before(chunks: Sequence[Path]) -> Positions:
    """(chunks + 1,) how many rows stand before each chunk, and in all of them."""
    return np.cumsum([0, *((chunk / "ids.ends").stat().st_size // 8 for chunk in chunks)], dtype=np.int64)


class Spilled:
    """A column of the rows that are still alive, over all chunks; memory holds 4 bytes a row and a batch."""

    def __init__(self, chunks: Sequence[Path], column: str, alive: npt.NDArray[np.bool_]) -> None:
        self.chunks, self.column = chunks, column
        self.starts = rows_before(chunks)
        self.rows = np.flatnonzero(alive).astype(np.uint32)
        """Place among the living → place among all."""

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[pa.Array]:
        """See nightforge.signatures.Signatures."""
        for begin in range(0, len(self.rows), ROWS_PER_BATCH):
            rows = self.rows[begin : begin + ROWS_PER_BATCH]
            yield pa.array(self._values(self.column, rows.astype(np.int64)), pa.binary())

    def at(self, positions: Positions) -> list[bytes]:
        """See nightforge.signatures.Signatures."""
        return self._values(self.column, self.rows[positions].astype(np.int64))

    def ids(self, positions: Positions) -> list[str]:
        """See nightforge.signatures.Signatures."""
        return [value.decode() for value in self._values("ids", self.rows[positions].astype(np.int64))]

    def _values(self, column: str, rows: Positions) -> list[bytes]:
        """The values at ascending places among all rows."""
        found: list[bytes] = []
        bounds = np.searchsorted(rows, self.starts)
        for chunk in np.flatnonzero(bounds[1:] > bounds[:-1]).tolist():
            here = rows[bounds[chunk] : bounds[chunk + 1]] - self.starts[chunk]
            found += _read(self.chunks[chunk] / column, here)
        return found


def _read(path: Path, rows: Positions) -> Iterator[bytes]:
    """The values of one chunk's column at ascending rows: rows that are near one another are read together."""
    first = int(rows[0])
    with path.with_suffix(".bytes").open("rb", buffering=0) as data, path.with_suffix(".ends").open("rb") as index:
        ends = np.frombuffer(os.pread(index.fileno(), 8 * (int(rows[-1]) - first + 2), 8 * max(0, first - 1)), np.int64)
        if first == 0:
            ends = np.concatenate([[0], ends])
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            begin, end = int(ends[run[0] - first]), int(ends[run[-1] - first + 1])
            block = os.pread(data.fileno(), end - begin, begin)
            for row in (run - first).tolist():
                yield block[ends[row] - begin : ends[row + 1] - begin]
