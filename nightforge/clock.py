"""Where the time of a run goes, by named parts; reading it costs a microsecond."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds of each part since the last lap. Parts do not nest."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = defaultdict(float)
        self._begun = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside to a part."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] += time.perf_counter() - begun

    def lap(self) -> dict[str, float]:
        """Part → seconds since the last lap, `wall` among them; and begin anew."""
        now = time.perf_counter()
        parts = dict(self._parts) | {"wall": now - self._begun}
        self._parts.clear()
        self._begun = now
        return parts
