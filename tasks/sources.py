"""Where data comes from: local files, fsspec URLs and pinned packages, each with the facts that tell if it moved."""

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Self

from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.errors import ConfigError, DataError, NightforgeError, Transient
from nightforge.methods import Chosen, Method
from tasks import packages
from tasks.hashing import sha256_file
from tasks.streams import corrupt_is_ours, unpacked

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LINK = re.compile(r"connect|timeout|payload", re.IGNORECASE)
"""In the names of what drivers raise when a connection fails; they share no base class."""
_USER = re.compile(r"://[^/?#]*@")
_KEY = re.compile(
    r"[?&#;](?:sig|[^=&#;]*(?:signature|token|key|secret|passw|pwd|credential|auth(?!or))[^=&#;]*)=", re.IGNORECASE
)


class Place(Config):
    """A place that files are read from."""

    name: Name
    """What reports call it; unique."""
    address: str
    """A local file, folder or glob (relative to the home checkout), a URL that fsspec knows,
    `pkg:NAME==VERSION/path/in/the/package`, or `installed:NAME/path/in/the/package`."""
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    """Hash of the package's archive, or of the installed file; null for what is no package (its files are hashed into
    data/source.json)."""

    @model_validator(mode="before")
    @classmethod
    def _open(cls, values: Any) -> Any:
        for value in values.values() if isinstance(values, dict) else ():
            if isinstance(value, str):
                refuse_secret(value)
        return values

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.address.startswith("installed:") and self.sha256 is None:
            raise ValueError(f"{self.address} needs the sha256 of its file")
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


def refuse_secret(address: str) -> None:
    """Refuse an address that holds what opens it: addresses stand in records, manifests, reports and logs.

    Raises:
        ConfigError: it does. (A ValueError would come back from pydantic with the address.)
    """
    if not address.startswith("pkg:") and (_USER.search(address) or _KEY.search(address)):
        raise ConfigError(
            "an address must hold no user, password, key or signature, for it is written down in many places; one here "
            "does, and is not repeated. Take it out, and give the driver its credentials by its own environment "
            "variables, such as AWS_ACCESS_KEY_ID or GOOGLE_APPLICATION_CREDENTIALS (fsspec: FSSPEC_<PROTOCOL>)."
        )


def entry(place: Place, home: Path) -> dict[str, Any]:
    """What data/source.json records of a place: enough to see that it moved, the same on every machine.

    Raises:
        DataError: there is nothing at the address.
        Transient: a remote address cannot be reached.
    """
    if match := packages.ADDRESS.fullmatch(place.address):
        facts = {"name": match["name"], "version": match["version"], "sha256": place.sha256}
        return {"address": place.address, "package": facts}
    if place.address.startswith("installed:"):
        packages.installed(place.address, place.sha256)
        return {"address": place.address, "installed": {"sha256": place.sha256}}
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
        DataError, Transient: as `entry`; a handle raises the same where the file is corrupt or the connection drops.
    """
    if match := packages.ADDRESS.fullmatch(place.address):
        archive = packages.fetch(match["name"], match["version"], str(place.sha256), home)
        found = False
        for path, handle in packages.members(archive, match["inside"]):
            found = True
            yield path, unpacked(path, handle, _reaching)
        if not found:
            raise DataError(f"{place.address}: the package holds no {match['inside']}.")
    elif place.address.startswith("installed:"):
        file = packages.installed(place.address, place.sha256)
        with file.open("rb") as local:
            yield place.address, unpacked(file.name, local, _reaching)
    elif "://" in place.address:
        with _reaching(place.address):
            fs, paths = _remote(place.address)
            for path in paths:
                with fs.open(path, "rb") as remote:
                    yield fs.unstrip_protocol(path), unpacked(path, remote, _reaching)
    else:
        for path, file in _local(place.address, home):
            with file.open("rb") as local:
                yield path, unpacked(path, local, _reaching)


def below(place: Place, path: str) -> PurePosixPath:
    """The path of one of its files below the folder that a place names; only the name where it names no folder."""
    match = packages.ADDRESS.fullmatch(place.address)
    whole, root = PurePosixPath(path), PurePosixPath(match["inside"] if match else place.address)
    return whole.relative_to(root) if whole != root and whole.is_relative_to(root) else PurePosixPath(whole.name)


def _local(address: str, home: Path) -> list[tuple[str, Path]]:
    """Sorted `(path to record, file)`: hidden files are left out, a relative address is recorded relative."""
    root = home / address
    if root.is_dir():
        base, found = root, [p for p in root.rglob("*") if not any(x[0] == "." for x in p.relative_to(root).parts)]
    elif root.is_file():
        base, found = root, [root]
    else:
        parts = root.parts
        fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        base, found = Path(*parts[:fixed]), [Path(p) for p in glob.glob(str(root), recursive=True)]  # noqa: PTH207
    inside = base.resolve()
    for path in found:
        _refuse_stray(path, inside)
    files = sorted(p for p in found if p.is_file())
    if not files:
        raise DataError(f"{address}: expected a file, a folder with files, or a glob; found none under {home}.")
    relative = not Path(address).is_absolute()
    return [(Path(os.path.relpath(p, home) if relative else p).as_posix(), p) for p in files]


def _refuse_stray(path: Path, inside: Path) -> None:
    """Raise `DataError` for a link that leads out of a source or to no file, and for a name that no report can hold."""
    target = Path(os.path.realpath(path))  # Path.resolve raises for a link to itself
    if path.is_symlink() and not target.is_file():
        raise DataError(
            f"{path}: a link to what is no file ({target}); links to folders are not followed. Take it out."
        )
    if not target.is_relative_to(inside):
        raise DataError(
            f"{path}: leads out of {inside}, to {target}. Put the file itself there, or name where it is as a source."
        )
    if _UNWRITABLE.search(str(path)):
        raise DataError(f"{str(path)!a}: expected a name in UTF-8 without control characters. Rename the file.")


def _remote(address: str) -> tuple[Any, list[str]]:
    """The files at a remote address; over HTTP a folder is told by the slash at its end."""
    import fsspec

    fs, path = fsspec.core.url_to_fs(address)
    if glob.has_magic(path):
        found = fs.glob(path)
    else:
        whole = fs.info(path)["type"] == "file" and not path.endswith("/")
        found = [path] if whole else fs.find(path)
    if not found:
        # Listings swallow a connection that fails; this raises it.
        fs.info(re.split(r"[^/]*[*?\[]", path, maxsplit=1)[0])
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
    """Turn the many errors of files and remote stores into ours."""
    try:
        with corrupt_is_ours(address):
            yield
    except NightforgeError:
        raise
    except Exception as e:
        why = e.__cause__ if isinstance(e, FileNotFoundError) and e.__cause__ else e
        said = f"{type(why).__name__}: {why}"
        if _passing(e):
            raise Transient(f"{address}: cannot be read: {said}. Try again when it can be reached.") from None
        if isinstance(e, FileNotFoundError):
            raise DataError(f"{address}: nothing is there.") from None
        if isinstance(e, ImportError | ValueError | OSError) or _status(e):
            raise DataError(f"{address}: {said}") from None
        raise


def _passing(error: BaseException) -> bool:
    """Whether an error, or what it was raised from (a driver may say "not found" of a host out of reach), may pass."""
    if status := _status(error):
        return status in {408, 425, 429} or status >= 500
    if isinstance(error, FileNotFoundError | PermissionError | ImportError):
        return error.__cause__ is not None and _passing(error.__cause__)
    if _LINK.search(type(error).__name__) or (isinstance(error, OSError) and error.errno is not None):
        return True
    return error.__cause__ is not None and _passing(error.__cause__)


def _status(error: BaseException) -> int:
    """The HTTP status that an error of a driver carries, or 0."""
    status = getattr(error, "status", 0)
    return status if isinstance(status, int) else 0
