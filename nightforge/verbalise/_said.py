"""What a verbaliser says: a text, and the facts that it tells."""

from typing import NamedTuple


class Said(NamedTuple):
    """One training text."""

    text: str
    facts: list[int]
    """Positions in the graph's edges."""


Phrasings = dict[str, list[str]]
"""Relation → sentences with `{subject}` and `{object}`; `*` stands for every relation that has none of its own."""
