"""Encoded documents as a training set: one flat array of tokens, cut to the context, padded in batches."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge.batching import Batch
from nightforge.errors import DataError
from nightforge.scoring import GIVEN, IGNORE, Encoded, pieces


class Corpus(NamedTuple):
    """Encoded documents in one flat array (4 bytes a token), cut to the context."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    """(rows + 1,): row i is ids[starts[i] : starts[i + 1]]."""
    learnt: NDArray[np.bool_]
    """Of each token, whether it is predicted in training; the first of a row never is."""
    cut: int
    """Documents longer than the context: they are several rows, each begun by the document's first token."""
    mute: int
    """Rows without a token to learn, which were left out."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Tokens of each row: (rows,)."""
        return np.diff(self.starts)

    def batch(self, rows: Sequence[int]) -> Batch:
        """`ids`, and `targets`: the same where they are learnt, else IGNORE. Both (rows, seq), padded on the right with
        IGNORE; the count is of learnt tokens."""
        ends = [(int(self.starts[row]), int(self.starts[row + 1])) for row in rows]
        ids = np.full((len(rows), max(end - start for start, end in ends)), IGNORE, dtype=np.int64)
        targets = ids.copy()
        for i, (start, end) in enumerate(ends):
            ids[i, : end - start] = self.ids[start:end]
            targets[i, : end - start] = np.where(self.learnt[start:end], self.ids[start:end], IGNORE)
        units = int(np.count_nonzero(targets != IGNORE))
        return Batch({"ids": torch.from_numpy(ids), "targets": torch.from_numpy(targets)}, units)


def corpus(documents: Iterable[Encoded], context: int) -> Corpus:
    """Encoded documents, each cut to pieces of at most `context` tokens.

    Raises:
        DataError: there is nothing to learn in them.
    """
    rows, learnt, cut, mute = [], [], 0, 0
    for document in documents:
        parts = list(zip(pieces(document.ids, context), pieces(document.marks, context), strict=True))
        cut += len(parts) > 1
        for ids, marks in parts:
            wanted = np.array(marks) != GIVEN
            wanted[0] = False
            if wanted.any():
                rows.append(np.array(ids, dtype=np.int32))
                learnt.append(wanted)
            else:
                mute += 1
    if not rows:
        raise DataError(
            f"training: expected at least one document with something to learn, got none ({mute} without). "
            "Is data/balanced empty, or has no chat a turn of the assistant?"
        )
    return Corpus(np.concatenate(rows), np.cumsum([0, *map(len, rows)]), np.concatenate(learnt), cut, mute)
