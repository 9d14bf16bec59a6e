"""Reads every source as it was recorded in data/source.json into one schema, and lays the assets beside it."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from nightforge.errors import ConfigError, DataError, SourceMoved
from nightforge.privacy import evidence
from nightforge.records import Record, Reject
from tasks.shards import RecordShards, RejectShards
from tasks.sources import Asset, IngestConfig, Place, Source, below, entry, opened
from tasks.wiring import home_folder

CHUNK_BYTES = 1 << 20


def run(cfg: IngestConfig, source: Path, raw: Path, assets: Path, ingest_rejects: Path) -> dict[str, Any]:
    """Records to `raw`, unreadable rows to `ingest_rejects`, assets to `assets/<name>/`.

    Raises:
        SourceMoved: a source is not what data/source.json recorded.
        DataError, Transient: it cannot be read, or no row of all could.
    """
    home, recorded = home_folder(), json.loads(source.read_text(encoding="utf-8"))
    for place in cfg.sources:
        verify(place, recorded.get("sources", {}), home)
    for asset in cfg.assets:
        verify(asset, recorded.get("assets", {}), home)
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    by_source = {}
    with RecordShards(raw) as kept, RejectShards(ingest_rejects) as rejected:
        for place in cfg.sources:
            by_source[place.name] = _read(place, home, kept, rejected, labels, reasons)
    for asset in cfg.assets:
        _lay(asset, home, assets / asset.name)
    assets.mkdir(parents=True, exist_ok=True)
    if not kept.rows:
        raise DataError(f"ingest: not one row of {rejected.rows} could be read: {dict(reasons)}. See ingest.sources.")
    return {
        "rows_read": kept.rows + rejected.rows,
        "rows_kept": kept.rows,
        "rows_rejected": rejected.rows,
        "rejected": {"read": dict(sorted(reasons.items()))} if reasons else {},
        "labels": dict(sorted(labels.items())),
        "sources": by_source,
    }


def verify(place: Place, recorded: dict[str, Any], home: Path) -> None:
    """Hold a place against its record.

    Raises:
        SourceMoved: they differ; the message names the first file that does.
    """
    now, then = entry(place, home), recorded.get(place.name)
    if now == then:
        return
    have = {json.dumps(file, sort_keys=True) for file in (then or {}).get("files", [])}
    moved = [file["path"] for file in now.get("files", []) if json.dumps(file, sort_keys=True) not in have]
    where = f"{moved[0]} is new or changed" if moved else "it differs"
    raise SourceMoved(
        f"{place.name} ({place.address}) is not what data/source.json recorded: {where}. "
        f"To take what lies there now: nightforge snapshot. To reproduce the recorded run: dvc checkout."
    )


def _read(
    place: Source, home: Path, kept: RecordShards, rejected: RejectShards, labels: Counter[str], reasons: Counter[str]
) -> dict[str, int]:
    """Read one source; returns its files, rows kept and rows rejected."""
    counts = {"files": 0, "rows_kept": 0, "rows_rejected": 0}
    told = _told(place, home)
    for path, handle in opened(place, home):
        counts["files"] += 1
        for item in _items(place, path, handle, told):
            if isinstance(item, Record):
                kept.put(_placed(item, place.name, path))
                labels[item.label or "none"] += 1
                counts["rows_kept"] += 1
            else:
                rejected.add(_row(item, f"{place.name}:{path}"))
                reasons[item.reason] += 1
                counts["rows_rejected"] += 1
    return counts


def _told(place: Source, home: Path) -> tuple[Any, ...]:
    """What lists beside the files of a source tell about them, for a reader that takes such; else nothing."""
    method: Any = place.format
    wanted = getattr(method.cfg, "listed", None)
    if wanted is None:
        return ()
    lists = [method.module.listed(h, wanted) for path, h in opened(place, home) if Path(path).name == wanted.file]
    return ({name: about for one in lists for name, about in one.items()},) if lists else ()


def _items(place: Source, path: str, handle: BinaryIO, told: tuple[Any, ...]) -> Iterator[Record | Reject]:
    """What a reader makes of one file; its complaints name the file."""
    method: Any = place.format
    try:
        yield from method.module.read(handle, method.cfg, *told)
    except (ConfigError, DataError) as e:
        raise (e if path in str(e) else type(e)(f"{place.name}: {path}: {e}")) from None


def _placed(record: Record, source: str, path: str) -> Record:
    """The record with where it came from: `source:path#place`, of a file that is a record `source:folder#name`."""
    folder, _, name = path.rpartition("/")
    return replace(record, source=f"{source}:{path}#{record.source}" if record.source else f"{source}:{folder}#{name}")


def _row(reject: Reject, address: str) -> dict[str, Any]:
    """A row that never became a record has no id, only a place."""
    return {
        "id": None,
        "source": address,
        "rule": "read",
        "reason": reject.reason,
        "evidence": evidence(reject.evidence),
        "also": [],
    }


def _lay(asset: Asset, home: Path, folder: Path) -> None:
    """Copy an asset's files into a folder, by their paths below its address.

    Raises:
        DataError: two of them would lie at one path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path, handle in opened(asset, home):
        laid = folder / below(asset, path)
        if laid.exists():
            raise DataError(f"{asset.name}: {path} and a file before it would both be laid at {laid}.")
        laid.parent.mkdir(parents=True, exist_ok=True)
        with laid.open("wb") as out:
            while chunk := handle.read(CHUNK_BYTES):
                if asset.lf and chunk.endswith(b"\r"):
                    chunk += handle.read(1)  # a line end is not cut in two
                out.write(chunk.replace(b"\r\n", b"\n") if asset.lf else chunk)
