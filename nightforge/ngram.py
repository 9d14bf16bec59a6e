"""A byte-level n-gram with interpolated modified Kneser–Ney smoothing: the baseline that a network must beat.

Chen & Goodman 1998, *An Empirical Study of Smoothing Techniques for Language Modeling*, §3.5–3.6; the handling of
n-grams that begin a text is KenLM's (Heafield et al. 2013). It is told what the network is told: each text begins with
a symbol for its label, and it sees the same training texts. It predicts every byte of the text and no end.

A symbol takes 9 bits (256 bytes, up to 256 label symbols), so seven of them are one uint64, and counting is sorting.
Memory: about 100 bytes for each byte of training text at order 7.

Interpolated or in backoff form (`backed_off`) the model is the same; the second looks up fewer n-grams, and its sums
differ in their last digits, so what was once measured with the first stays with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge.errors import ConfigError

BITS = 9
MAX_ORDER = 64 // BITS
Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]
Document = tuple[str | None, bytes]
"""A label and the bytes of a text."""


class Table(NamedTuple):
    """One order k. Keys are sorted; the last symbol of an n-gram lies in its lowest bits."""

    grams: Keys
    share: Floats
    """max(count − discount, 0) / total of the context, for each n-gram."""
    contexts: Keys
    rest: Floats
    """The weight that a context leaves to the next lower order."""


class Ngram(NamedTuple):
    """A fitted model: tables of order 1, 2, …"""

    labels: tuple[str, ...]
    tables: tuple[Table, ...]


def fit(documents: Sequence[Document], order: int) -> Ngram:
    """Count and smooth.

    Raises:
        ConfigError: an order that does not fit in 64 bits.
    """
    if not 1 <= order <= MAX_ORDER:
        raise ConfigError(f"n-gram order: expected 1 to {MAX_ORDER}, got {order}.")
    labels = tuple(sorted({label for label, _ in documents if label}))
    keys, depth, _ = _windows(documents, labels, order)
    counted = [np.unique(_of_order(keys, depth, k), return_counts=True) for k in range(1, order + 1)]
    tables = []
    for k, (grams, counts) in enumerate(counted, start=1):
        tables.append(_smoothed(grams, _adjusted(grams, counts, counted[k][0], k) if k < order else counts))
    return Ngram(labels, tuple(tables))


def document_nats(model: Ngram, documents: Sequence[Document]) -> Floats:
    """Nats of each document's bytes given its label: (documents,). A label never seen starts as no label does."""
    order = len(model.tables)
    keys, depth, owner = _windows(documents, model.labels, order)
    p = np.full(len(keys), 1 / 256)
    for k, table in enumerate(model.tables, start=1):
        usable = depth >= k
        grams = keys & _mask(k)
        rest = np.where(usable, _look_up(table.contexts, table.rest, grams >> np.uint64(BITS), missing=1.0), 1.0)
        share = np.where(usable, _look_up(table.grams, table.share, grams, missing=0.0), 0.0)
        p = share + rest * p
    nats: Floats = np.bincount(owner, -np.log(p), len(documents)).astype(np.float64)
    return nats


class Backoff(NamedTuple):
    """A model by the longest n-gram that is known: how ARPA files and KenLM hold one."""

    grams: tuple[Keys, ...]
    """Of order 1, 2, …, each sorted."""
    nats: tuple[Floats, ...]
    """-ln p of the last symbol after the others, all lower orders weighed in."""
    contexts: tuple[Keys, ...]
    rests: tuple[Floats, ...]
    """-ln of the weight that a context leaves to the next lower order."""


def backed_off(model: Ngram) -> Backoff:
    """The same model, with what the lower orders say summed up for every n-gram that it knows."""
    nats: list[Floats] = []
    lower_grams, lower = np.empty(0, np.uint64), np.empty(0)
    for k, table in enumerate(model.tables, start=1):
        rest = table.rest[np.searchsorted(table.contexts, table.grams >> np.uint64(BITS))]
        p = table.share + rest * _look_up(lower_grams, lower, table.grams & _mask(k - 1), missing=1 / 256)
        nats.append(-np.log(p))
        lower_grams, lower = table.grams, p
    rests = tuple(-np.log(table.rest) for table in model.tables)
    return Backoff(tuple(t.grams for t in model.tables), tuple(nats), tuple(t.contexts for t in model.tables), rests)


def text_nats(model: Backoff, text: bytes) -> float:
    """Nats of the bytes of one text without a label, as `document_nats`; more than twice as fast."""
    order = len(model.grams)
    keys, depth, _ = _windows([(None, text)], (), order)
    total = 0.0
    for k in range(order, 0, -1):
        if not len(model.grams[k - 1]):  # no text was so long
            continue
        usable = depth >= k
        tried = keys[usable] & _mask(k)
        at = np.minimum(np.searchsorted(model.grams[k - 1], tried), len(model.grams[k - 1]) - 1)
        known = model.grams[k - 1][at] == tried
        total += model.nats[k - 1][at[known]].sum()
        contexts = tried[~known] >> np.uint64(BITS)
        total += _look_up(model.contexts[k - 1], model.rests[k - 1], contexts, missing=0.0).sum()
        usable[usable] = known
        keys, depth = keys[~usable], depth[~usable]
    return float(total + len(keys) * np.log(256))


def _windows(
    documents: Sequence[Document], labels: Sequence[str], order: int
) -> tuple[Keys, NDArray[np.int64], NDArray[np.int64]]:
    """For every byte of every text: the `order` symbols that end there, how many of them are real, and its document."""
    code = {label: 257 + i for i, label in enumerate(labels[:255])}
    lengths = np.array([len(text) for _, text in documents], dtype=np.int64)
    starts = np.cumsum(lengths + 1) - (lengths + 1)  # where each document's label symbol stands
    owner = np.repeat(np.arange(len(documents)), lengths)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # of a byte in its text
    places = starts[owner] + 1 + position
    symbols = np.zeros(int((lengths + 1).sum()), dtype=np.uint64)
    symbols[starts] = [code.get(label or "", 256) for label, _ in documents]
    symbols[places] = np.frombuffer(b"".join(text for _, text in documents), dtype=np.uint8)
    keys = np.zeros(len(owner), dtype=np.uint64)
    for back in range(order):
        inside = position + 1 >= back
        keys[inside] |= symbols[places[inside] - back] << np.uint64(BITS * back)
    return keys, np.minimum(position + 2, order), owner


def _mask(k: int) -> np.uint64:
    return np.uint64((1 << (BITS * k)) - 1)


def _of_order(keys: Keys, depth: NDArray[np.int64], k: int) -> Keys:
    return keys[depth >= k] & _mask(k)


def _adjusted(grams: Keys, counts: NDArray[np.int64], longer: Keys, k: int) -> NDArray[np.int64]:
    """How many different symbols come before each n-gram; its plain count if it begins a text, where none can."""
    suffixes, before = np.unique(longer & _mask(k), return_counts=True)
    begins = (grams >> np.uint64(BITS * (k - 1))) >= 256
    return np.where(begins, counts, _look_up(suffixes, before.astype(np.float64), grams, missing=0.0).astype(np.int64))


def _smoothed(grams: Keys, counts: NDArray[np.int64]) -> Table:
    discount = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    contexts, where = np.unique(grams >> np.uint64(BITS), return_inverse=True)
    total = np.bincount(where, weights=counts)
    held_back = np.bincount(where, weights=discount)
    return Table(grams, (counts - discount) / total[where], contexts, held_back / total)


def _discounts(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """D₁, D₂, D₃₊ from the counts of counts (Chen & Goodman eq. 26); KenLM's fallback where a count is missing."""
    n1, n2, n3, n4 = (int((counts == i).sum()) for i in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return 0.5, 1.0, 1.5
    y = n1 / (n1 + 2 * n2)
    raw = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    if any(not 0 <= d <= i for i, d in enumerate(raw, start=1)):
        return 0.5, 1.0, 1.5
    return raw


def _look_up(keys: Keys, values: Floats, wanted: Keys, missing: float) -> Floats:
    """`values` at the sorted `keys` that equal `wanted`."""
    if not len(keys):
        return np.full(len(wanted), missing)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], missing)
