"""A training run as it is watched while it goes: boards, progress lines, and the figures of the machine."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import torch

from nightforge import memory
from nightforge.throughput import Work, figures
from nightforge.training import Evaluated, Event, Stepped, Timed, Watched
from tasks.progress import report
from tasks.trackers import Tracker

PROGRESS_EVERY_S = 3.0
"""Seconds between two lines of progress; the flow makes no more of them either."""


def shown(events: Iterator[Event], boards: Sequence[Tracker], work: Work, steps: int) -> Iterator[Event]:
    """The same events, shown on boards and in lines of progress as they pass.

    Losses are shown where the run is looked at anyway (`train.loop.watch.every`), every one of them is in steps.csv; a
    step that was skipped or failed is always shown.
    """
    last: Stepped | None = None
    told = time.monotonic(), 0, 0
    units = 0
    for event in events:
        found = _figures(event, work)
        if isinstance(event, Stepped):
            last, units = event, units + event.units
            if event.units and "skipped" not in event.logged:
                found = {}
            if (now := time.monotonic()) - told[0] >= PROGRESS_EVERY_S:
                report(event.step, steps, _progress(event, units - told[2], now - told[0], told[1], steps))
                told = now, event.step, units
        elif isinstance(event, Timed | Evaluated) and last:
            found |= _figures(last, work)
        if found:
            for board in boards:
                board.scalars(event.step, found)
        yield event


def samples(boards: Sequence[Tracker], step: int, found: Mapping[str, bytes]) -> None:
    """Show what the model made of fixed prompts or latents."""
    for board in boards:
        for name, content in found.items():
            board.sample(step, name, content)


def machine() -> dict[str, float]:
    """Peak memory of the process and of the accelerator, in MB, and how busy the accelerator is, if there is one."""
    found = {"memory_peak_mb": memory.peak_bytes("cpu") / 1e6}
    if torch.cuda.is_available():
        found["accelerator_peak_mb"] = memory.peak_bytes("cuda") / 1e6
        with suppress(ModuleNotFoundError, RuntimeError):  # the driver's library is not there
            found["accelerator_share"] = torch.cuda.utilization() / 100
    return found


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _figures(event: Event, work: Work) -> dict[str, float]:
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
            return {f"speed/{name}": value for name, value in (figures(event, work, cores()) | machine()).items()}
        case _:
            return {}


def _progress(event: Stepped, units: int, seconds: float, before: int, steps: int) -> str:
    left = (steps - event.step) * seconds / max(1, event.step - before)
    return f"steps, loss {event.loss:.3f}, {units / seconds:,.0f} units/s, {_words(left)} left at most"


def _words(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
