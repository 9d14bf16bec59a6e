"""Texts as points, near for texts that say the same: from their words alone, or by a local sentence encoder.

Words: each word's 128-bit hash, read as ±1, is its row of a random projection (Achlioptas 2003, *Database-friendly
random projections*; the sum's signs are Charikar's SimHash, 2002), so there is no matrix to hold, nothing to fit and
nothing to download. A word counts 1 + ln(occurrences), times its length in characters up to 8: short words are the
frequent ones in most languages (Zipf), and no text collection is needed to know it. It sees shared words, not synonyms.

Encoder: a Hugging Face folder among the assets; the mean of the last layer over the tokens (Reimers & Gurevych 2019,
arXiv 1908.10084), brought to as many dimensions by a fixed Gaussian projection. Cosines survive a projection to 128
dimensions with a standard error of (1 - cosine²) / √128: 0.017 at a cosine of 0.9 (Johnson & Lindenstrauss).
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import Field

from nightforge import assets as laid
from nightforge import models
from nightforge.config import Config
from nightforge.errors import ConfigError
from nightforge.words import folded

DIMS = 128
LONGEST = 8
"""Characters from which a longer word counts no more."""

Floats = npt.NDArray[np.float32]
Packed = npt.NDArray[np.int8]


class Embedding(Config):
    """How texts become points."""

    encoder: str | None
    """Name of an asset: a local Hugging Face folder of a sentence encoder; null: the words alone, no asset needed."""
    batch_texts: int = Field(ge=1, le=1024)
    """Texts that the encoder reads at once; words need no batches."""


def embed(texts: Sequence[str], cfg: Embedding, assets: Path | None = None) -> Floats:
    """(texts, DIMS) of length 1; all zeros for a text without words. Equal on every machine but for the encoder's
    last digits.

    Raises:
        ConfigError: an encoder is named, and no folder of assets given.
        AssetMissing: the encoder is not among the assets, or has no safetensors.
    """
    if cfg.encoder is None:
        found = np.stack([of_words(folded(text)) for text in texts]) if texts else np.empty((0, DIMS), np.float32)
    elif assets is None:
        raise ConfigError(f"expected words alone (encoder: null), got the encoder {cfg.encoder}: no assets here.")
    else:
        found = _encoded(texts, assets, cfg)
    return unit(found)


def unit(vectors: Floats) -> Floats:
    """Each row made 1 long; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: Floats = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return made


def pack(vectors: Floats) -> Packed:
    """In one byte a dimension, the largest as ±127; the length is lost, cosines keep within 0.01."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = np.divide(127 * vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    packed: Packed = np.rint(scaled).astype(np.int8)
    return packed


def of_words(words: Sequence[str]) -> Floats:
    """(DIMS,) of the folded words of a text, of whatever length."""
    counts = Counter(words)
    if not counts:
        return np.zeros(DIMS, np.float32)
    hashes = b"".join(xxhash.xxh3_128_digest(word.encode("utf-8", "surrogatepass")) for word in counts)
    signs = np.unpackbits(np.frombuffer(hashes, np.uint8).reshape(-1, DIMS // 8), axis=1)  # (words, DIMS)
    weights = np.array([min(len(word), LONGEST) for word in counts]) * (1 + np.log(list(counts.values())))
    # Whole numbers add up to the same in any order, so the sum does not depend on the machine.
    whole = np.rint(1000 * weights).astype(np.int64)
    total = 2 * (whole[:, None] * signs).sum(axis=0) - whole.sum()
    point: Floats = total.astype(np.float32)
    return point


def _encoded(texts: Sequence[str], assets: Path, cfg: Embedding) -> Floats:
    """Batches are of texts of like length, so that little of them is padding."""
    import torch

    tokenizer, model = _loaded(laid.folder(assets, str(cfg.encoder), "a Hugging Face folder of a sentence encoder"))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = np.zeros((len(texts), model.config.hidden_size), np.float32)
    for at in range(0, len(order), cfg.batch_texts):
        rows = order[at : at + cfg.batch_texts]
        tokens = tokenizer(
            [texts[i] for i in rows],
            padding=True,
            truncation=True,
            max_length=models.window(model, tokenizer),
            return_tensors="pt",
        )
        with torch.inference_mode():
            last = model(**tokens).last_hidden_state  # (batch, seq, hidden)
        real = tokens["attention_mask"][:, :, None]
        mean = (last * real).sum(1) / real.sum(1).clamp(min=1)
        found[rows] = mean.numpy()
    return found @ _projection(found.shape[1])


def _projection(size: int) -> Floats:
    return np.random.default_rng(DIMS).standard_normal((size, DIMS)).astype(np.float32) / np.float32(DIMS**0.5)


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> tuple[Any, Any]:
    model, tokenizer = models.read_transformers(folder, "AutoModel")
    return tokenizer, model.eval()
