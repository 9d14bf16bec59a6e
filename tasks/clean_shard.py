"""One chunk of the rows through the editors and filters, and at the end to its final shards: the work of a worker.

What a chunk leaves in the work folder, in a folder of its own that gets its name when it is whole:
`kept.parquet` (rows for the corpus rules to choose among), `rejects.parquet`, `tally.json`, and of the kept rows `ids`
and for each corpus rule (`0`, `1`, …) the signatures, as tasks/clean_signatures.py lays them out.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightforge.methods import choose
from nightforge.privacy import evidence
from nightforge.records import Edit, Mark, Record, Reject, edited
from nightforge.view import View
from tasks import shards
from tasks.clean_rules import Rule, bind
from tasks.clean_signatures import Spill
from tasks.clean_tally import Tally, name

ROWS_PER_CHUNK, BYTES_PER_CHUNK = 20_000, 32_000_000
AT = pa.field("at", pa.int32())
"""Place of a row in its chunk."""
KEPT, REJECTS = shards.SCHEMA.append(AT), shards.REJECTS.append(AT)
EDITABLE = ("text", "prompt", "response", "language", "meta")


class Chunk(NamedTuple):
    """Some row groups of a shard: what a worker takes on at once."""

    number: int
    part: Path
    groups: tuple[int, int]
    """From, to (not included)."""
    start: int
    """Place of its first row among all rows."""


class Job(NamedTuple):
    """A chunk to clean, and by what. Paths are absolute: a worker may stand elsewhere."""

    chunk: Chunk
    rules: str
    """The preset as JSON."""
    assets: Path
    work: Path
    """Where the chunk's folder comes to lie."""
    sample: tuple[int, int] | None = None
    """To explain: so many rows, evenly spread over so many; all are kept, and each reason is a reject."""

    def __str__(self) -> str:
        return f"chunk {self.chunk.number} (row groups {self.chunk.groups} of {self.chunk.part})"

    @property
    def folder(self) -> Path:
        """Where it is once it is whole."""
        return self.work / f"{self.chunk.number:05d}"


class Last(NamedTuple):
    """A chunk to write to its final shards."""

    folder: Path
    drops: Path
    """Lines of JSON: place in kept.parquet, rule, reason, evidence; there need be none."""
    clean: Path
    rejects: Path


def plan(raw: Path) -> list[Chunk]:
    """The chunks of a folder of shards: whole row groups up to 20,000 rows or 32 MB, within one shard."""
    chunks: list[Chunk] = []
    start = 0
    for part in shards.parts(raw):
        about = pq.read_metadata(part)
        first, rows, size = 0, 0, 0
        for group in range(about.num_row_groups):
            here = about.row_group(group)
            if rows and (rows + here.num_rows > ROWS_PER_CHUNK or size + here.total_byte_size > BYTES_PER_CHUNK):
                chunks.append(Chunk(len(chunks), part.resolve(), (first, group), start))
                start, first, rows, size = start + rows, group, 0, 0
            rows, size = rows + here.num_rows, size + here.total_byte_size
        if rows:
            chunks.append(Chunk(len(chunks), part.resolve(), (first, about.num_row_groups), start))
            start += rows
    return chunks


@lru_cache(maxsize=1)
def bound(rules: str, assets: Path, work: Path) -> tuple[Rule, ...]:
    """The rules of a preset, once a process (`work` tells runs apart: assets may have changed between them)."""
    return tuple(bind(choose("clean", spec), assets) for spec in json.loads(rules))


def first(job: Job) -> None:
    """Clean a chunk into its folder; one that is there already is whole."""
    if job.folder.exists():
        return
    partial = Path(tempfile.mkdtemp(prefix=f".{job.folder.name}-", dir=job.work))
    tally = Tally()
    with ExitStack() as stack:
        out = Out(stack, partial, bound(job.rules, job.assets, job.work), every=job.sample is not None)
        file = stack.enter_context(pq.ParquetFile(job.chunk.part))
        at = job.chunk.start
        for group in range(*job.chunk.groups):
            table = file.read_row_group(group, columns=shards.SCHEMA.names)
            out.write(table if job.sample is None else table.take(_sampled(at, table.num_rows, *job.sample)), tally)
            at += table.num_rows
    tally.save(partial / "tally.json")
    try:
        partial.rename(job.folder)
    except OSError:  # another worker was given the same chunk, and was faster
        shutil.rmtree(partial)
        if not job.folder.exists():
            raise


def _sampled(start: int, rows: int, wanted: int, total: int) -> pa.Array:
    """Of the rows from `start`, those of an even sample of so many of all."""
    taken = [i for i in range(rows) if (start + i + 1) * wanted // total > (start + i) * wanted // total]
    return pa.array(taken, pa.int64())


class Out:
    """Writes what becomes of a chunk's rows, a row group at a time."""

    def __init__(self, stack: ExitStack, folder: Path, rules: tuple[Rule, ...], *, every: bool) -> None:
        self.rules = [rule for rule in rules if rule.kind != "corpus rule"]
        self.corpus = [rule for rule in rules if rule.kind == "corpus rule"]
        self.every, self.rows = every, 0
        self.kept = stack.enter_context(pq.ParquetWriter(folder / "kept.parquet", KEPT, compression="lz4"))
        self.rejects = stack.enter_context(pq.ParquetWriter(folder / "rejects.parquet", REJECTS, compression="lz4"))
        self.ids = stack.enter_context(Spill(folder / "ids"))
        self.signed = [stack.enter_context(Spill(folder / str(at))) for at in range(len(self.corpus))]

    def write(self, table: pa.Table, tally: Tally) -> None:
        """Clean the rows of a table and write them, kept or rejected."""
        kept: list[tuple[int, Record]] = []
        rejects: list[dict[str, Any]] = []
        signed: list[list[bytes]] = [[] for _ in self.corpus]
        given = list(_records(table))
        for at, record in enumerate(given):
            view, found = judged(record, self.rules, tally)
            if found:
                tally.drop(found)
                told = [found[i:] for i in range(len(found))] if self.every else [found]
                rejects += [_reject(record, those) | {"at": self.rows + at} for those in told]
            if self.every or not found:
                kept.append((at, view.record))
                for rule, signatures in zip(self.corpus, signed, strict=True):
                    signatures.append(rule.call(view))
        tally.rows.update(read=len(given))
        tally.before.update(record.label or "none" for record in given)
        self.ids.extend([record.id.encode() for _, record in kept])
        for spill, signatures in zip(self.signed, signed, strict=True):
            spill.extend(signatures)
        self.kept.write_table(_changed(table, given, kept, self.rows))
        self.rejects.write_table(pa.Table.from_pylist(rejects, REJECTS))
        self.rows += len(given)


def _records(table: pa.Table) -> Iterator[Record]:
    """The records of a table; its columns stand in the order of a record's fields."""
    for values in zip(*(table.column(column).to_pylist() for column in shards.SCHEMA.names), strict=True):
        *known, meta = values
        yield Record(*(*known, {} if meta == "{}" else json.loads(meta)))


def judged(record: Record, rules: list[Rule], tally: Tally) -> tuple[View, list[tuple[str, Reject]]]:
    """The record as the editors left it, and every reason against it; a text that an editor emptied is not judged."""
    view, found = View(record), list[tuple[str, Reject]]()
    for rule in rules:
        if rule.kind == "editor":
            changed = _edited(view.record, rule, tally)
            if changed is not view.record:
                view = View(changed)
            if changed.content is None and (not changed.text or changed.text.isspace()):
                return view, [*found, (rule.name, Reject("empty", ""))]
            continue
        for said in rule.call(view):
            if isinstance(said, Mark):
                view.record = _marked(view.record, said)
            else:
                found.append((rule.name, said))
    return view, found


def _edited(record: Record, rule: Rule, tally: Tally) -> Record:
    """The record with its parts changed; the very same where the rule changed none."""
    touched = False

    def change(text: str) -> str:
        nonlocal touched
        made: Edit = rule.call(text)
        if made.text != text:
            touched = True
        for kind, count in made.counts.items():
            tally.edits[name(rule.name, kind)] += count
        return made.text

    changed = edited(record, change)
    tally.edited[rule.name] += touched
    return changed if touched else record


def _marked(record: Record, mark: Mark) -> Record:
    if mark.name == "language":
        return replace(record, language=str(mark.value))
    return replace(record, meta={**record.meta, mark.name: mark.value})


def _reject(record: Record, found: list[tuple[str, Reject]]) -> dict[str, Any]:
    (rule, why), *others = found
    return {
        "id": record.id,
        "source": record.source,
        "rule": rule,
        "reason": why.reason,
        "evidence": shown(why.evidence, record.text),
        "also": list(dict.fromkeys(name(other, more.reason) for other, more in others)),
    }


def shown(why: str, text: str) -> str:
    """What a person may see of a rejected row: what the rule found, then how the text begins, redacted and cut."""
    return evidence(f"{why}: {text}" if why else text)


def _changed(table: pa.Table, given: list[Record], kept: list[tuple[int, Record]], start: int) -> pa.Table:
    """The kept rows of a table; columns are made anew only where an editor or a mark changed a row."""
    rows = [at for at, _ in kept]
    table = table if len(rows) == table.num_rows else table.take(pa.array(rows, pa.int64()))
    if any(record is not given[at] for at, record in kept):
        meta = table.column("meta").to_pylist()
        made = {column: [getattr(record, column) for _, record in kept] for column in EDITABLE[:-1]}
        made["meta"] = [
            old if record.meta is given[at].meta else shards.meta(record)
            for old, (at, record) in zip(meta, kept, strict=True)
        ]
        for column in EDITABLE:
            place = table.schema.get_field_index(column)
            field = shards.SCHEMA.field(column)
            table = table.set_column(place, field, pa.array(made[column], field.type))
    return table.append_column(AT, pa.array([start + at for at in rows], AT.type)).cast(KEPT)


def last(job: Last) -> Counter[str]:
    """Write a chunk to its final shards, rows in the order they came; returns the labels of those kept."""
    table = pq.read_table(job.folder / "kept.parquet")
    drops = _drops(job.drops)
    gone = table.take(pa.array([row for row, *_ in drops], pa.int64()))
    fields = (gone.column(column).to_pylist() for column in ("id", "source", "at", "text"))
    late = [
        {"id": i, "source": source, "at": at, "rule": rule, "reason": reason, "also": []}
        | {"evidence": shown(why, text)}
        for i, source, at, text, (_, rule, reason, why) in zip(*fields, drops, strict=True)
    ]
    rejects = pa.concat_tables([pq.read_table(job.folder / "rejects.parquet"), pa.Table.from_pylist(late, REJECTS)])
    shards.write_table(job.rejects, rejects.sort_by("at").drop_columns("at").cast(shards.REJECTS))
    stay = np.ones(table.num_rows, bool)
    stay[[row for row, *_ in drops]] = False
    table = table.filter(pa.array(stay)).drop_columns("at").cast(shards.SCHEMA)
    shards.write_table(job.clean, table)
    return Counter(label or "none" for label in table.column("label").to_pylist())


def _drops(path: Path) -> list[tuple[int, str, str, str]]:
    if not path.exists():
        return []
    return sorted(tuple(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())
