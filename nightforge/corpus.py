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
    parts: NDArray[np.int64]
    """(documents + 1,): where each document or piece of one begins. As `starts`, unless rows are packed
    (nightforge.packing)."""
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
        IGNORE; the count is of learnt tokens. Packed rows have `positions` too, which restart with each document."""
        ends = [(int(self.starts[row]), int(self.starts[row + 1])) for row in rows]
        ids = np.full((len(rows), max(end - start for start, end in ends)), IGNORE, dtype=np.int64)
        targets = ids.copy()
        for i, (start, end) in enumerate(ends):
            ids[i, : end - start] = self.ids[start:end]
            targets[i, : end - start] = np.where(self.learnt[start:end], self.ids[start:end], IGNORE)
        tensors = {"ids": torch.from_numpy(ids), "targets": torch.from_numpy(targets)}
        if len(self.parts) > len(self.starts):
            tensors["positions"] = torch.from_numpy(self._positions(ends, ids.shape[1]))
        return Batch(tensors, int(np.count_nonzero(targets != IGNORE)))

    def _positions(self, ends: Sequence[tuple[int, int]], width: int) -> NDArray[np.int64]:
        """Of each token in its document, and of padding as if it were one: (rows, width)."""
        out = np.zeros((len(ends), width), dtype=np.int64)
        for line, (start, end) in zip(out, ends, strict=True):
            tokens = np.arange(start, end)
            line[: end - start] = tokens - self.parts[np.searchsorted(self.parts, tokens, side="right") - 1]
            line[end - start :] = np.arange(width - end + start)
        return out


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
    starts = np.cumsum([0, *map(len, rows)])
    return Corpus(np.concatenate(rows), starts, np.concatenate(learnt), starts, cut, mute)
