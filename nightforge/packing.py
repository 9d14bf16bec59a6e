"""Several documents in one row, none of which sees another: no padding, and rows of one length.

Rows are filled best-fit, the longest documents first (Ding et al. 2024, *Fewer Truncations Improve Language Modeling*),
but no document is cut for it. Positions restart with each document, and from these transformers makes a causal mask in
blocks; `check` holds it to that.
"""

from bisect import bisect_left, insort
from typing import Any

import numpy as np
import torch

from nightforge.corpus import Corpus
from nightforge.errors import ConfigError


def pack(corpus: Corpus, context: int) -> Corpus:
    """The same rows, several together in rows of at most `context` tokens."""
    sizes = corpus.sizes.tolist()
    bins: list[list[int]] = []
    with_room: dict[int, list[int]] = {}
    rooms: list[int] = []  # the keys of with_room that have a bin, ascending
    for row in np.argsort(-corpus.sizes, kind="stable").tolist():
        at = bisect_left(rooms, sizes[row])
        if at == len(rooms):
            number, room = len(bins), context
            bins.append([])
        else:
            room = rooms[at]
            number = with_room[room].pop()
            if not with_room[room]:
                del rooms[at]
        bins[number].append(row)
        left = room - sizes[row]
        if not with_room.setdefault(left, []):
            insort(rooms, left)
        with_room[left].append(number)
    order = [row for rows in bins for row in rows]
    tokens = np.concatenate([np.arange(corpus.starts[row], corpus.starts[row + 1]) for row in order])
    return corpus._replace(
        ids=corpus.ids[tokens],
        learnt=corpus.learnt[tokens],
        starts=np.cumsum([0, *(sum(sizes[row] for row in rows) for rows in bins)]),
        parts=np.cumsum([0, *(sizes[row] for row in order)]),
    )


@torch.inference_mode()
def check(model: Any) -> None:
    """Two documents in a row must be to the model what they are alone.

    Raises:
        ConfigError: the second sees the first.
    """
    first, second = [1, 2, 3, 4, 5], [3, 2, 4]
    ids = torch.tensor([first + second], device=model.device)
    positions = torch.tensor([[*range(len(first)), *range(len(second))]], device=model.device)
    was = model.training
    model.eval()
    together = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0, len(first) :]
    alone = model(input_ids=ids[:, len(first) :], use_cache=False).logits[0]
    model.train(was)
    if not torch.allclose(together, alone, rtol=1e-3, atol=1e-4):
        raise ConfigError(
            f"train.packing: expected a network that keeps the documents of a row apart, but in {type(model).__name__} "
            "the second sees the first. Set train.packing: false."
        )
