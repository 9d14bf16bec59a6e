"""Score a model folder on shards in a fresh process: what was written is what is loaded, whatever runtime it is for.

`python -m tasks.score MODEL SHARDS OUT BATCH [JUDGE]` writes OUT, a .npz of one value a record.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge import methods, models, onnx_models, scoring, stats, tokenizer
from nightforge.errors import NightforgeError
from nightforge.records import document, written
from nightforge.scoring import Encoded, LogitsFn
from nightforge.stats import Bootstrap
from tasks import shards
from tasks.stage import CODE_ROOT

KINDS = {"array": "array", "onnx": "array"}
"""Loader of model.json → tasks/score_<kind>.py, for what is no text."""
EXPORTERS = {
    "compressed-tensors": "compressed_tensors",
    "litert": "litert",
    "llama.cpp": "gguf",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "torch-export": "torch_export",
}
"""Loader of model.json → method of nightforge/export whose `opened` reads the folder, or `running`, where it runs by
other arithmetic than what is stored says."""
PROBES = 8
"""Documents of which what the model gives is kept, to hold two models against each other."""
PROBE_TOKENS = 48
PROMPT_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Scores:
    """One row a record, in the order of the shards."""

    ids: NDArray[np.str_]
    documents: NDArray[np.str_]
    """The document that each record is a text of; intervals draw whole documents (nightforge.stats)."""
    labels: NDArray[np.str_]
    units: NDArray[np.int64]
    """What nats are told by: bytes of text, or the `units` of a family of images and sounds."""
    nats: NDArray[np.float64]
    probes: NDArray[np.float32]
    """Of the first documents: logits (tokens, vocab), or a sample of each label (documents, values)."""
    prompts: NDArray[np.int64]
    """What to generate from: beginnings of texts (documents that are long enough, PROMPT_TOKENS), or labels (…, 1)."""
    seen_real: NDArray[np.float32]
    """What the judge sees in the first records, (records, features); of texts there are none."""
    seen_made: NDArray[np.float32]
    """In samples of their labels, (samples, features)."""


class ScoringFailed(NightforgeError):
    """A model folder could not be loaded or scored."""


def in_fresh_process(model: Path, split: Path, batch_size: int, judge: Path | None = None) -> Scores:
    """Score a model folder on a folder of shards in a process of its own, `judge` for images and sounds.

    Raises:
        ScoringFailed: with the last lines that the process wrote.
    """
    with tempfile.TemporaryDirectory(prefix="nightforge-score-") as folder:
        out = Path(folder) / "scores.npz"
        done = subprocess.run(
            [sys.executable, "-m", "tasks.score", str(model), str(split), str(out), str(batch_size)]
            + ([str(judge)] if judge else []),
            env=os.environ | {"PYTHONPATH": str(CODE_ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not out.exists():
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise ScoringFailed(f"{model} could not be loaded and scored: {' | '.join(said[-2:])[-600:]}")
        with np.load(out) as arrays:
            return Scores(**{name: arrays[name] for name in Scores.__slots__})


def score(model: Path, split: Path, batch_size: int, judge: Path | None = None) -> Scores:
    """Score a model folder on a folder of shards, here and now."""
    if kind := KINDS.get(models.card(model)["loader"]):
        scored: Scores = import_module(f"tasks.score_{kind}").score(model, split, batch_size, judge)
        return scored
    reader = _open(model)
    records = list(shards.read(split))
    documents = list(tokenizer.encode_all(reader.words, records))
    return Scores(
        ids=np.array([r.id for r in records]),
        documents=np.array([document(r) for r in records]),
        labels=np.array([r.label or "" for r in records]),
        units=scoring.text_bytes([written(r) for r in records]),
        nats=reader.nats(documents, batch_size),
        probes=probed(reader, documents),
        prompts=np.array([d.ids[:PROMPT_TOKENS] for d in documents if len(d.ids) > PROMPT_TOKENS], dtype=np.int64),
        seen_real=np.empty((0, 0), dtype=np.float32),
        seen_made=np.empty((0, 0), dtype=np.float32),
    )


def probed(reader: "Reader", documents: Sequence[Encoded]) -> NDArray[np.float32]:
    """What a model gives for the first documents: (tokens, vocab)."""
    return np.concatenate([reader.logits(d) for d in documents[:PROBES]])


class Reader(NamedTuple):
    """A model of texts, whatever runs it."""

    words: Any
    """Its tokenizer."""
    nats: Callable[[Sequence[Encoded], int], NDArray[np.float64]]
    """Of each document, (documents,), so many tokens at once."""
    logits: Callable[[Encoded], NDArray[np.float32]]
    """Of what a document begins with, (tokens, vocab)."""


def _open(model: Path) -> Reader:
    card = models.card(model)
    if card.get("class") == models.SEQ2SEQ:
        opened: Reader = import_module("tasks.score_seq2seq").opened(model)
        return opened
    if card["loader"] == "transformers":
        loaded = models.load(model)
        return causal(models.logits_fn(loaded.model), loaded.tokenizer, loaded.context)
    if name := EXPORTERS.get(card["loader"]):
        exporter = methods.load("export", name)
        logits_fn, words = getattr(exporter, "running", exporter.opened)(model)
        return causal(logits_fn, words, int(card["context_length"]))
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast.from_pretrained(model, local_files_only=True)
    return causal(onnx_models.logits_fn(model), words, int(card["context_length"]))


def causal(logits_fn: LogitsFn, words: Any, context: int) -> Reader:
    """A causal model."""

    def nats(documents: Sequence[Encoded], batch_size: int) -> NDArray[np.float64]:
        return scoring.document_nats(logits_fn, documents, batch_size, context)

    def logits(document: Encoded) -> NDArray[np.float32]:
        row = np.array([document.ids[: min(PROBE_TOKENS, context)]], dtype=np.int64)  # (1, seq)
        found: NDArray[np.float32] = np.asarray(logits_fn(row, np.ones_like(row)), dtype=np.float32)[0]
        return found

    return Reader(words, nats, logits)


def loss_by_label(dense: Scores, other: Scores, boot: Bootstrap, seed: int) -> dict[str, dict[str, float]]:
    """Where the loss is: by label, the relative loss with its interval, and `documents`; a label with a single document
    has no interval, and is left out."""
    rows = {str(label): dense.labels == label for label in np.unique(dense.labels)}
    return {
        label or "none": stats.loss_share(other.nats[at], dense.nats[at], dense.documents[at], boot, seed).json()
        | {"documents": len(np.unique(dense.documents[at]))}
        for label, at in rows.items()
        if len(np.unique(dense.documents[at])) > 1
    }


def distance_rise(made: Scores, dense: Scores, boot: Bootstrap, seed: int) -> dict[str, float] | None:
    """By how much the kernel distance of a model's samples is above that of the dense one's; None of texts."""
    if not made.seen_made.size:
        return None
    from nightforge import judge

    return judge.distance_rise(dense.seen_real, made.seen_made, dense.seen_made, boot, seed).json()


def kl_nats(dense: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean KL(dense ‖ other) a token, in nats; both logits (tokens, vocab)."""
    p, q = _log_softmax(dense), _log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


if __name__ == "__main__":
    model, split, out, batch_size, *judges = sys.argv[1:]
    scores = score(Path(model), Path(split), int(batch_size), *map(Path, judges))
    np.savez(out, **{name: getattr(scores, name) for name in Scores.__slots__})
    print(json.dumps({"records": len(scores.ids)}))
