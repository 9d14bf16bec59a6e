"""Archives and packed files that are made to harm."""

import gzip
import hashlib
import io
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from nightforge.errors import DataError
from tasks import packages, streams

MB = 1_000_000


@pytest.mark.parametrize("suffix", streams.OPENERS)
def test_a_packed_file_that_grows_without_bound_is_refused(suffix: str, tmp_path: Path) -> None:
    opener = streams.OPENERS[suffix]
    with opener(tmp_path / f"x{suffix}", "wb") as out:
        for _ in range(110):
            out.write(bytes(MB))
    tracemalloc.start()
    with (tmp_path / f"x{suffix}").open("rb") as file, pytest.raises(DataError, match=r"taken for a bomb.*unpack it"):
        stream = streams.unpacked(f"x{suffix}", file)
        while stream.read(MB):
            pass
    assert tracemalloc.get_traced_memory()[1] < 60 * MB
    tracemalloc.stop()


def test_a_small_file_may_pack_as_well_as_it_likes() -> None:
    packed = gzip.compress(bytes(90 * MB))
    stream = streams.unpacked("x.gz", io.BytesIO(packed))
    assert sum(len(c) for c in iter(lambda: stream.read(MB), b"")) == 90 * MB


def kept(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def wheel(folder: Path, files: dict[str, bytes]) -> Path:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return kept(folder, "x-1.0-py3-none-any.whl", made.getvalue())


def test_a_suffix_in_capitals_is_a_suffix() -> None:
    assert streams.unpacked("X.GZ", io.BytesIO(gzip.compress(b"three"))).read() == b"three"


def sdist(folder: Path, files: dict[str, bytes], suffix: str = "gz") -> Path:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{suffix}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"x-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return kept(folder, f"x-1.0.tar.{suffix}", made.getvalue())


@pytest.mark.parametrize("make", [wheel, sdist])
def test_a_bomb_in_a_package_is_refused_beside_what_is_wanted_too(make: object, tmp_path: Path) -> None:
    archive = make(tmp_path, {"x/a.txt": b"one\n", "x/b.txt": bytes(130 * MB), "y/c.txt": b"two\n"})  # type: ignore[operator]
    with pytest.raises(DataError, match="taken for a bomb"):
        for _, handle in packages.members(archive, "x"):
            while handle.read(MB):
                pass
    if make is sdist:  # what lies before the file that is wanted is unpacked on the way
        with pytest.raises(DataError, match="taken for a bomb"):
            list(packages.members(archive, "y"))
    else:
        assert [path for path, _ in packages.members(archive, "y")] == ["y/c.txt"]


@pytest.mark.parametrize("make", [wheel, sdist])
def test_a_name_that_leads_out_of_an_archive_is_refused(make: object, tmp_path: Path) -> None:
    archive = make(tmp_path, {"x/../../evil.txt": b"one\n", "x/..": b"two\n"})  # type: ignore[operator]
    with pytest.raises(DataError, match="leads out of it"):
        list(packages.members(archive, "x"))


def test_entries_that_lie_about_their_size(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x-1.0/x/a.txt")
    info.size = 8**12
    archive = kept(tmp_path, "x-1.0.tar.gz", gzip.compress(info.tobuf() + b"short"))
    with pytest.raises(DataError, match="truncated or corrupt"):
        for path, handle in packages.members(archive, "x"):
            streams.unpacked(path, handle).read(MB)


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2"])
def test_an_archive_that_is_cut_off_is_an_error_of_ours(cut: float, suffix: str, tmp_path: Path) -> None:
    noise = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(9_000))
    archive = sdist(tmp_path, {"x/a.txt": noise}, suffix)
    archive.write_bytes(archive.read_bytes()[: int(cut * archive.stat().st_size)])
    with pytest.raises(DataError, match="truncated or corrupt"):
        for _, handle in packages.members(archive, "x"):
            while handle.read(MB):
                pass


def test_a_wheel_that_is_damaged_or_locked(tmp_path: Path) -> None:
    archive = wheel(tmp_path, {"x/a.txt": b"one two three " * 99})
    content = bytearray(archive.read_bytes())
    content[45] ^= 0xFF
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match="truncated or corrupt"):
        for _, handle in packages.members(archive, "x"):
            streams.unpacked("x/a.txt", handle).read()
