"""The README.md of an artifact's folder: what it is made of, what it was held to, and how to run it (Mitchell et al.
2019, *Model Cards for Model Reporting*: details, evaluation, disaggregated by slice, caveats).

All that comes from data or from a person is escaped: a label is no markup.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


@dataclass(frozen=True, slots=True)
class Card:
    """What is told of an artifact."""

    name: str
    """Of the format, as its exporter is called."""
    runtime: str
    how: str
    """How to run it, in Markdown of our own."""
    size_mb: float
    proof: str
    """How it was held against the model that it was made of, a sentence of our own."""
    remarks: Sequence[str] = ()
    """What the format changes in the model."""
    lineage: Mapping[str, str] = field(default_factory=dict)
    """Of what it is made → its hash."""
    passes: Sequence[Mapping[str, Any]] = ()
    """The recipe: name and values of each pass."""
    contract: Sequence[Mapping[str, Any]] = ()
    """Rows of nightforge.contract.Judgement."""
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Slice → documents, value, low and high of the relative loss of quality."""


def render(card: Card) -> str:
    """The page. Sections of which nothing is known are left out."""
    parts = [
        f"# {escaped(card.name)} for {escaped(card.runtime)}",
        f"{card.size_mb:.3g} MB (10⁶ bytes). {card.proof}",
        "\n".join(f"- {escaped(remark)}" for remark in card.remarks),
        _section("How to run it", card.how.strip()),
        _section("Contract", _table(["term", "limit", "measured", "bound", "met"], _terms(card.contract))),
        _section("Slices", _table(["slice", "documents", "loss", "low", "high"], _slices(card.slices))),
        _section("Recipe", "\n".join(f"{at}. {_pass(one)}" for at, one in enumerate(card.passes, 1))),
        _section("Lineage", _table(["of", "sha256"], [[k, v] for k, v in sorted(card.lineage.items())])),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def reopened(difference: float, largest: float, tolerance: float) -> str:
    """The proof of an artifact whose logits were compared with those of the model in memory.

    Args:
        difference: root of the mean square, over the standard deviation of the logits of the model in memory.
        largest: of a logit, likewise.
        tolerance: what `difference` may be.
    """
    return (
        f"Opened in a fresh process, its logits differ from those of the model in memory by {difference:.2g} of their "
        f"standard deviation (root of the mean square; {largest:.2g} at most); {tolerance:.2g} is allowed."
    )


def escaped(value: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _section(title: str, content: str) -> str:
    return f"## {title}\n\n{content}" if content else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return ""
    lines = [[*head], ["---"] * len(head), *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _terms(contract: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    return [
        [t["term"], _number(t["limit"]), _number(t["measured"]), _number(t["bound"]), "yes" if t["met"] else "no"]
        for t in contract
    ]


def _slices(slices: Mapping[str, Mapping[str, float]]) -> list[list[object]]:
    keys = ("value", "low", "high")
    return [[name, round(s["documents"]), *(f"{s[key]:.2%}" for key in keys)] for name, s in sorted(slices.items())]


def _pass(one: Mapping[str, Any]) -> str:
    values = ", ".join(f"{key} {json.dumps(value)}" for key, value in one.items() if key != "name")
    return escaped(f"{one['name']}: {values}" if values else one["name"])


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"
