"""`nightforge gates init`: a suite proposed from the data at hand, to be read and changed by whoever knows the data.

Every limit is what was seen, with a margin that its `why` tells. What was never seen (a repeated id, a missing row)
may not come; what was seen may vary as a night does.
"""

import difflib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nightforge.errors import ConfigError, DataError
from tasks import gate_table, wiring

if TYPE_CHECKING:
    import polars as pl

Entry = dict[str, Any]
NAMES_MAX = 50
"""Names that are listed at most; of more, none is held."""
UNIQUE = ["id", "text_hash"]
NAMED = ["label", "language", "media_type", "split"]
SPREAD = ["n_chars", "n_words", "alpha_share", "digit_share"]
RARE = ["n_replacement", "n_control", "n_markers", "n_missing", "has_pii", "has_secret"]
FACTS: list[tuple[str, float | None, float | None, float]] = [
    # end of the name, least and most as a factor of what was seen, and what is added to the most
    ("rows_per_label_min", 0.5, None, 0),
    ("label_share_min", 0.5, None, 0),
    ("kept_share", 0.8, None, 0),
    ("rows_ratio", 0.7, 1.5, 0),
    ("ratio_change", None, 1.25, 0),
    ("_ratio", 0.8, 1.25, 0),
    ("_share", None, 2, 0.01),
    ("deviation", None, 2, 0.02),
    ("share_change", None, 2, 0.02),
    ("psi_beyond_noise", None, 1, 0.1),
    ("js_beyond_noise", None, 1, 0.02),
    ("rows", 0.7, 1.5, 0),
    ("", 0.75, 1.25, 0),
]
"""The first that fits a fact's name gives its limits."""
LEFT_OUT = ("psi", "js", "train_rows", "train_label_ratio", "rejected", "n_words_mean")
"""Facts that say what another one says better."""


def main(project: Path, key: str, force: bool) -> str:
    """Propose the suite of a gate and write it where there is none, or by `force` over what is there; returns the diff.

    Raises:
        ConfigError: dvc.yaml has no such gate.
        DataError: its artifact is not there.
    """
    wired = wiring.stage(f"gate@{key}", project)
    artifact, beside = (Path(project, wired.item[name]) for name in ("artifact", "beside"))
    suite = next(project / p for p in wired.deps if p.suffix == ".yaml")
    if not artifact.exists():
        raise DataError(f"{artifact}: nothing is there to propose a suite from. Make it first: dvc repro gate@{key}")
    old = suite.read_text(encoding="utf-8") if suite.exists() else ""
    proposed = propose(gate_table.of(artifact, beside))
    _keep_whys(proposed, yaml.safe_load(old) or {})
    text = dumped(key, artifact.relative_to(project), proposed)
    if not old or force:
        suite.parent.mkdir(parents=True, exist_ok=True)
        suite.write_text(text, encoding="utf-8")
        return (
            f"{changes(old, text, suite)}\n{suite} is written. Read it: it says what was so today, not what must be so."
        )
    way = f"nightforge gates init {key} --force"
    return f"{changes(old, text, suite)}\n{suite} is left as it is. To put this in its place: {way}"


def _keep_whys(proposed: dict[str, list[Entry]], old: dict[str, list[Entry]]) -> None:
    """Where the limits are the same, what a person wrote of them says more than `it was 0 in every row`."""
    for of, entries in proposed.items():
        for entry in entries:
            same = (e for e in old.get(of) or [] if {**e, "why": ""} == {**entry, "why": ""})
            entry["why"] = next(same, entry).get("why", entry["why"])


def propose(tables: gate_table.Tables) -> dict[str, list[Entry]]:
    """A suite that opens for what it is proposed from.

    Raises:
        ConfigError: there is nothing to expect anything of.
    """
    suite = {
        "rows": [] if tables.rows is None else list(_rows(tables.rows)),
        "facts": [e for name, value in tables.facts.items() if (e := _fact(name, value))],
    }
    if not any(suite.values()):
        raise ConfigError("the artifact has neither rows nor numbers; there is nothing to propose.")
    return {of: entries for of, entries in suite.items() if entries}


class _House(yaml.SafeDumper):
    """Entries indented below their list, names side by side: as by hand, so that a diff shows what differs."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style=not isinstance(next(iter(sequence), None), dict))


def dumped(key: str, artifact: Path, suite: dict[str, list[Entry]]) -> str:
    """The suite as a file."""
    head = f"# What {artifact.as_posix()} must satisfy: gate@{key}. Proposed from what lay there; see docs/gates.md.\n"
    return head + yaml.dump(suite, Dumper=_House, sort_keys=False, allow_unicode=True, width=118)


def changes(old: str, new: str, path: Path) -> str:
    """What the proposal would change, line by line."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path.as_posix(), "proposed", lineterm="")
    return "\n".join(lines) if old else new.rstrip()


def _rows(rows: "pl.DataFrame") -> Iterator[Entry]:
    size = len(rows)
    if not size:
        return
    bounds = {"min_value": math.floor(0.7 * size), "max_value": math.ceil(1.5 * size)}
    yield {
        "expect": "expect_table_row_count_to_be_between",
        **bounds,
        "why": f"there were {size} rows; 70% … 150% of that",
    }
    for name in UNIQUE:
        if name in rows.columns and rows[name].n_unique() == size:
            yield _held("unique", name, f"no {name} was there twice")
    for name in NAMED:
        if name in rows.columns:
            yield from _names(rows[name])
    for name in SPREAD:
        if name in rows.columns:
            yield from _spread(rows[name])
    for name in rows.columns:
        if name in RARE or (rows[name].dtype.is_integer() and set(rows[name].unique()) <= {0, 1} and name != "n_bytes"):
            yield _rare(name, rows[name])


def _held(what: str, column: str, why: str, **limits: Any) -> Entry:
    return {"expect": f"expect_column_values_to_be_{what}", "column": column, **limits, "why": why}


def _names(values: "pl.Series") -> Iterator[Entry]:
    seen = sorted(str(value) for value in values.unique().to_list())
    if len(seen) <= NAMES_MAX:
        what = f"these {len(seen)} were there" if len(seen) > 1 else f"{seen[0] or 'none'} was there"
        why = f"{what}; another, or one that is gone, is a change of the source"
        entry = {"expect": "expect_column_distinct_values_to_equal_set", "column": values.name, "value_set": seen}
        yield {**entry, "why": why}


def _spread(values: "pl.Series") -> Iterator[Entry]:
    """Where nearly all rows lie, half the width again to either side; and for counts the middle."""
    low, high = (float(values.quantile(q, "nearest") or 0) for q in (0.005, 0.995))
    margin = (high - low) / 2
    count, least = values.dtype.is_integer(), min(low, 0.0)
    bounds = max(low - margin, least), high + margin
    low_bound, high_bound = (
        (math.floor(bounds[0]), math.ceil(bounds[1])) if count else (_round(bounds[0]), _round(bounds[1]))
    )
    why = f"99% of the rows had {low:.4g} … {high:.4g}; half of that width again to either side"
    yield _held("between", values.name, why, min_value=low_bound, max_value=high_bound, mostly=0.98)
    if count and (middle := float(values.median() or 0)):  # type: ignore[arg-type]
        why = f"the middle was {middle:.4g}; another by a quarter is another kind of text"
        limits = {"min_value": math.floor(middle * 0.8), "max_value": math.ceil(middle * 1.25)}
        yield {"expect": "expect_column_median_to_be_between", "column": values.name, **limits, "why": why}


def _rare(name: str, values: "pl.Series") -> Entry:
    """What no row has may not come; what some have may be twice as frequent."""
    if name not in RARE and values.min() == 1:
        return _held("in_set", name, "it was 1 in every row", value_set=[1])
    share = float((values != 0).mean() or 0)  # type: ignore[arg-type]
    if not share:
        return _held("in_set", name, "it was 0 in every row", value_set=[0])
    why = f"{share:.3%} of the rows had other than 0; up to twice that and 0.1%"
    return _held("in_set", name, why, value_set=[0], mostly=_round(max(1 - 2 * share - 0.001, 0.001)))


def _fact(name: str, value: float) -> Entry | None:
    last = name.rpartition(".")[2]
    if last in LEFT_OUT or math.isnan(value) or (name == "rows"):
        return None
    if name in {"labels", "splits", "rows_missing", "has_reference"}:
        allowed = [0, 1] if name == "has_reference" else [int(value)]
        return _held("in_set", name, f"it was {value:g}", value_set=allowed)
    _, low, high, more = next(rule for rule in FACTS if last.endswith(rule[0]))
    low, high = (high, low) if value < 0 and None not in {low, high} else (low, high)
    limits = {"min_value": None if low is None else _round(value * low, -1)}
    limits["max_value"] = None if high is None else _round(value * high + more, 1)
    given = {k: v for k, v in limits.items() if v is not None}
    return _held("between", name, f"it was {value:.4g}; the limits leave room for an ordinary change", **given)


def _round(value: float, towards: int = 0) -> float:
    """To three significant digits; away from what was seen where that must stay inside."""
    if not value or math.isinf(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    steps = value / step
    whole = math.floor(steps) if towards < 0 else math.ceil(steps) if towards > 0 else round(steps)
    return float(f"{whole * step:.6g}")
