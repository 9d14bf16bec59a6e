"""A recipe over a language model in memory: its passes one after the other, each kept layer by layer."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nightforge import models, scoring, tokenizer
from nightforge.batching import Data
from nightforge.blocks import Rows
from nightforge.compress._pass import Given
from nightforge.corpus import corpus
from nightforge.held import Held, Tensors
from nightforge.scoring import Encoded
from tasks import shards
from tasks.compressing import Inputs, Recipe
from tasks.progress import report

BATCH_TOKENS = 4096
VALIDATION_DOCUMENTS = 400


def given(inputs: Inputs, words: Any, context: int, size_mb_max: float | None) -> Given:
    """What passes may ask for; nothing is read before it is asked, but for the calibration rows."""

    def encoded(split: str) -> list[Encoded]:
        return list(tokenizer.encode_all(words, shards.read(inputs.splits / split)))

    def data() -> Data:
        return corpus(iter(encoded("train")), context)

    looked_at: list[Encoded] = []

    def validate(model: Any) -> float:
        if not looked_at:
            looked_at.extend(encoded("validation")[:VALIDATION_DOCUMENTS])
        nats = scoring.document_nats(models.logits_fn(model), looked_at, BATCH_TOKENS, context)
        return float(nats.sum() / scoring.text_tokens(looked_at).sum())

    return Given(
        calibration=rows(encoded("calibration"), inputs.cfg.calibration_tokens or 0, context),
        teacher=lambda: models.load(inputs.dense).model,
        data=data,
        validate=validate,
        size_mb_max=size_mb_max,
        seed=inputs.seed,
        keep=lambda name, make: make(),
    )


def rows(documents: list[Encoded], tokens: int, context: int) -> list[Rows]:
    """The first documents that hold so many tokens, in batches of like length."""
    taken: list[list[int]] = []
    for one in documents:
        taken += [piece for piece in scoring.pieces(one.ids, context) if len(piece) > 1]
        if sum(map(len, taken)) >= tokens:
            break
    padded = (
        scoring.padded([taken[i] for i in chosen], fill=0)
        for chosen in scoring.batches([len(piece) for piece in taken], BATCH_TOKENS)
    )
    return [Rows(torch.from_numpy(ids), torch.from_numpy(mask).bool()) for ids, mask in padded]


def applied(recipe: Recipe, held: Held, may_ask: Given, kept: Path) -> Held:
    """Pass after pass. What one keeps lies in a folder of its own, by all passes so far: a recipe that was cut off goes
    on there, and one that begins as another takes over what that made."""
    so_far = hashlib.sha256()
    for at, method in enumerate(recipe):
        report(at, len(recipe), f"pass {method.name}")
        so_far.update(json.dumps([method.name, method.cfg.model_dump(mode="json")], sort_keys=True).encode())
        own = replace(may_ask, keep=keeper(kept / f"{at}-{method.name}-{so_far.hexdigest()[:12]}"))
        held = method.module.apply(held, own, method.cfg)
    return held


def keeper(folder: Path) -> Callable[[str, Callable[[], Tensors]], Tensors]:
    """Tensors by key, as safetensors in a folder; a file that is there is whole."""
    from safetensors.torch import load_file, save_file

    def keep(name: str, make: Callable[[], Tensors]) -> Tensors:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            made = {key: value.detach().clone().contiguous() for key, value in make().items()}
            path.parent.mkdir(parents=True, exist_ok=True)
            half = path.with_suffix(".half")
            save_file(made, half)
            half.rename(path)
            return made
        found: Tensors = load_file(path)
        return found

    return keep
