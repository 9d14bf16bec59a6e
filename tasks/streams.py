"""Files as streams: unpacked as they are read, their errors ours, and none that grows without bound."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from nightforge.errors import DataError

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
CORRUPT = (
    *(EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
    *(RuntimeError, NotImplementedError),  # what zipfile raises for a password, or a method it does not know
)
UNPACKED_FREE_BYTES = 100_000_000
UNPACKED_RATIO_MAX = 200
"""A file that unpacks to more than the one and to more than so many times its size is taken for a bomb: text packs to a
quarter, logs to a fiftieth, and gzip reaches 1,032 at the utmost."""

Reaching = Callable[[str], AbstractContextManager[None]]


@contextmanager
def corrupt_is_ours(address: str) -> Iterator[None]:
    """Turn what the unpackers raise into a `DataError`."""
    try:
        yield
    except CORRUPT as e:
        raise DataError(f"{address}: truncated or corrupt: {type(e).__name__}: {e}. Bring the file again.") from None


def unpacked(path: str, handle: BinaryIO, reaching: Reaching = corrupt_is_ours) -> BinaryIO:
    """A file, decompressed by its suffix; it does not close the handle. Its errors pass through `reaching`."""
    opener = OPENERS.get(Path(path).suffix.lower())
    raw = _Guarded(opener(handle, "rb") if opener else handle, path, reaching, handle if opener else None)
    return cast("BinaryIO", io.BufferedReader(raw, 1 << 16))


def refuse_bomb(path: str, packed: int, grown: int) -> None:
    """Raise `DataError` if so many packed bytes may not hold so many."""
    if grown > UNPACKED_FREE_BYTES and grown > UNPACKED_RATIO_MAX * packed:
        raise DataError(
            f"{path}: {packed} bytes unpack to {grown} and more, over {UNPACKED_RATIO_MAX} times as many, so it is "
            "taken for a bomb. If it is wanted, unpack it and name the unpacked file in params.yaml."
        )


class _Guarded(io.RawIOBase):
    """A file whose errors of reading are ours, whoever reads; closing it leaves the file open to its owner."""

    def __init__(self, file: BinaryIO, path: str, reaching: Reaching, packed: BinaryIO | None) -> None:
        self.file, self.path, self.reaching, self.packed = file, path, reaching, packed
        self.name = path  # a BufferedReader's name is that of what it buffers: readers of whole files look at it

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        with self.reaching(self.path):
            if self.packed is not None and whence == 0:
                while (at := self.file.tell() + UNPACKED_FREE_BYTES // 10) < offset:  # on the way, all is unpacked
                    self.file.seek(at)
                    refuse_bomb(self.path, self.packed.tell(), at)
            return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        with self.reaching(self.path):
            found = self.file.read(len(buffer))
            if self.packed is not None:
                refuse_bomb(self.path, self.packed.tell(), self.file.tell())
        buffer[: len(found)] = found
        return len(found)
