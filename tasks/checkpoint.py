"""Checkpoints of a training run: a folder each, every process writing what it holds, whole or not there.

torch.distributed.checkpoint writes the tensors, as safetensors, so that another number of processes, or one, can read
them; numbers and strings are in `plain.pt`. A folder gets its name when all of it is on disk, and only then does the
one before it go: whatever happens in between, a whole one is left.
"""

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from nightforge import loop
from nightforge.errors import ConfigError, Transient
from nightforge.ranks import own
from tasks import processes

PLAIN = "plain.pt"
STORED = "\0tensor"
"""Key of a mapping that stands where a tensor was."""


def save(work: Path, run: loop.Run, kept: dict[str, Any]) -> None:
    """Save a run, and what was kept of it; all processes call it.

    Raises:
        Transient: the disk is full, or could not be written for another reason.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    before = latest(work)
    try:
        _write(work / f"checkpoint-{run.step:08d}", run, kept)
    except (OSError, CheckpointException) as e:
        causes = [str(cause) for cause, _ in e.failures.values()] if isinstance(e, CheckpointException) else [str(e)]
        if processes.first():
            shutil.rmtree(work / f"checkpoint-{run.step:08d}.partial", ignore_errors=True)
        left = f"That of step {_step(before)} is whole" if before else "There is none before it"
        again = "training goes on from there" if before else "training begins anew"
        raise Transient(
            f"{work}: the checkpoint of step {run.step} could not be written: {'; '.join(sorted(set(causes)))}. "
            f"{left}. Make room there, and run again: {again}."
        ) from None


def _write(final: Path, run: loop.Run, kept: dict[str, Any]) -> None:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save as write

    tensors, plain = _split(loop.state(run))
    partial = final.with_suffix(".partial")
    if processes.first():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    processes.wait()
    with warnings.catch_warnings(action="ignore"):  # that there is one process
        writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
        write(_once(tensors), storage_writer=writer, no_dist=not processes.launched())
    if processes.first():
        with (partial / PLAIN).open("wb") as f:
            torch.save({"run": plain, "kept": kept}, f)
            f.flush()
            os.fsync(f.fileno())
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _sync(final.parent)
        for other in set(final.parent.glob("checkpoint-*")) - {final}:
            shutil.rmtree(other)
    processes.wait()


def latest(work: Path) -> Path | None:
    """The last whole checkpoint."""
    whole = [path for path in work.glob("checkpoint-*") if path.suffix != ".partial"]
    return max(whole, key=_step, default=None)


def plain(folder: Path) -> dict[str, Any]:
    """What a checkpoint holds beside its tensors: `run`, for `restore`, and `kept`."""
    read: dict[str, Any] = torch.load(folder / PLAIN, weights_only=True)
    return read


def restore(folder: Path, run: loop.Run, plain: dict[str, Any]) -> None:
    """Bring a run from `start` to where it was saved, whatever the number of processes then and now.

    Raises:
        ConfigError: the run has other weights than the one that was saved, or of other shapes.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    _move_once(run)
    blank = loop.state(run) | {"best_weights": {k: v.clone() for k, v in run.model.state_dict().items()}}
    places = _split(blank)[0]
    wanted = _stored(plain)
    other = {name for name in wanted ^ places.keys() if name in wanted or name.startswith("model/")}
    if other:
        how = "with" if min(other) in wanted else "without"
        raise ConfigError(f"{folder}: expected a checkpoint of this run, got one {how} {min(other)}. Delete it.")
    tensors = {name: place for name, place in _once(places).items() if name in wanted}
    with warnings.catch_warnings(action="ignore"):  # that there is one process
        reader = HuggingFaceStorageReader(str(folder))
        try:
            load(tensors, storage_reader=reader, no_dist=not processes.launched())
        except CheckpointException as e:
            why = "; ".join(sorted({str(cause) for cause, _ in e.failures.values()}))
            raise ConfigError(f"{folder}: expected a checkpoint of this run, got another: {why}. Delete it.") from None
    loop.restore(run, _join(plain, places))


def clear(work: Path) -> None:
    """Remove the checkpoints of a run that has ended."""
    for folder in work.glob("checkpoint-*"):
        shutil.rmtree(folder)


def _move_once(run: loop.Run) -> None:
    """Make a move with gradients of zero, so that the optimizers have their tensors, laid out as the weights are."""
    for parameter in run.model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    for mover in (mover for several in run.movers for mover in several):
        mover.step()
    run.model.zero_grad(set_to_none=True)


def _split(tree: Any, at: str = "") -> tuple[dict[str, torch.Tensor], Any]:
    """The tensors of nested mappings and lists, by where they are, and the rest with marks in their places."""
    if isinstance(tree, torch.Tensor):
        return {at: tree}, {STORED: at}
    if not isinstance(tree, dict | list):
        return {}, tree
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    parts = {key: _split(value, f"{at}/{key}" if at else str(key)) for key, value in items}
    tensors = {name: tensor for found, _ in parts.values() for name, tensor in found.items()}
    rest = {key: left for key, (_, left) in parts.items()}
    return tensors, rest if isinstance(tree, dict) else list(rest.values())


def _once(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each tensor under the first of its names, for an output layer may be the embedding; those without rows are
    another process's."""
    seen: dict[int, str] = {}
    some = {name: tensor for name, tensor in tensors.items() if tensor.numel()}
    return {name: tensor for name, tensor in some.items() if seen.setdefault(own(tensor).data_ptr(), name) == name}


def _join(plain: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """What was split."""
    if isinstance(plain, list):
        return [_join(value, tensors) for value in plain]
    if not isinstance(plain, dict):
        return plain
    return tensors[plain[STORED]] if STORED in plain else {key: _join(value, tensors) for key, value in plain.items()}


def _stored(plain: Any) -> set[str]:
    """Where the tensors were."""
    if not isinstance(plain, dict | list):
        return set()
    if isinstance(plain, dict) and STORED in plain:
        return {plain[STORED]}
    return {name for value in (plain.values() if isinstance(plain, dict) else plain) for name in _stored(value)}


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _sync(folder: Path) -> None:
    """A rename is on disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
