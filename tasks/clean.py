"""Runs the rules of the chosen preset in their order: rows stream through record rules, corpus rules see signatures."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.errors import DataError, RowsLost
from nightforge.methods import Chosen, Method
from nightforge.privacy import evidence
from nightforge.records import Record, Reject
from tasks import shards
from tasks.shards import RecordShards, RejectShards

HELD = ".clean-held.partial"
"""Beside the output: rows between a corpus rule's two passes. Raw text, so what a killed run left goes at the next."""


class CleanConfig(Config):
    """Which rules clean, and in which order."""

    preset: str
    """One of `presets`."""
    presets: dict[str, Annotated[list[Annotated[Method, Chosen("clean")]], Field(min_length=1)]]
    """Name → rules, applied in this order."""
    rule_share_max: float = Field(gt=0, le=1)
    """Largest share of the rows read that one rule may drop; more means that the preset does not fit the data."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.preset not in self.presets:
            near = get_close_matches(self.preset, self.presets, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no preset {self.preset!r}.{hint} There are: {', '.join(self.presets)}")
        return self


@dataclass
class Tally:
    """What happened to the rows."""

    rejects: RejectShards
    read: int = 0
    kept: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)

    def drop(self, record: Record, rule: str, reject: Reject, shown: str) -> None:
        """Write a rejected row; what is shown of it is redacted and cut first."""
        self.rejects.put(record, rule, Reject(reject.reason, evidence(shown)))
        self.dropped[rule][reject.reason] += 1


def run(cfg: CleanConfig, raw: Path, clean: Path, clean_rejects: Path) -> dict[str, Any]:
    """Clean rows to `clean`, the others to `clean_rejects`; memory holds one batch, and signatures as the rules say.

    Raises:
        RowsLost: rows kept + rejected are not the rows read.
        DataError: a rule dropped more than `rule_share_max`, or nothing is left.
    """
    held = clean.with_name(HELD)
    shutil.rmtree(held, ignore_errors=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, held, ignore_errors=True)
        rejects = stack.enter_context(RejectShards(clean_rejects))
        tally = Tally(rejects)
        records = _counted(shards.read(raw), tally)
        for at, rule in enumerate(cfg.presets[cfg.preset]):
            if hasattr(rule.module, "apply"):
                records = _record_rule(records, rule, tally)
            else:
                records = _corpus_rule(records, rule, tally, held / str(at))
        shards.write(clean, _kept(records, tally))
    rejected = sum(sum(reasons.values()) for reasons in tally.dropped.values())
    if not tally.kept + rejected == tally.read == shards.count(raw):
        raise RowsLost(f"clean: read {tally.read} of {shards.count(raw)}, kept {tally.kept}, rejected {rejected}.")
    _guard(cfg, tally)
    return {
        "rows_read": tally.read,
        "rows_kept": tally.kept,
        "rows_rejected": rejected,
        "kept_share": tally.kept / tally.read,
        "rejected": {rule: dict(sorted(reasons.items())) for rule, reasons in tally.dropped.items()},
        "redactions": dict(sorted(tally.redactions.items())),
        "labels_before": dict(sorted(tally.before.items())),
        "labels_after": dict(sorted(tally.after.items())),
    }


def _counted(records: Iterator[Record], tally: Tally) -> Iterator[Record]:
    for record in records:
        tally.read += 1
        tally.before[record.label or "none"] += 1
        yield record


def _kept(records: Iterator[Record], tally: Tally) -> Iterator[Record]:
    for record in records:
        tally.kept += 1
        tally.after[record.label or "none"] += 1
        tally.redactions.update(record.meta.get("redactions", {}))
        yield record


def _record_rule(records: Iterator[Record], rule: Method, tally: Tally) -> Iterator[Record]:
    for record in records:
        result = rule.module.apply(record, rule.cfg)
        if isinstance(result, Reject):
            tally.drop(record, rule.name, result, result.evidence)
        else:
            yield result


def _corpus_rule(records: Iterator[Record], rule: Method, tally: Tally, folder: Path) -> Iterator[Record]:
    """Two passes: the rows go to a folder while their signatures are taken, and come back without those dropped."""
    with RecordShards(folder) as held:
        dropped = rule.module.select(_signed(records, rule, held), rule.cfg)
    for at, record in enumerate(shards.read(folder)):
        if at in dropped:
            tally.drop(record, rule.name, dropped[at], f"{dropped[at].evidence}: {record.text}")
        else:
            yield record


def _signed(records: Iterator[Record], rule: Method, held: RecordShards) -> Iterator[tuple[str, Any]]:
    for record in records:
        held.put(record)
        yield record.id, rule.module.signature(record, rule.cfg)


def _guard(cfg: CleanConfig, tally: Tally) -> None:
    if not tally.kept:
        raise DataError(
            f"clean: nothing is left of {tally.read} rows: { {r: dict(c) for r, c in tally.dropped.items()} }."
        )
    for rule, reasons in tally.dropped.items():
        share = sum(reasons.values()) / tally.read
        if share > cfg.rule_share_max:
            raise DataError(
                f"clean: {rule} dropped {share:.0%} of the rows, over rule_share_max {cfg.rule_share_max:.0%}: "
                f"{dict(reasons)}. Choose a preset that fits these data, or set its values in params.yaml."
            )
