"""Runs the rules of the chosen preset: rows stream through editors and filters, corpus rules choose by signatures.

First each chunk of the rows is cleaned (tasks/clean_shard.py), by whatever executor, into the work folder; there a run
after one that was killed finds the chunks that are whole. Then the corpus rules choose in turn among the rows still
alive, and each chunk is written to its final shards. What comes out is the same whatever the executor.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.errors import DataError, NightforgeError, RowsLost
from nightforge.methods import Chosen, Method
from nightforge.records import Reject
from tasks import shards
from tasks.clean_rules import Rule, bind, check_order, kind
from tasks.clean_shard import Chunk, Job, Last, first, last, plan
from tasks.clean_signatures import Spilled, rows_before
from tasks.clean_tally import Tally, warnings
from tasks.executor import Executor, each

DROPS_HELD = 20_000
CHUNKS, DROPS = "chunks", "drops"


class CleanConfig(Config):
    """Which rules clean, and in which order."""

    preset: str
    """One of `presets`."""
    presets: dict[str, Annotated[list[Annotated[Method, Chosen("clean")]], Field(min_length=1)]]
    """Name → rules, applied in this order; those that look at all rows at once stand last."""
    rule_share_max: float = Field(gt=0, le=1)
    """Largest share of the rows read on which one rule may fire before it is warned of: the preset may not fit."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.preset not in self.presets:
            near = get_close_matches(self.preset, self.presets, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no preset {self.preset!r}.{hint} There are: {', '.join(self.presets)}")
        for preset, rules in self.presets.items():
            check_order(preset, rules)
        return self

    def as_json(self) -> str:
        """The rules of the chosen preset, as a worker takes them."""
        return json.dumps(self.model_dump(mode="json")["presets"][self.preset])


def run(
    cfg: CleanConfig, raw: Path, assets: Path, clean: Path, clean_rejects: Path, work: Path, executor: Executor
) -> dict[str, Any]:
    """Clean rows to `clean`, the others to `clean_rejects`.

    Memory: a batch for each worker, 6 bytes a row, and what the corpus rules hold.

    Raises:
        RowsLost: rows kept + rejected are not the rows read.
        DataError: nothing is left.
    """
    rules = cfg.presets[cfg.preset]
    folders = spread(cfg, plan(raw), assets, work / CHUNKS, executor)
    tally = Tally()
    for folder in folders:
        tally.add(Tally.load(folder / "tally.json"))
    shutil.rmtree(work / DROPS, ignore_errors=True)
    corpus = [bind(rule, assets) for rule in rules if kind(rule.module) == "corpus rule"]
    alive = choose(folders, corpus, work / DROPS, tally)
    outs = clean, clean_rejects
    for out in outs:
        out.mkdir(parents=True, exist_ok=True)
    jobs = [
        Last(folder, drop_file(work / DROPS, at).resolve(), *(shards.part(out.resolve(), at) for out in outs))
        for at, folder in enumerate(folders)
    ]
    for labels in each(executor, last, jobs, "chunks written"):
        tally.after.update(labels)
    tally.rows["kept"] = int(alive.sum())
    _nothing_lost(tally, raw, clean, clean_rejects)
    said = warnings(tally, [rule.name for rule in rules], cfg.rule_share_max)
    for line in said:
        print(f"WARNING: clean: {line}", flush=True)
    for made in (CHUNKS, DROPS):
        shutil.rmtree(work / made, ignore_errors=True)  # raw text: kept only for a run that was killed
    editors = [rule.name for rule in rules if kind(rule.module) == "editor"]
    return tally.metrics(editors, [rule.name for rule in rules]) | {"warnings": said}


def spread(
    cfg: CleanConfig,
    chunks: Sequence[Chunk],
    assets: Path,
    folder: Path,
    executor: Executor,
    sample: tuple[int, int] | None = None,
) -> list[Path]:
    """Clean the chunks that are not there yet; returns the folder of each chunk, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for broken in folder.glob(".*"):
        shutil.rmtree(broken)
    jobs = [Job(chunk, cfg.as_json(), assets.resolve(), folder.resolve(), sample) for chunk in chunks]
    missing = [job for job in jobs if not job.folder.exists()]
    if len(missing) < len(jobs):
        print(f"clean: {len(jobs) - len(missing)} of {len(jobs)} chunks are there already", flush=True)
    for _ in each(executor, first, missing, "chunks cleaned"):
        pass
    return [job.folder for job in jobs]


def choose(folders: Sequence[Path], rules: Sequence[Rule], drops: Path, tally: Tally) -> npt.NDArray[np.bool_]:
    """Let each corpus rule choose among the rows that are alive after the ones before it; returns which stay so.

    Why a row goes is written to `drops`, a file a chunk: rejects held in memory would be some hundred bytes each.
    """
    alive = np.ones(rows_before(folders)[-1], bool)
    drops.mkdir()
    for at, rule in enumerate(rules):
        seen = Spilled(folders, str(at), alive)
        held: dict[int, list[str]] = defaultdict(list)
        for count, (row, why) in enumerate(dropped(rule, seen)):
            alive[row] = False
            tally.drop([(rule.name, why)])
            chunk = int(np.searchsorted(seen.starts, row, side="right")) - 1
            held[chunk].append(json.dumps([row - int(seen.starts[chunk]), rule.name, why.reason, why.evidence]))
            if count % DROPS_HELD == DROPS_HELD - 1:
                _append(drops, held)
        _append(drops, held)
        print(f"[clean] {rule.name}: {len(seen) - int(alive.sum()):,} of {len(seen):,} rows go", flush=True)
    return alive


def dropped(rule: Rule, seen: Spilled) -> Iterator[tuple[int, Reject]]:
    """(place among all rows, why) of each row that a corpus rule drops, each row once.

    Raises:
        NightforgeError: the rule names a position that there is not.
    """
    known = np.zeros(len(seen), bool)
    for position, why in rule.select(seen) if rule.select else ():
        if not 0 <= position < len(seen):
            raise NightforgeError(f"{rule.name}: select() gave position {position} of {len(seen)} rows")
        if not known[position]:
            known[position] = True
            yield int(seen.rows[position]), why


def _append(drops: Path, held: dict[int, list[str]]) -> None:
    for chunk, lines in held.items():
        with drop_file(drops, chunk).open("a", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in lines)
    held.clear()


def drop_file(drops: Path, chunk: int) -> Path:
    """Where it stands which rows of a chunk the corpus rules drop."""
    return drops / f"{chunk:05d}.jsonl"


def _nothing_lost(tally: Tally, raw: Path, clean: Path, clean_rejects: Path) -> None:
    read, kept, rejected = shards.count(raw), tally.rows["kept"], sum(tally.rejected().values())
    if not kept:
        raise DataError(f"clean: nothing is left of {read} rows: {tally.rejected()}.")
    written = shards.count(clean), shards.count(clean_rejects)
    if not (tally.rows["read"] == read == kept + rejected and written == (kept, rejected)):
        raise RowsLost(
            f"clean: read {tally.rows['read']} of {read}, kept {kept}, rejected {rejected}, wrote {written}."
        )
