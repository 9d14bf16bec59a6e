"""How far a table of signals has moved from an earlier one, of which only a small profile without text is kept.

Two divergences of the shares p (then) and q (now) over B bins: the population stability index, Σ (q − p)·ln(q / p),
for numbers cut at the deciles they had then (below 0.1 is commonly called stable, above 0.25 another population), and
the Jensen–Shannon divergence in bits, 0 … 1, for names, since it stays finite where a name is new.

Two samples of one population differ too. The index of n and m rows then follows (1/n + 1/m)·χ² with B − 1 degrees of
freedom (Yurdakul 2018, "Statistical properties of population stability index", thm. 4.1); to second order the
divergence is an eighth of the index (Lin 1991), in bits /ln 2. What is `beyond_noise` is what exceeds the value that
chance alone stays under in `CALM` of all cases, so a limit means the same for a hundred rows and for a million.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nightforge import media_signals

if TYPE_CHECKING:
    import polars as pl

NUMBERS = ["n_chars", "n_words", "alpha_share", "digit_share"]
FLAGS = ["has_pii", "has_secret", "is_synthetic"]
NAMES = ["label", "source", "language", "media_type", *FLAGS]
NAMES_KEPT = 50
OTHER = "(other)"
"""Stands for the names beyond the NAMES_KEPT most frequent ones, and for those that are new."""
CALM, CALM_Z = 0.999, 3.0902
"""Share of nights on which chance alone stays below the noise, and the normal quantile of it."""
SHARE_ROWS_MIN = 100
"""A source of fewer rows is not missed by itself."""

Counts = npt.NDArray[np.float64]
Profile = dict[str, Any]


def profile(rows: "pl.DataFrame") -> Profile:
    """What is remembered of a table of signals: row count, decile edges and counts of numbers, counts of names."""
    numbers = {}
    for name in [*NUMBERS, *(name for name in media_signals.NUMBERS if name in rows.columns)]:
        values = _values(rows, name)
        edges = _edges(values)
        numbers[name] = {"edges": edges.tolist(), "counts": _binned(values, edges).astype(int).tolist()}
    return {"rows": len(rows), "numbers": numbers, "names": {name: _named(rows, name) for name in NAMES}}


def compare(then: Profile, rows: "pl.DataFrame") -> dict[str, Any]:
    """The distance of a table from a profile, by signal: the raw divergence, and what of it is beyond noise.

    `rows_ratio` is now over then; `source.rows_ratio_min` the least such ratio of a source that had SHARE_ROWS_MIN
    rows; `share_change` of a name the largest change of a share. A table or a profile without rows gives NaN.
    """
    found: dict[str, Any] = {"rows_ratio": len(rows) / then["rows"] if then["rows"] else math.nan}
    for name, was in then["numbers"].items():
        edges = np.asarray(was["edges"])
        found[name] = _psi(np.asarray(was["counts"], float), _binned(_values(rows, name), edges))
    for name, was in then["names"].items():
        now = _named(rows, name, set(was))
        every = sorted(was | now)
        pair = [np.array([counts.get(value, 0) for value in every], float) for counts in (was, now)]
        found[name] = _js(*pair) | {"share_change": share_change(was, now)}
    was, now = then["names"]["source"], _named(rows, "source", set(then["names"]["source"]))
    ratios = [now.get(name, 0) / count for name, count in was.items() if count >= SHARE_ROWS_MIN]
    found["source"]["rows_ratio_min"] = min(ratios, default=found["rows_ratio"])
    return found


def _values(rows: "pl.DataFrame", name: str) -> npt.NDArray[Any]:
    """A number of the rows that have it: a text has no brightness."""
    return rows[name].drop_nulls().to_numpy() if name in rows.columns else np.empty(0)


def share_change(then: Mapping[str, int], now: Mapping[str, int]) -> float:
    """The largest difference of a name's share of all rows; NaN where one side has no rows."""
    n, m = sum(then.values()), sum(now.values())
    if not n or not m:
        return math.nan
    return max(abs(then.get(name, 0) / n - now.get(name, 0) / m) for name in {*then, *now})


def noise(then: float, now: float, bins: int) -> float:
    """The population stability index that two samples of one population stay below in `CALM` of all cases.

    The quantile of χ² is Wilson and Hilferty's (1931), here at most 4% above the exact one.
    """
    free = bins - 1
    if free < 1:
        return 0.0
    spread = 2 / (9 * free)
    return (1 / then + 1 / now) * free * (1 - spread + CALM_Z * math.sqrt(spread)) ** 3


def _psi(then: Counts, now: Counts) -> dict[str, float]:
    n, m = then.sum(), now.sum()
    if not n or not m:
        return {"psi": math.nan, "psi_beyond_noise": math.nan}
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (then, now))  # no share is 0
    psi = float(((q - p) * np.log(q / p)).sum())
    return {"psi": psi, "psi_beyond_noise": max(psi - noise(n, m, len(then)), 0.0)}


def _js(then: Counts, now: Counts) -> dict[str, float]:
    n, m = then.sum(), now.sum()
    if not n or not m:
        return {"js": math.nan, "js_beyond_noise": math.nan}
    js = js_bits(then, now)
    return {"js": js, "js_beyond_noise": max(js - noise(n, m, len(then)) / (8 * math.log(2)), 0.0)}


def js_bits(then: npt.NDArray[Any], now: npt.NDArray[Any]) -> float:
    """The Jensen–Shannon divergence of two rows of counts, neither of them all 0, in bits: 0 … 1."""
    p, q = then / then.sum(), now / now.sum()
    middle = (p + q) / 2
    return (_bits(p, middle) + _bits(q, middle)) / 2


def _bits(p: Counts, q: Counts) -> float:
    """Relative entropy of p over q; 0·log 0 is 0."""
    held = p > 0
    return float((p[held] * np.log2(p[held] / q[held])).sum())


def _edges(values: npt.NDArray[Any]) -> Counts:
    """Upper ends of all bins but the last: the deciles. What has one value gets a bin on either side of it."""
    if not len(values):
        return np.array([0.0])
    edges = np.unique(np.quantile(values, np.linspace(0.1, 0.9, 9), method="inverted_cdf").astype(float))
    return np.array([np.nextafter(edges[0], -np.inf), edges[0]]) if len(edges) == 1 else edges


def _binned(values: npt.NDArray[Any], edges: Counts) -> Counts:
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).astype(float)


def _named(rows: "pl.DataFrame", name: str, kept: set[str] | None = None) -> dict[str, int]:
    """Rows of each name, most frequent first; a source is called by its name alone, since its files come and go."""
    values = rows[name].value_counts()
    counts: dict[str, int] = {}
    for value, count in zip(values[name].to_list(), values["count"].to_list(), strict=True):
        short = str(value).partition(":")[0] if name == "source" else str(value)
        counts[short] = counts.get(short, 0) + count
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    kept = set(list(ordered)[:NAMES_KEPT]) if kept is None else kept
    found = {value: count for value, count in ordered.items() if value in kept}
    rest = sum(ordered.values()) - sum(found.values())
    return found | ({OTHER: found.get(OTHER, 0) + rest} if rest else {})
