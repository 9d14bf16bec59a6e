"""Bits per byte and perplexity, over all documents and by slice, each with its interval.

Bits per byte do not depend on the tokenizer, so models with different vocabularies compare (Gao et al. 2020, *The
Pile*, §3.1). Perplexity is per token of this model's own vocabulary, and compares only models that share it. Where
training began from a model, that one is scored on the same documents, and the difference is paired.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightforge import models, scoring, stats, tokenizer
from nightforge.config import Config as BaseConfig
from nightforge.evaluate._subject import Scores, Subject
from nightforge.scoring import LN2


class Config(BaseConfig):
    """How documents are sliced."""

    length_edges_bytes: list[int] = Field(min_length=1)
    """Rising edges between slices by length, in UTF-8 bytes of the text: [40, 80] gives <40, 40–79 and ≥80."""
    slice_documents_min: int = Field(ge=1)
    """Slices of fewer documents are left out: their intervals would say nothing."""


SAMPLE = Config(length_edges_bytes=[40, 80], slice_documents_min=1)


def measure(subject: Subject, cfg: Config) -> Scores:
    """Bits per byte and perplexity with intervals.

    Raises:
        DataError: no documents.
    """
    everything = np.ones(len(subject.records), dtype=bool)
    lengths = np.digitize(subject.bytes, cfg.length_edges_bytes)
    labels = np.array([record.label or "none" for record in subject.records])
    per_token = stats.ratio(subject.nats, subject.tokens, subject.groups, subject.boot, subject.seed)
    edges = cfg.length_edges_bytes
    names = [f"<{edges[0]}", *(f"{a}–{b - 1}" for a, b in pairwise(edges)), f"≥{edges[-1]}"]
    start = _start(subject)
    return Scores(
        {
            "bpb": _bpb(subject, everything).json(),
            "perplexity": stats.Interval(*np.exp(per_token).tolist()).json() | {"unit": "per token"},
            "by_label": _sliced(subject, cfg, {str(n): labels == n for n in np.unique(labels)}),
            "by_length": _sliced(subject, cfg, {name: lengths == i for i, name in enumerate(names)}),
            "documents": len(np.unique(subject.groups)),
            "texts": len(subject.records),
            "bytes": int(subject.bytes.sum()),
            "tokens": int(subject.tokens.sum()),
            **start.metrics,
        },
        start.columns,
    )


def _start(subject: Subject) -> Scores:
    """Bits per byte before training, and how many fewer there are after it (above zero: training helped)."""
    if subject.before is None:
        return Scores({})
    loaded, context = subject.before, min(subject.before.context, subject.loaded.context)
    encoded = list(tokenizer.encode_all(loaded.tokenizer, subject.records))
    nats = scoring.document_nats(models.logits_fn(loaded.model), encoded, scoring.BATCH_TOKENS, context)
    how = (subject.groups, subject.boot, subject.seed)
    before = stats.ratio(nats, subject.bytes, *how).scaled(1 / LN2)
    gain = stats.difference(nats, subject.nats, subject.bytes, *how).scaled(1 / LN2)
    return Scores({"bpb_before": before.json(), "gain_over_start_bpb": gain.json()}, {"nats_before": nats})


def _sliced(subject: Subject, cfg: Config, slices: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
    documents = {name: len(np.unique(subject.groups[rows])) for name, rows in slices.items()}
    enough = {name: n for name, n in documents.items() if n >= cfg.slice_documents_min}
    return {name: _bpb(subject, slices[name]).json() | {"documents": n} for name, n in enough.items()}


def _bpb(subject: Subject, rows: NDArray[np.bool_]) -> stats.Interval:
    columns = (subject.nats[rows], subject.bytes[rows], subject.groups[rows])
    nats_per_byte = stats.ratio(*columns, subject.boot, subject.seed)
    return nats_per_byte.scaled(1 / LN2)
