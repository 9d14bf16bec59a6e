"""Nats per document under a model, whatever runs it: torch and ONNX Runtime are scored by this same code.

Convention: a document is `[label] text [eos]`, or a chat (nightforge.tokenizer.encode). Only the tokens of the text
are counted, of a chat those of what the assistant says; the rest is the condition, and the end is left out because an
n-gram over the same bytes has none. Bits per byte are Σ nats / (ln 2 · Σ UTF-8 bytes of what is counted).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LN2 = float(np.log(2))
IGNORE = -100
"""Stands for padding in a batch of training rows; no token has this id."""
BATCH_TOKENS = 4096
"""Bound on a scored batch where nothing else is said: a few tens of MB of logits, and fast on two cores."""
Ids = NDArray[np.int64]
GIVEN, END, TEXT = 0, 1, 2
"""What a token of a document is: a condition; the end of a text, which is learnt; text, which is learnt and scored."""
LogitsFn = Callable[[Ids, Ids], Any]
"""(input_ids (batch, seq), attention_mask (batch, seq)) → logits (batch, seq, vocab), numpy or torch."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document as tokens."""

    ids: list[int]
    marks: list[int]
    """GIVEN, END or TEXT of each token."""

    @property
    def condition(self) -> list[int]:
        """The tokens before the first text, to generate from."""
        return self.ids[: self.marks.index(TEXT) if TEXT in self.marks else len(self.ids)]


def pieces(document: Sequence[int], context: int) -> list[list[int]]:
    """An encoded document cut to the context: each piece is its label token and up to `context` − 1 further tokens."""
    label, rest = document[0], document[1:]
    return [[label, *rest[i : i + context - 1]] for i in range(0, len(rest), context - 1)]


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Positions grouped by length, longest first, so that a padded batch holds at most `batch_tokens` (or one row)."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[Ids, Ids]:
    """Rows padded on the right to one length: (ids, mask), both (batch, seq); the mask is 1 on real tokens."""
    width = max(map(len, rows))
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], dtype=np.int64)
    ids = np.array([[*row, *[fill] * (width - len(row))] for row in rows], dtype=np.int64)
    return ids, mask


def document_nats(
    logits_fn: LogitsFn, documents: Sequence[Encoded], batch_tokens: int, context: int
) -> NDArray[np.float64]:
    """Negative log-likelihood of each document's text, in nats: (documents,).

    Args:
        logits_fn: a causal model; right padding is masked, and its logits are ignored.
        documents: as `nightforge.tokenizer.encode` gives them.
        batch_tokens: bound on rows × padded length of a batch.
        context: longest input in tokens; a longer document is scored in pieces, each begun by its label.
    """
    import torch

    owners, rows, counted = [], [], []
    for i, document in enumerate(documents):
        last = max((at for at, mark in enumerate(document.marks) if mark == TEXT), default=0)
        cut = (pieces(part[: last + 1], context + 1) for part in (document.ids, document.marks))
        for piece, marks in zip(*cut, strict=True):  # the last token of a piece is only a target
            if TEXT in marks[1:]:
                owners.append(i)
                rows.append(piece)
                counted.append([mark == TEXT for mark in marks])
    nats = np.zeros(len(documents))
    for chosen in batches([len(r) - 1 for r in rows], batch_tokens):
        ids, mask = padded([rows[i] for i in chosen], fill=0)
        logits = torch.as_tensor(logits_fn(ids[:, :-1], mask[:, :-1])).float().cpu()  # (batch, seq, vocab)
        targets = torch.from_numpy(ids[:, 1:])
        token_nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        real, _ = padded([counted[i] for i in chosen], fill=0)
        summed = torch.where(torch.from_numpy(real[:, 1:] == 1), token_nats.double(), 0.0).sum(dim=1).numpy()
        np.add.at(nats, [owners[i] for i in chosen], summed)
    return nats


def text_bytes(texts: Sequence[str]) -> NDArray[np.int64]:
    """UTF-8 bytes of each text: (texts,)."""
    return np.array([len(t.encode()) for t in texts], dtype=np.int64)


def text_tokens(documents: Sequence[Encoded]) -> NDArray[np.int64]:
    """Tokens of each encoded document that are scored: (documents,)."""
    return np.array([d.marks.count(TEXT) for d in documents], dtype=np.int64)
