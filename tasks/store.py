"""The content store that DVC keeps: bring a folder back by its md5, whatever the checkout is at."""

import json
import shutil
from pathlib import Path

from nightforge.errors import AssetMissing
from tasks.stage import cache_dir


def restore(md5: str, out: Path, cache: Path | None = None) -> None:
    """Copy a folder that DVC cached to `out`.

    Args:
        md5: of the folder as dvc.lock records it, such as `1a2b….dir`.
        out: must not exist yet.
        cache: the DVC cache; by default that of the project in the working directory.

    Raises:
        AssetMissing: the folder, or a file in it, is not in the cache.
    """
    files = (cache or cache_dir()) / "files" / "md5"
    listing = _cached(files, md5.removesuffix(".dir") + ".dir", f"folder {md5}")
    for entry in json.loads(listing.read_text(encoding="utf-8")):
        target = out / entry["relpath"]
        if not target.resolve().is_relative_to(out.resolve()):
            raise AssetMissing(f"{listing}: the entry {entry['relpath']!r} lies outside of its folder.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_cached(files, entry["md5"], entry["relpath"]), target)


def _cached(files: Path, md5: str, what: str) -> Path:
    path = files / md5[:2] / md5[2:]
    if not path.is_file():
        raise AssetMissing(
            f"{what} is not in the DVC cache: expected {path}. Fetch it from the remote: dvc fetch --all-branches "
            f"--all-tags (a deployed run is on branch runs/<id>); or copy the cache of the machine that made it."
        )
    return path
