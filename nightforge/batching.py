"""Which rows make a batch, in which order, and how the next one is got ready while this one is trained on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge.scoring import batches

POOL_BATCHES = 64
"""Batches whose rows are sorted by size together: little padding, and still a random order."""
T = TypeVar("T")


class Batch(NamedTuple):
    """Rows as a family's loss takes them."""

    tensors: Mapping[str, torch.Tensor]
    """Name → (rows, …); which names, the family's docstring says."""
    units: int
    """What the loss is a sum over: predicted tokens, images. A step divides by the counts of all its micro-batches."""

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device."""
        return Batch({k: v.to(device, non_blocking=True) for k, v in self.tensors.items()}, self.units)


class Data(Protocol):
    """A training set, as the loop sees it."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """What each row takes of a batch: tokens of a text, 1 of an image: (rows,)."""
        ...

    def batch(self, rows: Sequence[int]) -> Batch:
        """Those rows, on the CPU. Called from a thread beside the training: it draws from no global generator."""
        ...


def order(sizes: NDArray[np.int64], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Batches of row numbers for ever: each epoch is shuffled by (seed, epoch), and every row comes once an epoch.

    Args:
        sizes: of the rows (rows,).
        batch_size: bound on rows × size of the largest (or one row).
        seed: of the run.
    """
    pool = max(1, round(POOL_BATCHES * batch_size / float(sizes.mean())))
    for epoch in count():
        rng = np.random.default_rng([seed, epoch])
        drawn = rng.permutation(len(sizes))
        for begin in range(0, len(drawn), pool):
            rows = drawn[begin : begin + pool]
            grouped = list(batches(sizes[rows].tolist(), batch_size))
            for chosen in rng.permutation(len(grouped)):
                yield rows[grouped[chosen]].tolist()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before it is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        end = object()
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]  # not the end


def watched(documents: Iterable[str], wanted: int) -> set[str]:
    """The documents that early stopping looks at: `wanted` of them, evenly spaced, and every second at most.

    Evaluation leaves these out, so both ask here. Asked for as many as it gave, it gives the same again.

    Args:
        documents: the document of each record (nightforge.records.document), in the order of the split.
        wanted: documents, above zero.
    """
    every = list(dict.fromkeys(documents))
    return set(every[:: max(2, len(every) // wanted)][:wanted])
