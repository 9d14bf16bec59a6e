"""Sources of which a record is a whole file (pictures, sounds), lying in a folder or in an archive (zip, tar).

A reader gets a handle; the handle's `name` says which file it is of. What is told about the files beside them (labels,
captions) stands in a list: a CSV with a header, a JSON list of objects, or JSON Lines.
"""

import csv
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple

from pydantic import Field

from nightforge import config
from nightforge.errors import ConfigError, DataError
from nightforge.ingest._columns import record
from nightforge.records import Record, Reject, content_id

BYTES_MAX = 64_000_000
"""Most bytes of a file that becomes one record."""
_CORRUPT = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)
_TAR_MAGIC, _HEAD = b"ustar", 512


class Listed(config.Config):
    """What a file beside the others tells about each."""

    file: str = Field(pattern=r"\.(csv|json|jsonl)$")
    """Its name; it lies anywhere in the source, and is no record itself. Of several, each is read."""
    name: str
    """Column with the name of a file: its path in the folder or archive, or the end of that path."""
    label: str | None
    """Column with the label; null: as `label` says."""
    text: str | None
    """Column with the caption, which may be empty; null: no captions."""


class Files(config.Config):
    """Files that are records."""

    label: Literal["folder"] | None
    """`folder`: the name of the folder that a file lies in. null: none, or what `listed` tells."""
    listed: Listed | None
    """Where labels and captions stand; a file that is not listed there is a reject. null: nowhere."""


class Told(NamedTuple):
    """What a list tells about a file."""

    label: str | None
    text: str


Check = Callable[[bytes], str | Reject]
"""The media type of a file's bytes, or why they are none."""


def read(handle: BinaryIO, cfg: Files, told: Mapping[str, Told] | None, check: Check) -> Iterator[Record | Reject]:
    """A record of a file, or of each file in an archive; a broken one costs itself.

    Raises:
        DataError: an archive is truncated or corrupt.
        ConfigError: a list lacks a column that is mapped.
    """
    name = str(getattr(handle, "name", ""))
    head = handle.read(_HEAD)
    handle.seek(0)
    if _is_list(name, cfg):
        return
    if not head:
        if name:
            yield Reject("empty_file", PurePosixPath(name).name)
        return
    if not head.startswith(b"PK\x03\x04") and head[257:262] != _TAR_MAGIC:
        yield _record(handle.read(BYTES_MAX + 1), name, "", cfg, told or {}, check)
        return
    if cfg.listed and told is None:
        told = {}
        for path, opened in _members(handle, head):
            if _is_list(path, cfg):
                told |= listed(io.BytesIO(opened().read()), cfg.listed)
    for path, opened in _members(handle, head):
        if not _is_list(path, cfg):
            try:
                content = opened().read(BYTES_MAX + 1)
            except _CORRUPT as e:
                yield Reject("corrupt_member", f"{path}: {type(e).__name__}")
                continue
            yield _record(content, path, path, cfg, told or {}, check)


def listed(handle: BinaryIO, cfg: Listed) -> dict[str, Told]:
    """File name → what a list tells about it; a line that names no file is passed over.

    Raises:
        ConfigError: a mapped column is in none of its rows.
        DataError: it is not UTF-8, or not what its suffix says.
    """
    try:
        rows = _rows(handle.read().decode("utf-8-sig"), PurePosixPath(cfg.file).suffix)
    except (ValueError, RecursionError, csv.Error) as e:
        raise DataError(f"{cfg.file}: expected UTF-8 and what its suffix says, got {e}") from None
    for column in filter(None, (cfg.name, cfg.label, cfg.text)):
        if rows and not any(column in row for row in rows):
            have = ", ".join(sorted({str(key) for row in rows[:100] for key in row})[:30])
            raise ConfigError(f"ingest: {cfg.file} has no column {column!r}. It has: {have}.")
    found = {}
    for row in rows:
        label, text = (_plain(row.get(column)) if column else "" for column in (cfg.label, cfg.text))
        if name := _plain(row.get(cfg.name)):
            found[name.removeprefix("./")] = Told(label or None, text)
    return found


def _rows(text: str, suffix: str) -> list[dict[str, Any]]:
    if suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text)))
    found = json.loads(text) if suffix == ".json" else [json.loads(line) for line in text.splitlines() if line.strip()]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("something else than objects")
    return found


def _plain(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value).strip()


def _is_list(path: str, cfg: Files) -> bool:
    return cfg.listed is not None and PurePosixPath(path).name == cfg.listed.file


def _members(handle: BinaryIO, head: bytes) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The files in an archive, hidden ones left out, in the archive's order."""
    try:
        if head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(handle) as zipped:
                names = [info.filename for info in zipped.infolist() if not info.is_dir()]
                for name in filter(_shown, names):
                    yield name, partial(zipped.open, name)
        else:
            handle.seek(0)
            with tarfile.open(fileobj=handle, mode="r:") as tar:
                for member in tar:
                    if member.isfile() and _shown(member.name):
                        yield member.name, partial(tar.extractfile, member)
    except _CORRUPT as e:
        raise DataError(f"truncated or corrupt archive: {type(e).__name__}: {e}. Bring the file again.") from None


def _shown(path: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(path).parts)


def _record(
    content: bytes, path: str, place: str, cfg: Files, told: Mapping[str, Told], check: Check
) -> Record | Reject:
    shown = f"{PurePosixPath(path).name}, {len(content)} bytes"
    if len(content) > BYTES_MAX:
        return Reject("too_long", f"{PurePosixPath(path).name}: at most {BYTES_MAX} bytes are read")
    about = Told(None, "")
    if cfg.listed:
        parts = PurePosixPath(path).parts
        tails = ("/".join(parts[at:]) for at in range(len(parts)))
        if (known := next((told[tail] for tail in tails if tail in told), None)) is None:
            return Reject("not_listed", shown)
        about = known
    label = about.label or (PurePosixPath(path).parent.name or None if cfg.label == "folder" else None)
    media_type = check(content)
    if isinstance(media_type, Reject):
        return Reject(media_type.reason, f"{shown}: {media_type.evidence}")
    made = record(about.text, place, {}, label=label)
    if isinstance(made, Reject):
        return made
    return replace(made, id=content_id(made.text, label, content), content=content, media_type=media_type)
