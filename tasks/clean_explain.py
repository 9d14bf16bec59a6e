"""`nightforge clean --explain`: what each rule of a preset would drop, alone and together; no artifact is touched."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from nightforge.errors import ConfigError, DataError
from nightforge.records import Reject
from tasks import shards, stage, wiring
from tasks.clean import CleanConfig, dropped, spread
from tasks.clean_rules import Rule, bind, kind
from tasks.clean_shard import plan, shown
from tasks.clean_signatures import Spilled, rows_before
from tasks.clean_tally import Tally, counted, name, warnings
from tasks.executor import Executor

LEGEND = """\
fired    rows that the rule would drop by itself, after the editors
alone    of these, rows that no other rule would drop: they come back without it
so far   rows that it and all rules above it drop together, as the stage would"""


@dataclass
class Explained:
    """What the rules would do to the rows."""

    preset: str
    rules: list[str]
    editors: list[str]
    of: int
    """Rows that there are; `tally.rows["read"]` were looked at."""
    tally: Tally = field(default_factory=Tally)
    gone: Counter[str] = field(default_factory=Counter)
    """Rule → rows dropped by it and all rules above it."""
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """`rule:reason` → (id, redacted excerpt) of some rows."""
    warnings: list[str] = field(default_factory=list)


def main(preset: str | None, rows: int | None, examples: int) -> int:
    """Explain a preset over the raw rows of the project in the working directory; returns the exit code."""
    wired, values = wiring.stage("clean"), wiring.read_yaml(Path("params.yaml"))
    section = dict(values.get("clean") or {})
    if preset is not None:
        section["preset"] = preset
    cfg = stage.checked({"clean": section}, "clean", CleanConfig)
    executor = stage.checked(values, "executor", Executor)
    raw, assets = wired.paths["raw"], wired.paths["assets"]
    if not raw.is_dir():
        raise DataError(f"{raw} is not here yet. To make it: dvc repro ingest")
    if rows is not None and rows < 1:
        raise ConfigError(f"--rows: expected a number above 0, got {rows}")
    room = stage.cache_dir().parent / "work"
    room.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="explain-", dir=room) as work:
        print(table(explain(cfg, raw, assets, Path(work), executor, rows, examples), examples))
    return 0


def explain(
    cfg: CleanConfig, raw: Path, assets: Path, work: Path, executor: Executor, rows: int | None, examples: int
) -> Explained:
    """Run every rule on every row, or on an even sample of them, and count what fires.

    Memory: some hundred bytes for each row that a rule fires on.
    """
    of = shards.count(raw)
    folders = spread(cfg, plan(raw), assets, work, executor, (min(rows or of, of), of))
    rules = cfg.presets[cfg.preset]
    names = list(dict.fromkeys(rule.name for rule in rules))
    editors = list(dict.fromkeys(rule.name for rule in rules if kind(rule.module) == "editor"))
    found = Explained(cfg.preset, names, editors, of)
    fires, empty = _fired(folders, editors, found, examples)
    corpus = [bind(rule, assets) for rule in rules if kind(rule.module) == "corpus rule"]
    alive = np.ones(rows_before(folders)[-1], bool)
    alive[list(fires)] = False
    together = _fired_on_corpus(folders, corpus, (alive, ~empty), fires, found, examples)
    for whys in fires.values():
        found.tally.drop(whys)
    read, so_far = len(alive), 0
    for rule in names:
        so_far += together.get(rule, sum(found.tally.first[name(rule, why)] for why in found.tally.reasons(rule)))
        found.gone[rule] = so_far
    found.tally.rows.update(read=read, kept=read - so_far)
    found.warnings = warnings(found.tally, names, cfg.rule_share_max)
    return found


Fires = dict[int, tuple[tuple[str, Reject], ...]]
Mask = npt.NDArray[np.bool_]


def _fired(folders: Sequence[Path], editors: Sequence[str], found: Explained, examples: int) -> tuple[Fires, Mask]:
    """Row → what fired on it of editors and filters, and which rows an editor emptied."""
    fires: Fires = {}
    same: dict[tuple[tuple[str, Reject], ...], tuple[tuple[str, Reject], ...]] = {}
    starts = rows_before(folders)
    empty = np.zeros(starts[-1], bool)
    for start, folder in zip(starts.tolist(), folders, strict=False):
        found.tally.edited.update(Tally.load(folder / "tally.json").edited)
        found.tally.edits.update(Tally.load(folder / "tally.json").edits)
        for reject in pq.read_table(folder / "rejects.parquet").to_pylist():
            row, key = start + reject["at"], name(reject["rule"], reject["reason"])
            whys = (*fires.get(row, ()), (reject["rule"], Reject(reject["reason"], "")))
            fires[row] = same.setdefault(whys, whys)
            empty[row] |= reject["rule"] in editors
            _show(found, key, reject["id"], reject["evidence"], examples)
    return fires, empty


def _fired_on_corpus(
    folders: Sequence[Path],
    rules: Sequence[Rule],
    masks: tuple[Mask, Mask],
    fires: Fires,
    found: Explained,
    examples: int,
) -> dict[str, int]:
    """Add what corpus rules choose among all rows; returns how many each drops where the others dropped theirs."""
    alive, present = masks
    together: Counter[str] = Counter()
    for at, rule in enumerate(rules):
        every = Spilled(folders, str(at), present)
        for row, why in dropped(rule, every):
            fires[row] = (*fires.get(row, ()), (rule.name, Reject(why.reason, "")))
            key = name(rule.name, why.reason)
            if len(found.examples.get(key, [])) < examples:
                i, text = _row(folders, every, row)
                _show(found, key, i, shown(why.evidence, text), examples)
        for row, _ in dropped(rule, Spilled(folders, str(at), alive)):
            alive[row] = False
            together[rule.name] += 1
        together[rule.name] += 0
    return together


def _row(folders: Sequence[Path], seen: Spilled, row: int) -> tuple[str, str]:
    chunk = int(np.searchsorted(seen.starts, row, side="right")) - 1
    kept = pq.read_table(folders[chunk] / "kept.parquet", columns=["id", "text"])
    at = row - int(seen.starts[chunk])
    return kept["id"][at].as_py(), kept["text"][at].as_py()


def _show(found: Explained, key: str, row: str, excerpt: str, examples: int) -> None:
    held = found.examples.setdefault(key, [])
    if len(held) < examples:
        held.append((row, excerpt))


def table(found: Explained, examples: int) -> str:
    """What was found, for a terminal."""
    return "\n".join(_lines(found, examples))


def _lines(found: Explained, examples: int) -> Iterator[str]:
    tally, read = found.tally, found.tally.rows["read"]
    sample = "all rows" if read == found.of else f"an even sample of {found.of:,} rows"
    yield f"\npreset {found.preset}: {read:,} rows ({sample}); nothing is written\n"
    for editor in found.editors:
        did = ", ".join(f"{what} {count:,}" for what, count in counted(tally.edits, editor).items())
        yield f"{editor} edits {tally.edited[editor]:,} rows{f' ({did})' if did else ''}"
    wide = max([len(rule) for rule in found.rules] + [len(k.partition(":")[2]) + 2 for k in tally.fired] + [4])
    yield f"\n{'rule':{wide}}  {'fired':>18}  {'alone':>18}  {'so far':>18}"

    def cell(rows: int) -> str:
        return f"{rows:>10,} {rows / max(1, read):>7.2%}"

    for rule in found.rules:
        if rule in found.editors and not tally.fired[rule]:
            continue
        yield f"{rule:{wide}}  {cell(tally.fired[rule])}  {cell(tally.alone[rule])}  {cell(found.gone[rule])}"
        for why in tally.reasons(rule):
            key = name(rule, why)
            yield f"{'  ' + why:{wide}}  {cell(tally.fired[key])}  {cell(tally.alone[key])}"
            for row, excerpt in found.examples.get(key, [])[:examples]:
                yield f"    {row}  {excerpt}"
    yield f"\nkept: {tally.rows['kept']:,} of {read:,} ({tally.rows['kept'] / max(1, read):.1%})\n\n{LEGEND}"
    for line in found.warnings:
        yield f"\nWARNING: {line}"
