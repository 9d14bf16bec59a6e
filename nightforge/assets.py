"""What methods need beside the records: folders that the stage ingest laid at data/assets/<name>/."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from nightforge.errors import AssetMissing, DataError


def folder(assets: Path, name: str, what: str) -> Path:
    """The folder of an asset.

    Args:
        assets: data/assets.
        name: the asset's, as in ingest.assets.
        what: it must hold, for the message.

    Raises:
        AssetMissing: it is not there; the message has the lines to add.
    """
    found = assets / name
    if not found.is_dir() or not any(found.iterdir()):
        raise AssetMissing(
            f"{found}: expected {what}, found nothing. Add to ingest.assets in params.yaml:\n"
            f"    - {{name: {name}, address: PATH_TO_IT, sha256: null, lf: false}}\n"
            "then run: nightforge snapshot && dvc repro"
        )
    return found


def texts(assets: Path, name: str, keys: Sequence[str] = ("text",)) -> list[str]:
    """The texts of an asset in the order of its files: `keys` of each line of *.jsonl, each paragraph of *.txt.

    The texts of several keys are joined by line breaks.

    Raises:
        AssetMissing: the asset is not there.
        DataError: a line is no JSON object with a text, a file is no UTF-8, or there is no text at all.
    """
    found: list[str] = []
    for path in sorted(folder(assets, name, "*.jsonl (an object a line, its `text`) or *.txt (paragraphs)").iterdir()):
        if path.suffix not in {".jsonl", ".txt"}:
            continue
        try:
            content = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as e:
            raise DataError(f"{path}: expected UTF-8, got byte {e.object[e.start]:#04x} at {e.start}.") from None
        if path.suffix == ".txt":
            found += re.split(r"\n\s*\n", content)
        else:
            lines = enumerate(content.split("\n"), 1)
            found += (_of_line(line, keys, f"{path}:{at}") for at, line in lines if line.strip())
    kept = [text.strip() for text in found if text.strip()]
    if not kept:
        raise DataError(f"{assets / name}: expected texts in *.jsonl or *.txt, found none.")
    return kept


def _of_line(line: str, keys: Sequence[str], place: str) -> str:
    try:
        found = json.loads(line)
        return "\n".join([found[key] for key in keys])
    except (ValueError, KeyError, TypeError):
        shown = ", ".join(f'"{key}": "…"' for key in keys)
        raise DataError(f"{place}: expected a JSON object such as {{{shown}}}, got {line[:80]!r}.") from None
