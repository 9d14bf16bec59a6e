"""Records of pictures and sounds as one array in memory: a byte a value, and nothing else that grows with the rows."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge import captions, models
from nightforge.array_models import Rows, row_seeds
from nightforge.batching import Batch
from nightforge.captions import Captions
from nightforge.errors import ConfigError, DataError
from nightforge.levels import Levels, from_levels, to_levels
from nightforge.methods import Method
from nightforge.records import Record, document
from tasks import shards

MEMORY_SHARE = 0.5
"""Of the free memory that a data set may take."""


class Told(NamedTuple):
    """The captions of rows, those that are equal kept once."""

    captions: Captions
    place: torch.Tensor
    """Of each row's caption: (rows,)."""

    def of(self, rows: Any) -> dict[str, torch.Tensor]:
        """`text` and `text_mask` of rows."""
        places = self.place[rows]
        return {"text": self.captions.states[places], "text_mask": self.captions.mask[places]}


class Arrays(NamedTuple):
    """A data set, as the loop and the scores see it."""

    levels: Levels
    """(rows, channels, height, width)"""
    labels: NDArray[np.int64]
    """Number of each row's class; the number of classes where a row has none: (rows,)."""
    ids: list[str]
    documents: list[str]
    """Rows of one are of one origin: intervals draw whole documents."""
    texts: list[str]
    """The caption of each row, empty where it has none."""
    told: Told | None = None
    """The captions as an encoder reads them, where the family wants them."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """One a row."""
        return np.ones(len(self.labels), dtype=np.int64)

    @property
    def x(self) -> torch.Tensor:
        """Every row in −1 … 1, four bytes a value."""
        return from_levels(self.levels)

    @property
    def rows(self) -> Rows:
        """All of it, as scores take it."""
        told = self.told.of(slice(None)) if self.told else {}
        return Rows({"x": self.x, "y": torch.from_numpy(self.labels)} | told, row_seeds(self.ids))

    def batch(self, rows: Sequence[int]) -> Batch:
        """`x` and `y` of rows."""
        chosen = list(rows)
        told = self.told.of(chosen) if self.told else {}
        own = {"x": from_levels(self.levels[chosen]), "y": torch.from_numpy(self.labels[chosen])}
        return Batch(own | told, len(chosen))

    def of(self, wanted: set[str]) -> "Arrays":
        """The rows of some documents."""
        rows = [row for row, name in enumerate(self.documents) if name in wanted]
        told = Told(self.told.captions, self.told.place[rows]) if self.told else None
        ids, documents, texts = ([column[row] for row in rows] for column in (self.ids, self.documents, self.texts))
        return Arrays(self.levels[rows], self.labels[rows], ids, documents, texts, told)


def read(folder: Path, media: Method, classes: Sequence[str]) -> Arrays:
    """All records of a folder of shards; a picture of another size or mode is converted by the media method.

    Raises:
        ConfigError: they would take too much memory.
        DataError: a record cannot be decoded, holds a value that is no number, or has a label that is no class.
    """
    shape = media.module.shape(media.cfg)
    rows = shards.count(folder)
    check_memory(rows, shape)
    levels = np.empty((rows, *shape), dtype=np.uint8)
    labels = np.full(rows, len(classes), dtype=np.int64)
    numbers = {name: number for number, name in enumerate(classes)}
    ids, documents, texts = list[str](), list[str](), list[str]()
    for row, record in enumerate(shards.read(folder)):
        levels[row] = to_levels(_array(record, media, shape))
        if record.label is not None:
            labels[row] = _number(record, numbers)
        ids.append(record.id)
        documents.append(document(record))
        texts.append(record.text)
    return Arrays(levels, labels, ids, documents, texts)


def with_captions(data: Arrays, classes: Sequence[str], encoder: Path, tokens: int) -> Arrays:
    """The same rows with captions as a text encoder reads them; a row without one is told the name of its class.

    Args:
        data: as `read`.
        classes: names of the labels.
        encoder: a Hugging Face folder.
        tokens: of a caption.
    """
    network, tokenizer = models.read_transformers(encoder, "AutoModel")
    names = [*classes, ""]
    texts = [text or names[label] for text, label in zip(data.texts, data.labels, strict=True)]
    distinct = sorted(set(texts))
    check_memory(len(distinct), (4, tokens, network.config.hidden_size))
    place = torch.tensor([bisect_left(distinct, text) for text in texts])
    return data._replace(told=Told(captions.read(distinct, network, tokenizer, tokens), place))


def check_memory(rows: int, shape: tuple[int, ...]) -> None:
    """Refuse a data set before it is decoded, not when memory is full.

    Raises:
        ConfigError: its levels would take more than MEMORY_SHARE of the free memory.
    """
    import psutil

    wanted, free = rows * math.prod(shape), psutil.virtual_memory().available
    if wanted > free * MEMORY_SHARE:
        raise ConfigError(
            f"expected a data set of at most {MEMORY_SHARE:.0%} of the free {free / 1e9:.1f} GB, got {rows} rows of "
            f"{math.prod(shape)} bytes, {wanted / 1e9:.1f} GB. Make judge.media smaller, or train on fewer rows."
        )


def _array(record: Record, media: Method, shape: tuple[int, ...]) -> Any:
    x = media.module.array(record, media.cfg)
    if x.shape != shape or not np.isfinite(x).all():
        raise DataError(
            f"record {record.id} ({record.source}): expected finite numbers of shape {shape}, got shape {x.shape} "
            f"with {int((~np.isfinite(x)).sum())} that are not finite. Drop it in clean."
        )
    return x


def _number(record: Record, numbers: dict[str, int]) -> int:
    if record.label not in numbers:
        raise DataError(
            f"record {record.id} ({record.source}): expected a label that the judge knows "
            f"({', '.join(numbers) or 'none'}), got {record.label!r}. Run: dvc repro judge"
        )
    return numbers[record.label]
