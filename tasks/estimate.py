"""`nightforge estimate`: seconds and memory of the stage train, from one measured step; and a table over sizes."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge import estimating, loop, memory, precision
from nightforge.batching import Batch, Data
from nightforge.errors import AssetMissing, ConfigError
from nightforge.training import Due, Stepped
from tasks import checkpoint, stage, train, wiring
from tasks.prepared import Inputs, Prepared, TrainConfig

WARM_UP, TIMED = 2, 5
"""Steps: the first ones, on the largest micro-batches, show the memory; the others, on one of middle size, the time."""


class Project(NamedTuple):
    """What the stage train would be given."""

    cfg: TrainConfig
    seed: int
    inputs: Inputs


def opened() -> Project:
    """The project in the working directory.

    Raises:
        AssetMissing: its data is not there yet.
    """
    wired = wiring.stage("train")
    values = wiring.read_yaml(Path("params.yaml"))
    paths = {k: p for k, p in wired.paths.items() if p not in {*wired.outs, *wired.plots}}
    for path in paths.values():
        if not path.exists():
            raise AssetMissing(f"{path}: expected what the stage train reads, got nothing there. Run first: dvc repro")
    cfg: TrainConfig = stage.value(wired, values, "cfg", TrainConfig)
    seed: int = stage.value(wired, values, "seed", int)
    return Project(cfg, seed, Inputs(paths["balanced"], paths["splits"], paths))


class Scripted:
    """The project's data, of which the loop gets the batches of a script."""

    def __init__(self, data: Data, script: Iterator[Sequence[int]]) -> None:
        self.data, self.script = data, script

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Of the data."""
        return self.data.sizes

    def batch(self, rows: Sequence[int]) -> Batch:
        """The next of the script."""
        return self.data.batch(next(self.script))


def main(sizes: bool) -> int:
    """Print what the run of params.yaml will take, or the table over sizes."""
    project = opened()
    if sizes:
        from tasks.estimate_sizes import table

        print("\n".join(table(project.cfg, project.seed)))
        return 0
    forecast, peak_bytes, per_step = measured(project)
    settings = project.cfg.loop
    evaluations, saves = estimating.events(settings)
    words = estimating.in_words
    print(f"prepare      {words(forecast.prepare)}")
    print(f"steps        {words(forecast.steps)} ({settings.steps} × {per_step:.4f} s)")
    print(f"evaluations  {words(forecast.evaluations)} ({evaluations})")
    print(f"checkpoints  {words(forecast.saves)} ({saves})")
    print(f"in all       {words(forecast.total)}, less if training stops early")
    print(f"peak memory  {peak_bytes / 1e6:.0f} MB, of {memory.free_bytes(precision.device()) / 1e6:.0f} MB free now")
    return 0


def measured(project: Project) -> tuple[estimating.Forecast, int, float]:
    """The forecast, the peak of memory in bytes, and the seconds of a step.

    Raises:
        ConfigError: several processes would share the work.
    """
    begun, cfg, seed = time.perf_counter(), project.cfg, project.seed
    if cfg.parallel:
        raise ConfigError("estimate: expected train.parallel: null, for one process is measured, got a way to share.")
    torch.set_num_threads(cfg.loop.threads)
    torch.manual_seed(seed)
    prepared = train.prepare(cfg, seed, project.inputs)
    several = cfg.loop.accumulate
    batches = estimating.drawn(prepared.data.sizes, cfg.loop, seed)
    works = [estimating.work(prepared.data.sizes, rows) for rows in batches]
    mean = float(np.mean(works))
    largest, middle = batches[int(np.argmax(works))], batches[int(np.argmin(np.abs(np.array(works) - mean)))]
    data = Scripted(prepared.data, chain(repeat(largest, WARM_UP * several), cycle([middle])))
    with tempfile.TemporaryDirectory() as folder:
        training, kept = train.begin(cfg, seed, prepared, Path(folder))
        train.yardstick(cfg, seed, prepared, training)
        ready = time.perf_counter() - begun
        steps, evaluation, save = _driven(training, kept, prepared, data, Path(folder))
        finishing = time.perf_counter()
        prepared.save(Path(folder) / "model", training.model.cpu(), {"family": cfg.family.name})
        finish = time.perf_counter() - finishing
    size = estimating.work(prepared.data.sizes, middle)
    found = estimating.Measured(ready, float(np.median(steps)), size, evaluation, save, finish)
    forecast = estimating.seconds(found, cfg.loop, _mean_work(prepared, cfg, seed, mean))
    return forecast, memory.peak_bytes(precision.device()), forecast.steps / cfg.loop.steps


def _driven(
    training: loop.Run, kept: Any, prepared: Prepared, data: Data, work: Path
) -> tuple[list[float], float, float]:
    """Seconds of each timed step, of an evaluation with its samples, and of a checkpoint."""
    short = {"steps": WARM_UP + TIMED, "eval_every": WARM_UP + TIMED, "save_every": WARM_UP + TIMED}
    training.settings = training.settings.model_copy(update=short)
    steps, evaluation, save, before = [], 0.0, 0.0, time.perf_counter()
    for event in loop.steps(training, data, prepared.evaluate):
        if isinstance(event, Stepped):
            steps.append(time.perf_counter() - before)
        elif isinstance(event, Due):
            prepared.sample(training.model)
            evaluation = time.perf_counter() - before
            begun = time.perf_counter()
            checkpoint.save(work, training, kept.state())
            save = time.perf_counter() - begun
        before = before if _between(event) else time.perf_counter()
    return steps[WARM_UP:], evaluation, save


def _between(event: Any) -> bool:
    """Whether what follows belongs to the same part: an evaluation lasts from the last step to its samples."""
    return not isinstance(event, Stepped | Due)


def _mean_work(prepared: Prepared, cfg: TrainConfig, seed: int, mean: float) -> float:
    """Of a micro-batch, over the run: its first steps may be on other rows."""
    if not prepared.first:
        return mean
    early, most = prepared.first
    first = np.mean([estimating.work(early.sizes, rows) for rows in estimating.drawn(early.sizes, cfg.loop, seed)])
    share = min(1.0, most / cfg.loop.steps)
    return float(share * first + (1 - share) * mean)
