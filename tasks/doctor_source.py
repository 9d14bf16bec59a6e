"""Whether the data is there: every source and asset looked at, a few rows of each read, nothing downloaded."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from nightforge.errors import NightforgeError
from nightforge.records import Record
from tasks import packages, snapshot, sources, wiring
from tasks.doctor_check import Check
from tasks.snapshot import MANIFEST
from tasks.sources import IngestConfig, Place, Source

ROWS = 200
HASHED_BYTES_MAX = 200_000_000
"""Above this many recorded bytes the files are not hashed again: a preflight takes seconds."""
ASK_TIMEOUT_S = 20
UNKNOWN_BYTES = 100_000_000
"""Taken for a package that is not here yet."""


def config(project: Path) -> IngestConfig | str:
    """The section `ingest` of params.yaml, or what is wrong with it."""
    try:
        return snapshot.config(project)
    except NightforgeError as e:
        return str(e)


def readable(project: Path) -> Iterator[Check]:
    """One check for each source and asset of params.yaml."""
    cfg = config(project)
    if isinstance(cfg, str):
        yield Check("sources", "fail", cfg, "mend params.yaml")
        return
    path = project / MANIFEST
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    home = wiring.home_folder(project)
    for kind, places in (("source", cfg.sources), ("asset", cfg.assets)):
        for place in places:
            try:
                yield _place(f"{kind} {place.name}", place, recorded.get(f"{kind}s", {}).get(place.name), home)
            except NightforgeError as e:
                yield Check(
                    f"{kind} {place.name}", "fail", str(e), "mend the address in params.yaml, or bring the data"
                )


def _place(name: str, place: Place, recorded: Any, home: Path) -> Check:
    package = packages.ADDRESS.fullmatch(place.address)
    if package and not cached(place, home):
        return _registry(package["name"], package["version"])._replace(name=name)
    found = f"{place.address} can be read"
    if isinstance(place, Source):
        rows = peek(place, home, ROWS)
        if not rows:
            return Check(
                name, "fail", f"{place.address} gives no records", "check its format and columns in params.yaml"
            )
        found += f", {len(rows)} rows tried"
    else:
        next(sources.opened(place, home))
    if recorded is None:
        return Check(name, "warn", f"{found}; not yet recorded in {MANIFEST}", "nightforge snapshot")
    if _bytes(recorded) <= HASHED_BYTES_MAX and sources.entry(place, home) != recorded:
        return Check(
            name, "warn", f"{found}; no longer what {MANIFEST} recorded", "nightforge snapshot takes up what is new"
        )
    return Check(name, "ok", found)


def cached(place: Place, home: Path) -> Path | None:
    """The archive of a package source, if it was fetched before."""
    folder = home / ".nightforge" / "packages" / str(place.sha256)
    return next(iter(sorted(folder.glob("*"))), None)


@cache
def _registry(package: str, version: str) -> Check:
    """Ask pip, which knows the registry that this machine uses, whether it has the version."""
    options = ["--disable-pip-version-check", "--retries", "0", "--timeout", "5"]
    command = [sys.executable, "-m", "pip", "index", "versions", package, *options]
    way = "go online for the first run, or name a local source in params.yaml"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Check(package, "fail", f"{package}=={version} is not fetched yet, and the registry does not answer", way)
    if done.returncode:
        return Check(package, "fail", f"{package}=={version} is not fetched yet, and pip cannot find it", way)
    if version not in done.stdout.replace(",", " ").split():
        return Check(
            package, "fail", f"the registry has {package}, and not {version} of it", "mend the address in params.yaml"
        )
    return Check(package, "ok", f"{package}=={version} is not fetched yet; the registry has it")


def peek(source: Source, home: Path, most: int) -> list[Record]:
    """The first records of a source, with its name and place, as ingest would read them."""
    method: Any = source.format
    found: list[Record] = []
    for _, handle in sources.opened(source, home):
        rows = method.module.read(handle, method.cfg)
        found += islice((r for r in rows if isinstance(r, Record)), most - len(found))
        if len(found) >= most:
            break
    return found


def source_bytes(project: Path) -> int:
    """Bytes of all sources together, from what was recorded; packages by their archive."""
    cfg = config(project)
    path = project / MANIFEST
    if isinstance(cfg, str):
        return UNKNOWN_BYTES
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    home, total = wiring.home_folder(project), 0
    for place in cfg.sources:
        if archive := cached(place, home):
            total += 4 * archive.stat().st_size  # text packs to about a quarter
        else:
            total += _bytes(recorded.get("sources", {}).get(place.name, {})) or UNKNOWN_BYTES
    return total


def _bytes(entry: dict[str, Any]) -> int:
    return sum(int(file.get("size") or 0) for file in entry.get("files", []))
