"""Where the time of a run goes, by named parts; reading it costs a microsecond."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


class Clock:
    """Seconds of each part since the last lap. Parts do not nest, and no lap ends in one."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = defaultdict(float)
        self._begun, self._cpu = time.perf_counter(), time.process_time()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside to a part, which a profiler that looks on sees by that name."""
        begun = time.perf_counter()
        try:
            seen = torch._C._autograd._profiler_enabled()
            with torch.profiler.record_function(name) if seen else nullcontext():
                yield
        finally:
            self._parts[name] += time.perf_counter() - begun

    def lap(self) -> dict[str, float]:
        """Part → seconds since the last lap, `wall` and `cpu` (of all threads) among them; and begin anew."""
        now, cpu = time.perf_counter(), time.process_time()
        parts = dict(self._parts) | {"wall": now - self._begun, "cpu": cpu - self._cpu}
        self._parts.clear()
        self._begun, self._cpu = now, cpu
        return parts
