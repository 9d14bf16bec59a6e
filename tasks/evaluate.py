"""evaluate: what the dense model is worth on validation documents that early stopping did not see, and its speed."""

import json
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field

from nightforge import methods, models, precision, scoring, tokenizer, vocabulary
from nightforge.batching import watched
from nightforge.config import Config
from nightforge.errors import DataError
from nightforge.evaluate._subject import Scores, Subject
from nightforge.knowledge import Cloze
from nightforge.methods import Chosen, Method
from nightforge.records import document, written
from nightforge.stats import Bootstrap
from tasks import measures, probe, shards
from tasks.hashing import sha256_tree, size_mb
from tasks.progress import report
from tasks.stage import Measured
from tasks.wiring import home_folder


class EvaluateConfig(Config):
    """What is measured of a trained model, on what, and how."""

    metrics: list[Annotated[Method, Chosen("evaluate")]] = Field(min_length=1)
    """Metrics, each a file of nightforge/evaluate/."""
    bootstrap: Bootstrap
    """How intervals are drawn, over documents."""
    threads: int = Field(ge=1, le=1024)
    """CPU threads while scoring; another count gives other rounding."""
    batch_tokens: int = Field(ge=16)
    """Tokens scored at once, padding included."""
    speed_prompts: int = Field(ge=2)
    """Beginnings of documents to generate from under a clock; the first only warms up."""
    speed_prompt_tokens: int = Field(ge=1)
    """Tokens of such a beginning, its label included."""
    speed_new_tokens: int = Field(ge=2)
    """Tokens generated from each."""


def run(
    cfg: EvaluateConfig,
    seed: int,
    dense: Path,
    base: Path,
    splits: Path,
    balanced: Path,
    knowledge: Path,
    cloze: Path,
    evaluation: Path,
) -> Measured:
    """Score the validation documents that early stopping did not look at; write scores.parquet and samples.json.

    Raises:
        ConfigError: two metrics write the same figure.
    """
    torch.set_num_threads(cfg.threads)
    loaded = models.load(dense, precision.device())
    family = methods.load("train", loaded.card["family"])
    everything = list(shards.read(splits / "validation"))
    held = watched(map(document, everything), loaded.card["watched_documents"])
    records = [record for record in everything if document(record) not in held]
    encoded = list(tokenizer.encode_all(loaded.tokenizer, records))
    report(1, len(cfg.metrics) + 3, "scoring documents")
    subject = Subject(
        loaded=loaded,
        records=records,
        nats=family.nats(loaded.model, encoded, cfg.batch_tokens, loaded.context),
        tokens=scoring.text_tokens(encoded),
        bytes=scoring.text_bytes([written(r) for r in records]),
        groups=np.array([document(r) for r in records]),
        training=lambda: chain(shards.read(balanced), shards.read(knowledge)),
        boot=cfg.bootstrap,
        seed=seed,
        questions=[Cloze(**row) for row in shards.rows(cloze)],
        before=_before(base, loaded.card),
    )
    found = measures.measured(cfg.metrics, subject, "text")
    _write(evaluation, subject, found)
    report(len(cfg.metrics) + 2, len(cfg.metrics) + 3, "timing generation in a process of its own")
    speed = probe.in_fresh_process(dense, _beginnings(cfg, encoded), cfg.speed_new_tokens)
    facts = {
        "size_mb": size_mb(dense),
        "parameters": loaded.card["parameters"],
        "dense_sha256": sha256_tree(dense),
        "documents_watched": len(held),
    }
    metrics = {key: value for scores in found for key, value in scores.metrics.items()}
    return Measured(metrics | facts, {**speed, "runtime": f"torch {torch.__version__}"})


def _beginnings(cfg: EvaluateConfig, encoded: list[scoring.Encoded]) -> list[list[int]]:
    """The beginnings of documents to time generation from.

    Raises:
        DataError: fewer than two documents are long enough.
    """
    long_enough = [d.ids[: cfg.speed_prompt_tokens] for d in encoded if len(d.ids) > cfg.speed_prompt_tokens]
    if len(long_enough) < 2:
        raise DataError(
            f"evaluate: expected at least 2 validation documents longer than {cfg.speed_prompt_tokens} tokens "
            f"to time generation from, got {len(long_enough)}. Lower evaluate.speed_prompt_tokens."
        )
    return long_enough[: cfg.speed_prompts]


def _before(base: Path, card: dict[str, Any]) -> models.Loaded | None:
    """The model that training began from, as models/base.json recorded it."""
    recorded = json.loads(base.read_text(encoding="utf-8"))
    if "folder" not in recorded:
        return None
    family = methods.load("train", card["family"])
    model, words = models.read_transformers(home_folder() / recorded["folder"], family.CLASS)
    vocabulary.add_labels(model, words, [])
    facts = {"context_length": models.context_length(model), "family": card["family"]}
    return models.Loaded(model.to(precision.device()).eval(), words, facts)


def _write(folder: Path, subject: Subject, found: list[Scores]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {
        "id": [r.id for r in subject.records],
        "document": subject.groups,
        "label": [r.label for r in subject.records],
        "nats": subject.nats,
        "tokens": subject.tokens,
        "bytes": subject.bytes,
    }
    pq.write_table(pa.table(columns | {k: v for s in found for k, v in s.columns.items()}), folder / "scores.parquet")
    samples = [sample for scores in found for sample in scores.samples]
    (folder / "samples.json").write_text(json.dumps(samples, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
