"""A recipe over a language model in memory: its passes one after the other, each kept layer by layer."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge import models, scoring, tokenizer
from nightforge.batching import Data
from nightforge.blocks import Rows
from nightforge.compress._pass import Given
from nightforge.corpus import corpus
from nightforge.errors import DataError
from nightforge.held import Held, Tensors, stored_bits
from nightforge.scoring import Encoded
from tasks import shards
from tasks.compressing import Inputs, Recipe
from tasks.progress import report
from tasks.score import kl_nats

BATCH_TOKENS = 4096
TOKENS_MIN = 256
"""Of calibration; what fewer say of a layer's inputs is chance."""
PROOF_TOKENS = 128
"""Of the calibration rows, that each pass is proven on."""
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

    asked = inputs.cfg.calibration_tokens or 0
    calibration = rows(encoded("calibration"), asked, context)
    have = sum(int(one.mask.sum()) for one in calibration)
    if have < TOKENS_MIN:
        raise DataError(
            f"calibration split: expected {TOKENS_MIN} tokens or more, in documents of two or more, found {have}. Give "
            "it a larger share (split.shares), or more data."
        )
    if have < asked:
        print(f"calibration: {asked:,} tokens are asked, and {have:,} are all that there are", flush=True)
    return Given(
        calibration=calibration,
        teacher=lambda: models.load(inputs.dense).model,
        data=data,
        validate=validate,
        size_mb_max=size_mb_max,
        seed=inputs.seed,
        keep=lambda name, make: make(),
        matrix_bits=matrix_bits(inputs),
    )


def matrix_bits(inputs: Inputs) -> int:
    """Bits of a weight of a matrix that no pass rounds, as the exporter stores it."""
    return 16 if getattr(inputs.cfg.export.cfg, "rest", None) == "fp16" else 32


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


def applied(
    recipe: Recipe, held: Held, may_ask: Given, kept: Path, after: Callable[[str, Held], None] = lambda *_: None
) -> Held:
    """Pass after pass. What one keeps lies in a folder of its own, by all passes so far: a recipe that was cut off goes
    on there, and one that begins as another takes over what that made. `after` is called with the name of each."""
    so_far = hashlib.sha256()
    for at, method in enumerate(recipe):
        report(at, len(recipe), f"pass {method.name}")
        so_far.update(json.dumps([method.name, method.cfg.model_dump(mode="json")], sort_keys=True).encode())
        own = replace(may_ask, keep=keeper(kept / f"{at}-{method.name}-{so_far.hexdigest()[:12]}"))
        held = method.module.apply(held, own, method.cfg)
        after(method.name, held)
    return held


def proof(inputs: Inputs, held: Held, may_ask: Given) -> Callable[[str, Held], None]:
    """What notes the effect of each pass, for `applied`: weights that differ from the dense model's, the bytes of all,
    and the nats a token between both models on the first calibration rows.

    Args:
        inputs: of which the dense folder is used.
        held: the dense model, before any pass.
        may_ask: of which the calibration rows are used.
    """
    looked_at = may_ask.calibration[0]
    rows = Rows(*(part[: max(1, PROOF_TOKENS // looked_at.ids.shape[1])] for part in looked_at))
    dense, seen = _logits(held.model, rows), [(0.0, stored_bits(held, may_ask.matrix_bits) / 8e6, 0.0)]

    def after(name: str, held: Held) -> None:
        logits, mb = _logits(held.model, rows), stored_bits(held, may_ask.matrix_bits) / 8e6
        seen.append((changed_share(held.model, inputs.dense), mb, kl_nats(dense, logits)))
        idle = seen[-1] == seen[-2]
        figures = dict(zip(("changed_share", "weights_mb", "kl_nats"), seen[-1], strict=True))
        held.notes.append((f"after {name}, which had no effect" if idle else f"after {name}", figures))

    return after


def changed_share(model: Any, dense: Path) -> float:
    """The share of the weights that are not as in the dense folder; of a layer of another shape, all. One at a time."""
    from safetensors import safe_open

    found, changed = dict(model.named_parameters()), 0
    for file in sorted(dense.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in found.keys() & {*tensors.keys()}:
                now, was = found.pop(name).detach(), tensors.get_tensor(name).float()
                changed += int((now != was).sum()) if now.shape == was.shape else now.numel()
    changed += sum(p.numel() for p in found.values())
    return float(changed / sum(p.numel() for p in model.parameters()))


@torch.inference_mode()
def _logits(model: Any, rows: Rows) -> NDArray[np.float32]:
    found: NDArray[np.float32] = model(rows.ids, attention_mask=rows.mask, use_cache=False).logits[rows.mask].numpy()
    return found


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
