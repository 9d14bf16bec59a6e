"""Side-by-side measurements. Each file prints as its last line one flat JSON object, key → number."""

from collections.abc import Mapping
from typing import NamedTuple


class AtLeast(NamedTuple):
    """A goal that is met from below: the least that a figure should be, and what it is."""

    limit: float
    what: str


Goals = Mapping[str, tuple[float, str] | AtLeast]
"""Figure → (the most that it should be, what it is), or `AtLeast`."""
