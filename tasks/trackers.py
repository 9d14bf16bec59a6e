"""Where the figures of a run are shown beside the files: TensorBoard always, MLflow and Weights & Biases if asked.

All of them write below .nightforge/ on this machine: no server, no account, nothing sent. What they write holds the
time of day, so it is no output of a stage.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nightforge.errors import ConfigError
from tasks import processes

HOME = Path(".nightforge")
PROJECT = "nightforge"
Name = Literal["mlflow", "wandb"]


class Tracker(NamedTuple):
    """Where a run is shown."""

    scalars: Callable[[int, Mapping[str, float]], None]
    """(step, name → figure)"""
    sample: Callable[[int, str, bytes], None]
    """(step, file name, content): a .txt, .png or .wav."""


@contextmanager
def tensorboard(run: str, values: Mapping[str, Any]) -> Iterator[Tracker]:
    """Event files: `tensorboard --logdir .nightforge/tensorboard`."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(HOME / "tensorboard/train" / run)) as board:

        def scalars(step: int, figures: Mapping[str, float]) -> None:
            for name, value in figures.items():
                board.add_scalar(name, value, step)

        def sample(step: int, name: str, content: bytes) -> None:
            kind = Path(name).suffix
            if kind == ".png":
                board.add_image(f"samples/{name}", pixels(content), step, dataformats="HWC")
            elif kind == ".txt":
                text = "    " + content.decode(errors="replace").replace("\n", "\n    ")  # markdown for: as it is
                board.add_text(f"samples/{name}", text, step)
            elif kind == ".wav":
                wave, rate = sound(content)
                board.add_audio(f"samples/{name}", wave, step, rate)

        yield Tracker(scalars, sample)


@contextmanager
def mlflow(run: str, values: Mapping[str, Any]) -> Iterator[Tracker]:
    """A database in a file: `mlflow ui --backend-store-uri sqlite:///.nightforge/mlflow/mlflow.db`."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    home = (HOME / "mlflow").resolve()
    home.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    found = client.get_experiment_by_name(PROJECT)
    where = found.experiment_id if found else client.create_experiment(PROJECT, (home / "artifacts").as_uri())
    its = client.create_run(where, run_name=run).info.run_id
    client.log_batch(its, params=[Param(name, str(value)) for name, value in _flat(values)])

    def scalars(step: int, figures: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        client.log_batch(its, metrics=[Metric(name, value, now, step) for name, value in figures.items()])

    def sample(step: int, name: str, content: bytes) -> None:
        folder = home / "artifacts" / its / "artifacts" / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{step:07d}-{name}").write_bytes(content)

    try:
        yield Tracker(scalars, sample)
    except BaseException:
        client.set_terminated(its, "FAILED")
        raise
    client.set_terminated(its)


@contextmanager
def wandb(run: str, values: Mapping[str, Any]) -> Iterator[Tracker]:
    """An offline run; `wandb sync .nightforge/wandb/offline-run-*` would send it, and nothing here does."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    import wandb as library

    HOME.mkdir(exist_ok=True)
    quiet = library.Settings(
        console="off", silent=True, disable_git=True, disable_code=True, x_disable_meta=True, x_disable_stats=True
    )
    its = library.init(project=PROJECT, name=run, mode="offline", dir=str(HOME), config=dict(values), settings=quiet)

    def scalars(step: int, figures: Mapping[str, float]) -> None:
        its.log(dict(figures), step=step)

    def sample(step: int, name: str, content: bytes) -> None:
        if name.endswith(".png"):
            shown: Any = library.Image(pixels(content))
        elif name.endswith(".wav"):
            wave, rate = sound(content)
            shown = library.Audio(wave, rate)
        else:
            shown = library.Html(f"<pre>{escape(content.decode(errors='replace'))}</pre>")
        its.log({f"samples/{name}": shown}, step=step)

    try:
        yield Tracker(scalars, sample)
    except BaseException:
        its.finish(exit_code=1)
        raise
    its.finish()


TRACKERS: dict[str, Callable[[str, Mapping[str, Any]], AbstractContextManager[Tracker]]] = {
    "mlflow": mlflow,
    "wandb": wandb,
}


@contextmanager
def opened(names: Sequence[Name], run: str, values: Mapping[str, Any]) -> Iterator[list[Tracker]]:
    """TensorBoard and the chosen trackers, closed at the end.

    Args:
        names: of `TRACKERS`.
        run: its name there.
        values: of params.yaml, to be shown beside the figures.

    Raises:
        ConfigError: the package of one is not installed.
    """
    if not processes.first():
        yield []
        return
    with ExitStack() as stack:
        found = [stack.enter_context(tensorboard(run, values))]
        for name in names:
            try:
                found.append(stack.enter_context(TRACKERS[name](run, values)))
            except ImportError as e:
                raise ConfigError(
                    f"train.trackers: {name} was asked for, and its package is not installed ({e}). "
                    "Run: pip install 'nightforge[trackers]'"
                ) from None
        yield found


def pixels(content: bytes) -> Any:
    """A picture as an array (height, width, 3) of bytes."""
    import io

    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def sound(content: bytes) -> tuple[Any, int]:
    """A sound as an array (samples,) in −1 … 1, the first channel, and its samples a second."""
    import io

    import soundfile

    wave, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return wave[:, 0], rate


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """`{"loop": {"steps": 3}}` as `loop.steps` → 3."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
