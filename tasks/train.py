"""train: fit the model on data/balanced, watched on the validation split; if it was killed, it goes on."""

import csv
import json
import os
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from nightforge import loop, precision
from nightforge.batching import order
from nightforge.errors import SourceMoved
from nightforge.training import At, Due, Evaluated, Event, Stepped, Timed, Watched, turns
from tasks.hashing import sha256_file
from tasks.prepared import SCRATCH, Inputs, Prepared, TrainConfig
from tasks.progress import report
from tasks.stage import Measured
from tasks.wiring import home_folder

CHECKPOINT, SAMPLES = "checkpoint.pt", "samples"
BOARDS = Path(".nightforge/tensorboard/train")
"""TensorBoard's event files carry the time of day, so they are no output of the stage: `tensorboard --logdir` here."""


def run(
    cfg: TrainConfig,
    seed: int,
    base: Path,
    balanced: Path,
    splits: Path,
    deps: Mapping[str, Path],
    dense: Path,
    work: Path,
    plots: Path,
) -> Measured:
    """Train, keep the best weights, and write the model folder, the curves and the figures."""
    begun = time.perf_counter()
    check_base(base, cfg.model)
    torch.set_num_threads(cfg.loop.threads)
    torch.manual_seed(seed)
    prepared = prepare(cfg, seed, Inputs(balanced, splits, deps))
    training, kept = _begin(cfg, seed, prepared, work)
    resumed = training.step
    for event in _shown(loop.steps(training, prepared.data, prepared.evaluate, prepared.first), work.name):
        kept.add(event)
        if isinstance(event, Evaluated):
            kept.samples |= {f"{event.step:07d}-{k}": v for k, v in prepared.sample(training.model).items()}
            report(event.step, cfg.loop.steps, f"steps, {kept.summary(prepared.metric)}")
        elif isinstance(event, Due):
            _save(work / CHECKPOINT, {"run": loop.state(training), "kept": kept.state()})
    kept.write(plots, prepared.metric)
    facts = {"family": cfg.family.name, "precision": training.precision}
    prepared.save(dense, training.model.cpu(), facts)
    (work / CHECKPOINT).unlink(missing_ok=True)
    speed = kept.speed() | {
        "seconds": time.perf_counter() - begun,
        "resumed_from_step": resumed,
        "precision": training.precision,
        "precision_seconds_per_step": kept.precisions,
        "device": precision.device(),
        "threads": cfg.loop.threads,
        "torch": torch.__version__,
    }
    return Measured(_metrics(training, kept, prepared.metric) | prepared.metrics(kept.stepped), speed)


def check_base(base: Path, wanted: str) -> None:
    """The starting model must be the one that models/base.json recorded.

    Raises:
        SourceMoved: another one is named, or a file of it has changed.
    """
    recorded = json.loads(base.read_text(encoding="utf-8"))
    if (named := recorded.get("folder", SCRATCH)) != wanted:
        raise SourceMoved(f"{base}: records {named!r}, params.yaml names {wanted!r}. Run: nightforge snapshot")
    for name, sha256 in recorded.get("files", {}).items():
        path = home_folder() / wanted / name
        if not path.is_file() or sha256_file(path) != sha256:
            raise SourceMoved(f"{path}: not the file that {base} recorded. Run: nightforge snapshot")


def prepare(cfg: TrainConfig, seed: int, inputs: Inputs) -> Prepared:
    """The model and its data, ready for the loop, by the kind of the family."""
    made: Prepared = import_module(f"tasks.train_{cfg.family.module.KIND}").prepare(cfg, seed, inputs)
    return made


class Kept:
    """What is kept of a run's events: all that is the same each time, and for the speed the clock."""

    def __init__(self) -> None:
        self.stepped: list[Stepped] = []
        self.evaluated: list[Evaluated] = []
        self.watched: list[Watched] = []
        self.samples: dict[str, bytes] = {}
        self.timed: list[Timed] = []
        self.precisions: dict[str, float] = {}
        self._homes: dict[type, list[Any]] = {
            Stepped: self.stepped, Evaluated: self.evaluated, Watched: self.watched, Timed: self.timed
        }  # fmt: skip

    def add(self, event: Event) -> None:
        """Keep an event."""
        if type(event) in self._homes:
            self._homes[type(event)].append(event)

    def state(self) -> dict[str, Any]:
        """Plain data, to go into a checkpoint."""
        events = {kind.__name__: [list(event) for event in home] for kind, home in self._homes.items()}
        samples = {name: list(content) for name, content in self.samples.items()}
        return {"events": events, "samples": samples, "precisions": self.precisions}

    def restore(self, saved: dict[str, Any]) -> None:
        """Back from a checkpoint."""
        for kind, home in self._homes.items():
            home.extend(kind(*values) for values in saved["events"][kind.__name__])
        self.samples = {name: bytes(content) for name, content in saved["samples"].items()}
        self.precisions = saved["precisions"]

    def summary(self, metric: str) -> str:
        """Where the run stands, in words."""
        return f"loss {self.stepped[-1].loss:.3f}, {metric} {self.evaluated[-1].value:.4f}"

    def speed(self) -> dict[str, Any]:
        """Units a second, and the share of each part of the time."""
        wall = sum(t.seconds["wall"] for t in self.timed)
        parts = {name for t in self.timed for name in t.seconds} - {"wall"}
        return {
            "units_per_s": sum(t.units for t in self.timed) / wall if wall else 0.0,
            "time_share": {n: sum(t.seconds.get(n, 0.0) for t in self.timed) / wall for n in sorted(parts)},
        }

    def write(self, plots: Path, metric: str) -> None:
        """The curves as CSV, and the samples."""
        plots.mkdir(parents=True, exist_ok=True)
        logged = list(self.stepped[-1].logged)
        header = [*Stepped._fields[:-1], *logged]
        rows = [[*step[:-1], *(step.logged.get(name, 0.0) for name in logged)] for step in self.stepped]
        _csv(plots / "steps.csv", header, rows)
        _csv(
            plots / "validation.csv", ["step", metric, "best"], [[e.step, e.value, int(e.best)] for e in self.evaluated]
        )
        figures = sorted({name for event in self.watched for name in event.figures})
        if figures:
            seen = [[e.step, *(e.figures.get(name, "") for name in figures)] for e in self.watched]
            _csv(plots / "watched.csv", ["step", *figures], seen)
        (plots / SAMPLES).mkdir(exist_ok=True)
        for name, content in self.samples.items():
            (plots / SAMPLES / name).write_bytes(content)


def _begin(cfg: TrainConfig, seed: int, prepared: Prepared, work: Path) -> tuple[loop.Run, Kept]:
    """The run, fresh or from its checkpoint, and what was kept of it so far."""
    kept, saved, model = Kept(), None, prepared.model.to(precision.device())
    if (work / CHECKPOINT).exists():
        saved = torch.load(work / CHECKPOINT, weights_only=True, map_location=precision.device())
        kept.restore(saved["kept"])
        report(saved["run"]["step"], cfg.loop.steps, "steps were made before; going on from there")
    chosen = saved["run"]["precision"] if saved else cfg.loop.precision
    family = turns(cfg.family)
    if chosen == "auto":
        rows = next(order(prepared.data.sizes, cfg.loop.batch_size, seed))
        batch = prepared.data.batch(rows).to(precision.device())

        def loss(trial: Any) -> torch.Tensor:
            losses = [turn.loss(trial, batch.tensors, At(0, cfg.loop.steps))[0] for turn in family]
            return torch.stack(losses).sum() / batch.units

        kept.precisions = precision.seconds(model, loss, precision.device())
        chosen = precision.faster(kept.precisions)
    training = loop.start(model, family, cfg.loop, seed, chosen)
    if saved:
        loop.restore(training, saved["run"])
    return training, kept


def _save(path: Path, content: dict[str, Any]) -> None:
    """Written whole or not at all, also if the machine is switched off."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as f:
        torch.save(content, f)
        f.flush()
        os.fsync(f.fileno())
    partial.replace(path)


def _shown(events: Iterator[Event], name: str) -> Iterator[Event]:
    """The same events, shown in TensorBoard as they pass."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(BOARDS / name)) as board:
        for event in events:
            for label, value in _figures(event).items():
                board.add_scalar(label, value, event.step)
            yield event


def _figures(event: Event) -> dict[str, float]:
    """The figures of an event, by the name that they have on a board."""
    match event:
        case Stepped():
            own = {"loss": event.loss, "lr": event.lr, "grad_norm": event.grad_norm}
            return {f"train/{name}": value for name, value in (own | event.logged).items()}
        case Evaluated():
            return {"validation/value": event.value}
        case Watched():
            return event.figures
        case Timed():
            shares = {f"time/{name}": s / event.seconds["wall"] for name, s in event.seconds.items() if name != "wall"}
            return shares | {"speed/units_per_s": event.units / event.seconds["wall"]}
        case Due():
            return {}


def _csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as f:
        csv.writer(f, lineterminator="\n").writerows([header, *rows])


def _metrics(training: loop.Run, kept: Kept, metric: str) -> dict[str, Any]:
    last = kept.stepped[-50:]
    return {
        "steps": training.step,
        "stopped_early": int(training.step < training.settings.steps),
        "units": sum(step.units for step in kept.stepped),
        "loss_last": sum(step.loss for step in last) / len(last),
        f"{metric}_best": training.best,
        "best_step": training.best_step,
        "parameters": sum(p.numel() for p in training.model.parameters()),
    }
