"""Replaces words by what a masked language model expects in their place: Kobayashi 2018, arXiv 1805.06201.

The model is any local Hugging Face folder (BERT, RoBERTa, …) among the assets; transformers reads it. All masked places
of a text go through the model in batches, once, whatever number of variants is drawn.
"""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from nightforge import models
from nightforge.augment._models import Local, load
from nightforge.augment._prose import Change, Draw, Varied, prose_words, some, variants
from nightforge.records import Record

Place = tuple[int, str, list[str], list[float]]
"""Where a word stands, the word, what may stand there, and with what probability."""


class Config(Varied):
    """How much is varied, by which model."""

    word_share: float = Field(gt=0, le=1)
    """Share of the words of prose to replace (rounded up)."""
    letters_min: int = Field(ge=1)
    """Letters from which a word may be replaced; capitalised words are names, and stay."""
    asset: str
    """Name of an asset: a Hugging Face folder of a masked language model, with safetensors."""
    candidates: int = Field(ge=1, le=1000)
    """Likeliest tokens that are looked at for a place: whole words of letters may take it."""
    places_max: int = Field(ge=1)
    """Most words of one part that are masked and looked at, evenly spread over it."""
    window_tokens: int = Field(ge=8)
    """Tokens that the model sees around a masked word."""
    batch: int = Field(ge=1, le=4096)
    """Masked words that the model reads at once."""


SAMPLE = Config(
    part="all",
    tries=2,
    word_share=0.1,
    letters_min=4,
    asset="masked_lm",
    candidates=20,
    places_max=64,
    window_tokens=64,
    batch=32,
)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` variants, none where no word has a candidate.

    Raises:
        AssetMissing: the model is not among the assets.
    """
    return variants(record, cfg, rng, partial(_plan, cfg, load(assets, cfg.asset, "AutoModelForMaskedLM")))


def _plan(cfg: Config, local: Local, text: str) -> Draw | None:
    words = prose_words(text)
    found = [(at, word) for at, word in words if len(word) >= cfg.letters_min and word.islower()]
    step = max(1, -(-len(found) // cfg.places_max))
    return some(cfg.word_share, len(words), list(_places(cfg, local, text, found[::step])), _replace)


def _replace(place: Place, rng: random.Random) -> Change:
    at, word, names, weights = place
    return Change(at, word, rng.choices(names, weights)[0])


def _places(cfg: Config, local: Local, text: str, found: list[tuple[int, str]]) -> Iterator[Place]:
    """Each word that the model knows another word for."""
    import torch

    tokenizer, device = local.tokenizer, local.model.device
    around = min(cfg.window_tokens, models.context_length(local.model) - 8) // 2  # 8: RoBERTa counts some for itself
    for first in range(0, len(found), cfg.batch):
        batch = found[first : first + cfg.batch]
        masked = [_masked(tokenizer, text, at, word, around) for at, word in batch]
        width = max(len(ids) for ids, _ in masked)
        rows = [ids + [tokenizer.pad_token_id] * (width - len(ids)) for ids, _ in masked]
        real = [[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in masked]
        with torch.inference_mode():
            out = local.model(
                input_ids=torch.tensor(rows, device=device), attention_mask=torch.tensor(real, device=device)
            )
        logits = out.logits[range(len(rows)), [column for _, column in masked]]  # (batch, vocab)
        likely = logits.float().softmax(dim=-1).topk(min(cfg.candidates, logits.shape[-1]))
        for (at, word), weights, tokens in zip(batch, likely.values.tolist(), likely.indices.tolist(), strict=True):
            fit = {local.words[t]: w for w, t in zip(weights, tokens, strict=True) if local.words[t] not in {"", word}}
            if fit:
                yield at, word, list(fit), list(fit.values())


def _masked(tokenizer: Any, text: str, at: int, word: str, around: int) -> tuple[list[int], int]:
    """Token ids of the text around a word, with a mask for the word and the special tokens; and where the mask is."""
    chars = 8 * around  # more than so many tokens have
    end = at + len(word)
    before = tokenizer.encode(text[max(0, at - chars) : at].rstrip(), add_special_tokens=False)[-around:]
    after = tokenizer.encode(text[end : end + chars], add_special_tokens=False)[:around]
    ids = [tokenizer.cls_token_id, *before, tokenizer.mask_token_id, *after, tokenizer.sep_token_id]
    return ids, len(before) + 1
