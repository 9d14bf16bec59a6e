"""evaluate_array: what a dense model of images or sounds is worth on records that early stopping did not see."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field

from nightforge import array_models, precision, samples
from nightforge import judge as judges
from nightforge.array_models import Loaded
from nightforge.batching import watched
from nightforge.config import Config
from nightforge.evaluate._array_subject import ArraySubject, Seen
from nightforge.evaluate._subject import Scores
from nightforge.methods import Chosen, Method
from nightforge.stats import Bootstrap
from tasks import arrays, measures, probe
from tasks.arrays import Arrays
from tasks.hashing import sha256_tree, size_mb
from tasks.progress import report
from tasks.stage import Measured


class EvaluateConfig(Config):
    """What is measured of a trained model, on what, and how."""

    metrics: list[Annotated[Method, Chosen("evaluate")]] = Field(min_length=1)
    """Metrics, each a file of nightforge/evaluate/ whose KIND is `array`."""
    bootstrap: Bootstrap
    """How intervals are drawn, over documents or samples."""
    threads: int = Field(ge=1, le=1024)
    """CPU threads while scoring; another count gives other rounding."""
    batch_rows: int = Field(ge=1)
    """Records scored at once, and samples made at once."""
    samples_per_label: int = Field(ge=2, le=100_000)
    """Samples made of each label, to be measured."""
    shown_per_label: int = Field(ge=1, le=100)
    """Of those, and of the records, how many are shown on the page."""
    speed_labels: int = Field(ge=2)
    """Labels to make samples of under a clock; the first only warms up."""
    speed_samples: int = Field(ge=1)
    """Samples made of each, one after the other."""


def run(
    cfg: EvaluateConfig, seed: int, dense: Path, judge: Path, splits: Path, balanced: Path, evaluation: Path
) -> Measured:
    """Score the validation records that early stopping did not look at, and samples; write scores.parquet,
    samples.json and the pictures that it names.

    Raises:
        ConfigError: two metrics write the same figure, or one is about texts.
    """
    torch.set_num_threads(cfg.threads)
    loaded = array_models.load(dense, precision.device())
    reader = array_models.load_judge(judge, precision.device())
    steps = len(cfg.metrics) + 3
    report(1, steps, "scoring records, making samples")
    everything = arrays.read(splits / "validation", loaded.media, loaded.classes)
    held = watched(everything.documents, loaded.card["watched_documents"])
    given = everything.of(set(everything.documents) - held)
    x, labels = made(loaded, cfg, seed)
    subject = ArraySubject(
        metric=loaded.card["metric"],
        extractor=reader.card["kind"],
        classes=loaded.classes,
        nats=array_models.nats(loaded.model, loaded.family, given.rows, reader.model, cfg.batch_rows),
        units=np.full(len(given.ids), loaded.family.module.units(loaded.shape)),
        groups=np.array(given.documents),
        real=seen(reader, given.rows.tensors["x"], given.labels),
        made=seen(reader, x, labels),
        training=_of(reader, arrays.read(balanced, loaded.media, loaded.classes)),
        boot=cfg.bootstrap,
        seed=seed,
    )
    found = measures.measured(cfg.metrics, subject, "array")
    _write(evaluation, given, subject, found, loaded, cfg.shown_per_label)
    report(len(cfg.metrics) + 2, steps, "timing samples in a process of its own")
    speed = probe.in_fresh_process(dense, _prompts(loaded, cfg.speed_labels), cfg.speed_samples)
    facts = {
        "metric": loaded.card["metric"],
        "size_mb": size_mb(dense),
        "parameters": loaded.card["parameters"],
        "dense_sha256": sha256_tree(dense),
        "documents_watched": len(held),
    }
    metrics = {key: value for scores in found for key, value in scores.metrics.items()}
    return Measured(metrics | facts, {**speed, "runtime": f"torch {torch.__version__}"})


def made(loaded: Loaded, cfg: EvaluateConfig, seed: int) -> tuple[torch.Tensor, Any]:
    """Samples of every label in turn, and their labels; without labels as many of none."""
    labels = torch.arange(max(1, len(loaded.classes))).repeat_interleave(cfg.samples_per_label)
    parts = [
        loaded.family.module.sample(loaded.model, loaded.family.cfg, labels[at : at + cfg.batch_rows], seed + at).cpu()
        for at in range(0, len(labels), cfg.batch_rows)
    ]
    return torch.cat(parts), labels.numpy()


def seen(judge: Loaded, x: torch.Tensor, labels: Any) -> Seen:
    """Pictures with what the judge makes of them."""
    read = judges.read(judge.model, x)
    return Seen(x.flatten(1).numpy(), labels, read.logits, read.features)


def _of(judge: Loaded, given: Arrays) -> Seen:
    return seen(judge, given.rows.tensors["x"], given.labels)


def _prompts(loaded: Loaded, wanted: int) -> list[list[int]]:
    return [[at % max(1, len(loaded.classes))] for at in range(wanted)]


def _write(folder: Path, given: Arrays, subject: ArraySubject, found: list[Scores], loaded: Loaded, shown: int) -> None:
    columns: dict[str, Any] = {
        "id": given.ids,
        "document": subject.groups,
        "label": [subject.name(label) for label in given.labels],
        "nats": subject.nats,
        "units": subject.units,
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns | {k: v for s in found for k, v in s.columns.items()}), folder / "scores.parquet")
    listed = []
    for name, pictures, caption in (
        ("samples", subject.made, "Samples of the dense model, a line a label"),
        ("real", subject.real, "Real records that it was not trained on, a line a label"),
    ):
        lines = by_label(pictures, shown)
        grid = np.concatenate([pictures.values[rows] for rows in lines.values()]).reshape(-1, *loaded.shape)
        (folder / f"{name}.png").write_bytes(samples.grid(grid[:, :, :: _up(loaded)], shown))
        labels = [subject.name(label) for label in lines]
        listed.append({"picture": f"{name}.png", "text": caption, "labels": labels})
    (folder / "samples.json").write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _up(loaded: Loaded) -> int:
    """A spectrogram is shown with its lowest band below."""
    return 1 if loaded.media.name == "image" else -1


def by_label(pictures: Seen, wanted: int) -> dict[int, list[int]]:
    """Row numbers of so many pictures of each label; of those with fewer, some again, so that each line is full."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(pictures.labels.tolist()):
        rows[label].append(row)
    return {label: [found[at % len(found)] for at in range(wanted)] for label, found in sorted(rows.items())}
