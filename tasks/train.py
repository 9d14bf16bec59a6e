"""train: fit the model on data/balanced, watched on the validation split; if it was killed, it goes on."""

import csv
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from nightforge import activations, compiling, loop, memory, precision
from nightforge.batching import order
from nightforge.errors import SourceMoved
from nightforge.ranks import ALONE, full
from nightforge.throughput import Work, figures, together
from nightforge.throughput import work as measured
from nightforge.training import Due, Evaluated, Event, NotFinite, Stepped, Timed, Watched, turns
from tasks import checkpoint, processes
from tasks.hashing import sha256_file
from tasks.prepared import SCRATCH, Inputs, Prepared, TrainConfig
from tasks.progress import report
from tasks.stage import Measured
from tasks.trackers import Tracker, opened
from tasks.train_boards import cores, samples, shown
from tasks.train_profile import Profile
from tasks.trying import Tried, attempt
from tasks.wiring import home_folder

SAMPLES = "samples"
FAILED = Path(".nightforge/failed/train")
"""The curves of a run that was ended by a step that is not finite, that step among them."""


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
    """Train, keep the best weights, and write the model folder, the curves and the figures.

    Raises:
        ConfigError: memory ran out; it says what to lower.
    """
    begun = time.perf_counter()
    check_base(base, cfg.model)
    torch.set_num_threads(cfg.loop.threads)
    torch.manual_seed(seed)
    prepared = prepare(cfg, seed, Inputs(balanced, splits, deps))
    with memory.explained(cfg.loop.batch_size, cfg.loop.accumulate), processes.joined(cfg.parallel):
        training, kept, looked = _fit(cfg, seed, prepared, processes.same(work))
        trained = _trained(training, prepared)
    if processes.first():
        kept.write(plots, prepared.metric)
        prepared.save(dense, trained, {"family": cfg.family.name, "precision": training.precision})
        checkpoint.clear(work)
    speed = looked | {
        "seconds": time.perf_counter() - begun,
        "precision": training.precision,
        "precision_seconds_per_step": kept.tried.precision_seconds,
        "compiled": kept.tried.compiled,
        "compile_seconds": kept.tried.compile_seconds,
        "peak_memory_mb": memory.peak_bytes(precision.device()) / 1e6,
        "device": precision.device(),
        "threads": cfg.loop.threads,
        "torch": torch.__version__,
    }
    own = _metrics(training, kept, prepared.metric) | {
        "parameters": sum(p.numel() for p in prepared.model.parameters()),
        "activation_variance": kept.tried.activation_variance,
    }
    return Measured(own | prepared.metrics(kept.stepped), speed)


def _fit(cfg: TrainConfig, seed: int, prepared: Prepared, work: Path) -> tuple[loop.Run, "Kept", dict[str, Any]]:
    """The run, at its end; what was kept of it, and how fast it was."""
    training, kept = begin(cfg, seed, prepared, work)
    resumed = training.step
    goal, traced = yardstick(cfg, seed, prepared, training), _profile(cfg, work.name)
    where: AbstractContextManager[list[Tracker]]
    where = opened(cfg.trackers, work.name, cfg.model_dump()) if processes.first() else nullcontext([])
    with kept.told_if_it_fails(prepared.metric), where as boards:
        events = loop.steps(training, prepared.data, prepared.evaluate, prepared.first)
        for event in shown(traced.watch(events, resumed), boards, goal, cfg.loop.steps):
            kept.add(event)
            if isinstance(event, Evaluated):
                with training.ranks.whole():
                    drawn = prepared.sample(training.model)
                kept.samples |= {f"{event.step:07d}-{k}": v for k, v in drawn.items()}
                samples(boards, event.step, drawn)
                report(event.step, cfg.loop.steps, f"steps, {kept.summary(prepared.metric)}")
            elif isinstance(event, Due):
                checkpoint.save(work, training, kept.state())
    return training, kept, kept.speed(goal) | {"profile": traced.table, "resumed_from_step": resumed}


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
        self.tried: Tried
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
        return {"events": events, "samples": samples, "tried": list(self.tried)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Back from a checkpoint."""
        for kind, home in self._homes.items():
            home.extend(kind(*values) for values in saved["events"][kind.__name__])
        self.samples = {name: bytes(content) for name, content in saved["samples"].items()}
        self.tried = Tried(*saved["tried"])

    def summary(self, metric: str) -> str:
        """Where the run stands, in words."""
        return f"loss {self.stepped[-1].loss:.3f}, {metric} {self.evaluated[-1].value:.4f}"

    def speed(self, work: Work) -> dict[str, Any]:
        """See nightforge.throughput; over the whole run, nothing if it was never looked at."""
        whole = together(self.timed)
        return {"work": work._asdict()} | (figures(whole, work, cores()) if whole else {})

    @contextmanager
    def told_if_it_fails(self, metric: str) -> Iterator[None]:
        """Write the curves also where a step that is not finite ends the run, to FAILED."""
        try:
            yield
        except NotFinite as e:
            if processes.first():
                self.write(FAILED, metric)
                (FAILED / "error.txt").write_text(f"{e}\n", encoding="utf-8")
            raise

    def write(self, plots: Path, metric: str) -> None:
        """The curves as CSV, and the samples."""
        plots.mkdir(parents=True, exist_ok=True)
        logged = list(dict.fromkeys(name for step in self.stepped for name in step.logged))
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


def begin(cfg: TrainConfig, seed: int, prepared: Prepared, work: Path) -> tuple[loop.Run, Kept]:
    """The run, fresh or from its checkpoint, and what was kept of it so far."""
    kept, ranks, model = Kept(), ALONE, prepared.model.to(precision.device())
    if cfg.loop.recompute:
        activations.recompute(model)
    folder = checkpoint.latest(work)
    plain = checkpoint.plain(folder) if folder else {}
    if plain:
        kept.restore(plain["kept"])
        forward = compiling.network(model) if kept.tried.compiled else model
        report(plain["run"]["step"], cfg.loop.steps, "steps were made before; going on from there")
    else:
        forward, kept.tried = attempt(cfg, seed, prepared)
    if cfg.parallel:
        kept.tried, model = processes.same(kept.tried), deepcopy(model)
        ranks = cfg.parallel.module.spread(model, len(turns(cfg.family)), cfg.parallel.cfg)
        forward = compiling.network(model) if kept.tried.compiled else model
    training = loop.start(model, turns(cfg.family), cfg.loop, seed, kept.tried.precision, ranks, forward)
    if folder:
        checkpoint.restore(folder, training, plain["run"])
    return training, kept


def _trained(training: loop.Run, prepared: Prepared) -> Any:
    """The model on the CPU, put together where processes shared it out."""
    if training.model is prepared.model:
        return training.model.cpu()
    with training.ranks.whole():
        weights = {name: full(v).cpu() for name, v in training.model.state_dict().items()}
        prepared.model.load_state_dict(weights)
    return prepared.model.eval()


def _profile(cfg: TrainConfig, name: str) -> Profile:
    """Of the first process."""
    return Profile(cfg.profile if processes.first() else None, cfg.loop.steps, name)


def yardstick(cfg: TrainConfig, seed: int, prepared: Prepared, training: loop.Run) -> Work:
    """What the speed of the run is held against, measured on its first batch."""
    sizes, settings = prepared.data.sizes, cfg.loop
    rows = next(order(sizes, settings.batch_size, seed))
    epoch = float(sizes.sum() / sizes[rows].sum())
    first = prepared.data.batch(rows)
    found = measured(prepared.model, training.turns, first, epoch, settings.steps, training.precision)
    if cfg.parallel:
        prepared.model.cpu()  # where it waits for the weights, at the end
    return found


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
    }
