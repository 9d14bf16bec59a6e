"""Encoded texts as a training set: one flat array of tokens, cut to the context, padded in batches."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge.batching import Batch
from nightforge.errors import DataError
from nightforge.scoring import IGNORE, pieces


class Corpus(NamedTuple):
    """Encoded documents in one flat array (4 bytes a token), cut to the context."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    """(rows + 1,): row i is ids[starts[i] : starts[i + 1]]."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Tokens of each row: (rows,)."""
        return np.diff(self.starts)

    def batch(self, rows: Sequence[int]) -> Batch:
        """`ids`: rows padded on the right with IGNORE (rows, seq); the count is of predicted tokens."""
        texts = [self.ids[self.starts[row] : self.starts[row + 1]] for row in rows]
        out = np.full((len(rows), max(map(len, texts))), IGNORE, dtype=np.int64)
        for line, text in zip(out, texts, strict=True):
            line[: len(text)] = text
        return Batch({"ids": torch.from_numpy(out)}, sum(map(len, texts)) - len(texts))


def corpus(documents: Iterable[Sequence[int]], context: int) -> Corpus:
    """Encoded documents, each cut to pieces of at most `context` tokens.

    Raises:
        DataError: there are none.
    """
    rows = [np.array(piece, dtype=np.int32) for d in documents for piece in pieces(d, context)]
    if not rows:
        raise DataError("training: expected at least one document, got none. Is data/balanced empty?")
    return Corpus(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))
