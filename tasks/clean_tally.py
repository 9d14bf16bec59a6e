"""What cleaning did, in numbers: per rule and reason, and per editor. Tallies of chunks add up to that of the whole."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from nightforge.records import Reject

Found = Sequence[tuple[str, Reject]]
"""(rule, why) of each that fired on one row, in the order of the preset."""


@dataclass
class Tally:
    """Counts; a key is `rule`, `rule:reason` or `editor:kind of edit`."""

    rows: Counter[str] = field(default_factory=Counter)
    """`read` and `kept`."""
    before: Counter[str] = field(default_factory=Counter)
    """Rows read, by label."""
    after: Counter[str] = field(default_factory=Counter)
    """Rows kept, by label."""
    fired: Counter[str] = field(default_factory=Counter)
    """Rows on which it fired."""
    alone: Counter[str] = field(default_factory=Counter)
    """Rows on which nothing else fired: without it they would be kept."""
    first: Counter[str] = field(default_factory=Counter)
    """Rows that are put down to it: of all that fired it stands first in the preset."""
    edited: Counter[str] = field(default_factory=Counter)
    """Rows that an editor changed."""
    edits: Counter[str] = field(default_factory=Counter)
    """What an editor did, by kind."""

    def drop(self, found: Found) -> None:
        """Count one rejected row."""
        for names in ({name(rule, why.reason) for rule, why in found}, {rule for rule, _ in found}):
            for one in names:  # many times faster than Counter.update
                self.fired[one] += 1
                self.alone[one] += len(names) == 1
        rule, why = found[0]
        self.first[rule] += 1
        self.first[name(rule, why.reason)] += 1

    def add(self, other: "Tally") -> None:
        """Add the counts of another."""
        for counts in fields(self):
            getattr(self, counts.name).update(getattr(other, counts.name))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps({f.name: getattr(self, f.name) for f in fields(self)}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**{kind: Counter(counts) for kind, counts in json.loads(path.read_text(encoding="utf-8")).items()})

    def of(self, key: str) -> dict[str, int]:
        """What a rule or a reason did."""
        return {"fired": self.fired[key], "alone": self.alone[key], "first": self.first[key]}

    def reasons(self, rule: str) -> list[str]:
        """The reasons that a rule gave, the most frequent first."""
        found = [key for key in self.fired if key.startswith(f"{rule}:")]
        return [key.partition(":")[2] for key in sorted(found, key=lambda key: (-self.fired[key], key))]

    def rejected(self) -> dict[str, int]:
        """Rejected rows, each once, by the first rule and reason."""
        return {key: count for key, count in sorted(self.first.items()) if ":" in key}

    def metrics(self, editors: Sequence[str], rules: Sequence[str]) -> dict[str, Any]:
        """All of it, by the rules of the preset; `rejected` is each rejected row once, by its first reason."""
        read, kept = self.rows["read"], self.rows["kept"]
        by_rule = {r: {why: self.of(name(r, why)) for why in self.reasons(r)} for r in dict.fromkeys(rules)}
        return {
            "rows_read": read,
            "rows_kept": kept,
            "rows_rejected": read - kept,
            "kept_share": kept / read if read else 0.0,
            "rejected": {
                rule: found
                for rule, reasons in by_rule.items()
                if (found := {why: n["first"] for why, n in sorted(reasons.items()) if n["first"]})
            },
            "rules": {
                rule: {**self.of(rule), "share": self.fired[rule] / read if read else 0.0, "reasons": reasons}
                for rule, reasons in by_rule.items()
            },
            "edits": {
                editor: {"rows": self.edited[editor], "counts": counted(self.edits, editor)}
                for editor in dict.fromkeys(editors)
            },
            "redactions": counted(self.edits, "redact"),
            "labels_before": dict(sorted(self.before.items())),
            "labels_after": dict(sorted(self.after.items())),
        }


def name(rule: str, reason: str) -> str:
    """The key of a reason: `rule:reason`."""
    return f"{rule}:{reason}"


def counted(edits: Counter[str], editor: str) -> dict[str, int]:
    """What one editor did, by kind."""
    return {key.partition(":")[2]: n for key, n in sorted(edits.items()) if key.startswith(f"{editor}:")}


def warnings(tally: Tally, rules: Sequence[str], share_max: float) -> list[str]:
    """A line for each rule that fires on more than its share of the rows: then the preset may not fit the data."""
    read = tally.rows["read"] or 1
    return [
        f"{rule} fires on {tally.fired[rule] / read:.1%} of the rows, over rule_share_max {share_max:.0%} "
        f"({', '.join(f'{why} {tally.fired[name(rule, why)]:,}' for why in tally.reasons(rule)[:4])}); without it "
        f"{tally.alone[rule]:,} more rows would be kept. Does the preset fit? See: nightforge clean --explain"
        for rule in dict.fromkeys(rules)
        if tally.fired[rule] / read > share_max
    ]
