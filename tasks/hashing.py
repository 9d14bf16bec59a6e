"""Content hashes of files and folders, the same wherever they lie."""

import hashlib
from pathlib import Path

README = "README.md"
"""Of a model's folder: what it is, for people. It is no part of what is weighed."""


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sha256_tree(path: Path) -> str:
    """Hex sha256 of a file, or of a folder: over the sorted relative paths and the hashes of its files."""
    if path.is_file():
        return sha256_file(path)
    h = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        h.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return h.hexdigest()


def size_mb(path: Path) -> float:
    """Bytes on disk of a file or of all files of a folder but its README.md, in MB (10⁶ bytes)."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and p != path / README]
    return sum(p.stat().st_size for p in files) / 1e6
