"""Scikit-learn's handwritten digits (8 × 8, grey, real) as records and as a project's splits."""

import io
from pathlib import Path

import numpy as np

from nightforge.records import Record, content_id
from tasks import shards


def records(rows: int, start: int = 0) -> list[Record]:
    """So many digits as PNG, each with its label."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    made = []
    for picture, label in zip(found.images[start : start + rows], found.target[start : start + rows], strict=True):
        out = io.BytesIO()
        Image.fromarray((picture * (255 / 16)).round().astype(np.uint8)).save(out, "PNG")
        content = out.getvalue()
        name = str(label)
        made.append(Record(content_id("", name, content), "", content=content, media_type="image/png", label=name))
    return made


def splits(folder: Path, train: int, validation: int) -> Path:
    """A folder of splits."""
    shards.write(folder / "train", records(train))
    shards.write(folder / "validation", records(validation, train))
    return folder
