"""Where the time of a few steps goes: torch.profiler over a window of the run, its trace and a table of it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch.profiler import ProfilerActivity, profile

from nightforge.config import Config
from nightforge.errors import ConfigError
from nightforge.throughput import PARTS
from nightforge.training import Event, Stepped

HOME = Path(".nightforge/profile")
TOP_OPERATIONS = 12


class Window(Config):
    """Which steps are profiled."""

    first_step: int = Field(ge=1)
    """The first one, counted from 1; leave a few to warm up."""
    steps: int = Field(ge=1, le=1000)
    """How many; the trace grows by some hundred kB a step."""

    @property
    def last_step(self) -> int:
        """The last one, which is profiled too."""
        return self.first_step + self.steps - 1


class Profile:
    """Profiles the window as the events of a run pass; `table` is what was seen, empty before."""

    def __init__(self, window: Window | None, steps: int, name: str) -> None:
        """Of a run of so many steps, that goes by this name.

        Raises:
            ConfigError: the run ends before the window does.
        """
        if window and window.last_step > steps:
            raise ConfigError(
                f"train.profile: expected a window within the {steps} steps of the run, got steps {window.first_step} "
                f"to {window.last_step}. Lower first_step, or raise train.loop.steps."
            )
        self.window, self.trace = window, HOME / name / "trace.json"
        self.table: dict[str, Any] = {}

    def watch(self, events: Iterator[Event], step: int) -> Iterator[Event]:
        """The same events; the step that is made next is told first."""
        first, last = (self.window.first_step, self.window.last_step) if self.window else (0, 0)
        profiler, begun = None, 0.0
        try:
            while True:
                if step + 1 == first and not profiler:
                    profiler, begun = _profiler(), time.perf_counter()
                    profiler.start()
                event = next(events, None)
                if event is None:
                    return
                if isinstance(event, Stepped):
                    step = event.step
                    if profiler and step == last:
                        seconds = time.perf_counter() - begun
                        profiler.stop()
                        self._tell(profiler, seconds)
                        profiler = None
                yield event
        finally:
            if profiler:
                profiler.stop()

    def _tell(self, profiler: Any, seconds: float) -> None:
        self.trace.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self.trace))
        self.table = {"trace": self.trace.as_posix(), **table(profiler.key_averages(), seconds)}
        print("\n".join(lines(self.table)), flush=True)


def table(seen: Any, seconds: float) -> dict[str, Any]:
    """Share of the time of each part of a step, `idle` what no part had, and the operations that took longest.

    Args:
        seen: averages of the profiler (`key_averages()`); a part is a range by its name.
        seconds: that the window took.
    """
    parts = {one.key: one.cpu_time_total / 1e6 for one in seen if one.key in PARTS}
    own = [(one, (one.self_device_time_total or one.self_cpu_time_total) / 1e6) for one in seen if one.key not in PARTS]
    top = sorted(own, key=lambda pair: -pair[1])[:TOP_OPERATIONS]
    shares = {name: parts.get(name, 0.0) / seconds for name in PARTS if name in parts}
    return {
        "seconds": seconds,
        "share": shares | {"idle": max(0.0, 1 - sum(shares.values()))},
        "operations": [
            {"name": one.key, "calls": one.count, "seconds": each, "share": each / seconds} for one, each in top
        ],
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The table for a person."""
    head = f"profile: {found['seconds']:.2f} s; the trace for chrome://tracing or perfetto: {found['trace']}"
    parts = [f"  {name:<14}{share:7.1%}" for name, share in found["share"].items()]
    each = [f"  {one['share']:6.1%}  {one['calls']:6d} × {one['name']}" for one in found["operations"]]
    return [head, *parts, "  of these, the operations that took longest:", *each]


def _profiler() -> Any:
    on = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    return profile(activities=on, acc_events=True)
