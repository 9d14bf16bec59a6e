"""What a training set holds of what, before and after it was balanced: shares, distance from a target domain, words
that name people, and n-grams that give a label away.

Associations are log-odds ratios with an informative Dirichlet prior (Monroe, Colaresi & Quinn 2008, *Fightin' Words*),
counted in rows. Shortcuts follow Gardner et al. 2021 (*Competency Problems*, arXiv 2104.08646):
where no single feature should decide a label, an n-gram is suspect whose rows have a label more often than its
share explains, by the z-statistic of a proportion. Both are read at a level that holds for all comparisons together
(Bonferroni). They say that something goes with a label, not that it should not.

N-grams are counted twice over a sample of the rows: first all, by their hash in a fixed table (so that none of those
frequent enough is missed), then by name those that the table says may be frequent enough.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import Field, field_validator

from nightforge import config
from nightforge.drift import js_bits
from nightforge.privacy import evidence
from nightforge.records import Record
from nightforge.words import folded

Counts = npt.NDArray[np.int64]

FACETS = ("label", "source", "language", "length")
NONE, OTHER = "none", "(other)"
NAMES_MAX = 200
"""Values of a facet that are told apart, those that come first; what comes later counts as OTHER."""
WORD_BUCKETS, TABLE = 1 << 16, 1 << 22
"""Words fall into so many buckets (512 kB a label), n-grams into a table of so many (32 MB)."""
PRIOR_ROWS = 100.0
"""Weight of the prior of an association, in rows in which a group is named as often as in the whole data."""


class Representation(config.Config):
    """What is looked for, and what is too rare to be told."""

    target: str | None
    """Name of an asset with texts of the domain that the model is for; null: no comparison."""
    length_edges_words: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    """Lengths are counted in ranges that begin at 0 and at these numbers of words, rising."""
    groups: dict[str, Annotated[list[str], Field(min_length=1)]]
    """Name of a group of people → words for it (single, whole words; case does not count)."""
    ngram_words_max: int = Field(ge=1, le=4)
    """Most words of an n-gram."""
    ngram_rows: int = Field(ge=1_000, le=1_000_000)
    """About how many rows n-grams are counted in; of a larger set a sample, drawn by the hash of the id."""
    rows_min: int = Field(ge=5)
    """Fewest rows that hold an n-gram, or a word of a group: below, nothing is said about it."""
    label_share_min: float = Field(gt=0, lt=1)
    """Least share of one label among the rows that hold an n-gram, for it to count as a shortcut."""
    false_alarms: float = Field(gt=0, lt=1)
    """Chance that chance alone brings forth any shortcut, or any association whose interval leaves 0 out."""
    shown: int = Field(ge=1, le=100)
    """Most shortcuts and associations reported."""

    @field_validator("length_edges_words")
    @classmethod
    def _rise(cls, edges: list[int]) -> list[int]:
        if edges != sorted(set(edges)):
            raise ValueError("expected numbers that rise")
        return edges

    @field_validator("groups")
    @classmethod
    def _are_words(cls, groups: dict[str, list[str]]) -> dict[str, list[str]]:
        if long := [word for words in groups.values() for word in words if len(folded(word)) != 1]:
            raise ValueError(f"expected single words, got {long}")
        return groups


@dataclass
class Census:
    """What was counted in one set of rows."""

    rows: int = 0
    facets: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in FACETS})
    words: dict[str, Counts] = field(default_factory=dict)
    """Label → (WORD_BUCKETS,) occurrences of words by their hash."""
    groups: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(group, label) → rows that hold a word of the group."""
    sampled: Counter[str] = field(default_factory=Counter)
    """Label → rows in which n-grams were counted."""
    ngrams: dict[str, Counter[str]] = field(default_factory=dict)
    """N-gram → label → sampled rows that hold it; those in `rows_min` rows at least."""


def census(read: Callable[[], Iterator[Record]], rows: int, cfg: Representation) -> Census:
    """Count a set of so many rows, read twice.

    Memory: 32 MB, 512 kB a label, and the n-grams of `ngram_rows` rows that are in `rows_min` of them; no more for
    more rows.
    """
    found, table = Census(), np.zeros(TABLE, np.int64)
    sampled = _sampler(rows, cfg.ngram_rows)
    groups = {name: {folded(word)[0] for word in words} for name, words in cfg.groups.items()}
    for record in read():
        words = folded(record.text)
        label = _count_facets(found, record, words, cfg)
        found.groups.update((name, label) for name, its in groups.items() if not its.isdisjoint(words))
        if cfg.target is not None:
            counts = found.words.setdefault(label, np.zeros(WORD_BUCKETS, np.int64))
            np.add.at(counts, _hashes(words) % WORD_BUCKETS, 1)
        if sampled(record.id):
            found.sampled[label] += 1
            np.add.at(table, _hashes(ngrams(words, cfg.ngram_words_max)) % TABLE, 1)
    for record in read():
        if not sampled(record.id):
            continue
        held = ngrams(folded(record.text), cfg.ngram_words_max)
        label = _named(found.facets["label"], record.label)
        for ngram, often in zip(held, table[_hashes(held) % TABLE] >= cfg.rows_min, strict=True):
            if often:
                found.ngrams.setdefault(ngram, Counter())[label] += 1
    found.ngrams = {ngram: labels for ngram, labels in found.ngrams.items() if labels.total() >= cfg.rows_min}
    return found


def ngrams(words: Sequence[str], longest: int) -> list[str]:
    """The n-grams of a text, each once, in a fixed order."""
    spans = (zip(*(words[i:] for i in range(n)), strict=False) for n in range(1, longest + 1))
    return list(dict.fromkeys(" ".join(span) for lengths in spans for span in lengths))


def word_counts(texts: Iterable[str]) -> Counts:
    """(WORD_BUCKETS,) occurrences of the words of all texts, by their hash."""
    counts = np.zeros(WORD_BUCKETS, np.int64)
    for text in texts:
        np.add.at(counts, _hashes(folded(text)) % WORD_BUCKETS, 1)
    return counts


def _hashes(words: Sequence[str]) -> npt.NDArray[np.uint64]:
    return np.array([xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) for word in words], np.uint64)


def _sampler(rows: int, wanted: int) -> Callable[[str], bool]:
    limit = min(1.0, wanted / max(rows, 1)) * 2**64
    return lambda id: xxhash.xxh3_64_intdigest(id.encode()) < limit


def _count_facets(found: Census, record: Record, words: Sequence[str], cfg: Representation) -> str:
    """Count a row by what it is; returns its label, as it is told apart."""
    found.rows += 1
    edges = [0, *cfg.length_edges_words]
    at = sum(len(words) >= edge for edge in edges) - 1
    values = {
        "label": record.label,
        "source": record.source.rpartition("#")[0] or record.source,
        "language": record.language,
        "length": f"{edges[at]}–{edges[at + 1] - 1} words" if at + 1 < len(edges) else f"≥{edges[at]} words",
    }
    names = {facet: _named(found.facets[facet], value) for facet, value in values.items()}
    for facet, name in names.items():
        found.facets[facet][name] += 1
    return names["label"]


def _named(seen: Counter[str], value: str | None) -> str:
    name = value or NONE
    return name if name in seen or len(seen) < NAMES_MAX else OTHER


def report(before: Census, after: Census, target: Sequence[str] | None, cfg: Representation) -> dict[str, Any]:
    """Both sets side by side, as plain data; n-grams are redacted.

    Args:
        before: the train split.
        after: what is trained on.
        target: texts of the target domain, if there are any.
        cfg: as both were counted.
    """
    return {
        "rows_before": before.rows,
        "rows_after": after.rows,
        "rows_with_ngrams": after.sampled.total(),
        "facets": {facet: _shares(facet, before.facets[facet], after.facets[facet]) for facet in FACETS},
        "target": None if target is None else _distance(before, after, target),
        "associations": associations(before, after, cfg),
        "groups_too_rare": [name for name in cfg.groups if _rows_of(after, name) < cfg.rows_min],
        "shortcuts": shortcuts(before, after, cfg),
        "shortcut_baseline_accuracy": max(after.sampled.values(), default=0) / max(after.sampled.total(), 1),
    }


def _shares(facet: str, before: Counter[str], after: Counter[str]) -> list[dict[str, Any]]:
    """Rows and share of each value: lengths in their order, all else with most rows before first."""

    def order(name: str) -> tuple[int, int, int, str]:
        begins = int(re.findall(r"\d+", name)[0]) if facet == "length" else 0
        return begins, -before[name], -after[name], name

    return [
        {
            "name": name,
            "before": before[name],
            "after": after[name],
            "share_before": before[name] / max(before.total(), 1),
            "share_after": after[name] / max(after.total(), 1),
        }
        for name in sorted(before | after, key=order)
    ]


def _distance(before: Census, after: Census, target: Sequence[str]) -> dict[str, Any]:
    """Jensen–Shannon divergence of the words from the target's, in bits: 0 is the same, 1 has no word in common.

    A finite sample lies some way off its own kind; how far the two halves of the target lie apart shows about how much.
    """
    wanted = word_counts(target)
    zero = np.zeros(WORD_BUCKETS, np.int64)

    def bits(side: Census, label: str | None = None) -> float | None:
        counts = sum(side.words.values(), zero) if label is None else side.words.get(label, zero)
        return js_bits(counts, wanted) if counts.any() and wanted.any() else None

    halves = [word_counts(target[at::2]) for at in (0, 1)]
    return {
        "texts": len(target),
        "halves_js_bits": js_bits(*halves) if halves[0].any() and halves[1].any() else None,
        "before_js_bits": bits(before),
        "after_js_bits": bits(after),
        "by_label": {
            label: {"before_js_bits": bits(before, label), "after_js_bits": bits(after, label)}
            for label in sorted(before.words.keys() | after.words.keys())
        },
    }


def _rows_of(side: Census, group: str) -> int:
    return sum(n for (name, _), n in side.groups.items() if name == group)


def associations(before: Census, after: Census, cfg: Representation) -> list[dict[str, Any]]:
    """Groups that are named more, or less, often in rows of a label than in the others, beyond chance; clearest first.

    Copies count as rows of their own, so that intervals after balancing are on the narrow side.
    """
    labels = sorted(after.facets["label"])
    groups = [name for name in cfg.groups if _rows_of(after, name) >= cfg.rows_min]
    if len(labels) < 2 or not groups:
        return []
    z = NormalDist().inv_cdf(1 - cfg.false_alarms / (2 * len(labels) * len(groups)))
    found: list[dict[str, Any]] = []
    for group in groups:
        for label in labels:
            odds, error = log_odds(after, group, label)
            then, _ = log_odds(before, group, label)
            found.append(
                {
                    "group": group,
                    "label": label,
                    "rows": after.groups[group, label],
                    "log_odds": odds,
                    "low": odds - z * error,
                    "high": odds + z * error,
                    "log_odds_before": then,
                }
            )
    clear = [a for a in found if max(a["low"], -a["high"]) > 0]
    return sorted(clear, key=lambda a: (-max(a["low"], -a["high"]), a["group"], a["label"]))[: cfg.shown]


def log_odds(side: Census, group: str, label: str) -> tuple[float, float]:
    """Log-odds ratio of rows that name a group, in rows of a label against all others, and its standard error."""
    named, rows = side.groups[group, label], side.facets["label"][label]
    others_named, others = _rows_of(side, group) - named, side.rows - rows
    prior = PRIOR_ROWS * (named + others_named) / max(side.rows, 1) or 1.0
    odds = [(n + prior) / (total - n + PRIOR_ROWS - prior) for n, total in ((named, rows), (others_named, others))]
    return math.log(odds[0] / odds[1]), math.sqrt(1 / (named + prior) + 1 / (others_named + prior))


def shortcuts(before: Census, after: Census, cfg: Representation) -> list[dict[str, Any]]:
    """N-grams that give a label away, by what they tell about the label (mutual information) first.

    An n-gram that holds one above it in the list, or is held by it, is left out where it gives away the same label.
    """
    tests = max(1, len(after.ngrams) * len(after.sampled))
    z_min = NormalDist().inv_cdf(1 - min(0.5, cfg.false_alarms / tests))
    found: list[dict[str, Any]] = []
    for ngram, labels in after.ngrams.items():
        label, held = max(labels.items(), key=lambda item: (item[1], item[0]))
        rows, share = labels.total(), after.sampled[label] / after.sampled.total()
        if share == 1 or held < cfg.label_share_min * rows:
            continue
        if (z := (held / rows - share) / math.sqrt(share * (1 - share) / rows)) < z_min:
            continue
        found.append({"ngram": ngram, "label": label, "rows": rows, "label_share": held / rows, "z": z})
        found[-1] |= {"bits": information_bits(labels, after.sampled), "accuracy": _accuracy(labels, after.sampled)}
    found.sort(key=lambda s: (-s["bits"], s["ngram"]))
    chosen: list[dict[str, Any]] = []
    for one in found:
        if len(chosen) == cfg.shown:
            break
        if not any(one["label"] == c["label"] and _within(one["ngram"], c["ngram"]) for c in chosen):
            chosen.append(one)
    return [
        {**one, "ngram": evidence(one["ngram"]), **_then(before.ngrams.get(one["ngram"]), one["label"])}
        for one in chosen
    ]


def _within(one: str, other: str) -> bool:
    return f" {one} " in f" {other} " or f" {other} " in f" {one} "


def _then(labels: Counter[str] | None, label: str) -> dict[str, Any]:
    """The same n-gram before; null where it was too rare to be counted."""
    if labels is None:
        return {"rows_before": None, "label_share_before": None}
    return {"rows_before": labels.total(), "label_share_before": labels[label] / labels.total()}


def information_bits(labels: Counter[str], every: Counter[str]) -> float:
    """Mutual information between the label and whether an n-gram is there, in bits."""
    total, held = every.total(), labels.total()
    bits = 0.0
    for label, rows in every.items():
        for part, whole in ((labels[label], held), (rows - labels[label], total - held)):
            if part:
                bits += part / total * math.log2(part * total / (whole * rows))
    return bits


def _accuracy(labels: Counter[str], every: Counter[str]) -> float:
    """Of a classifier that sees nothing but whether the n-gram is there."""
    return (max(labels.values()) + max(every[x] - labels[x] for x in every)) / every.total()
