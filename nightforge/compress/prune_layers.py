"""Whole blocks are taken out: the model gets shallower, and every part of it that runs gets faster in proportion.

By influence: Men et al. 2024 (ShortGPT, 2403.03853, §3.2), who found those blocks dispensable whose output hardly turns
from their input; by loss: one after the other, the block without which the calibration rows cost least; evenly spaced:
the student that DistilBERT begins with (Sanh et al. 2019, 1910.01108, §3), to be trained by `distill`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch.nn import functional

from nightforge import blocks, config
from nightforge.blocks import Rows
from nightforge.compress import _shrink
from nightforge.compress._context import Context
from nightforge.compress._pass import Footprint, Given
from nightforge.errors import ConfigError
from nightforge.held import Held, Tensors

COMPATIBLE, KIND, AFTER = _shrink.COMPATIBLE, _shrink.KIND, _shrink.AFTER
BLOCK = re.compile(r"^(model\.layers\.)(\d+)(\..*)$")


class Config(config.Config):
    """How many blocks, and which."""

    remove: int = Field(ge=1)
    """Blocks that are taken out."""
    by: Literal["influence", "loss", "even"]
    """`influence`: those that turn what passes through them least, in one look at the calibration rows; `loss`: those
    without which the rows cost least, which takes a look at them for each block that is left, `remove` times; `even`:
    such that those that stay are evenly spaced, the first and the last among them."""


SAMPLE = Config(remove=1, by="influence")


def check(context: Context, cfg: Config) -> None:
    """Refuse a model that is built otherwise, or one that has too few blocks.

    Raises:
        ConfigError: such a model.
    """
    _shrink.refuse("prune_layers", context, ["self_attn.o_proj"])
    _enough(len(_numbers(context.shapes)), cfg)


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """What is left without some of the blocks, which are of one size."""
    gone = set(sorted(_numbers(footprints))[-cfg.remove :])
    return {n: one for n, one in footprints.items() if not ((found := BLOCK.match(n)) and int(found[2]) in gone)}


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Take blocks out and number the rest anew; `held` is changed in place.

    Raises:
        ConfigError: too few would stay, or stock transformers has no such model.
    """
    model = held.model
    count = len(blocks.layers(model))
    _enough(count, cfg)
    if cfg.by == "loss":
        stay = _by_loss(model, given, cfg.remove)
    elif cfg.by == "even":
        stay = evenly(count, count - cfg.remove)
    else:
        found = given.keep("influence", lambda: {"influence": influence(model, given.calibration)})
        stay = _shrink.most(found["influence"], count - cfg.remove).tolist()
    changes = _changes(model, stay)
    shapes = _shrink.planned(model, changes)
    model.model.layers = torch.nn.ModuleList(model.model.layers[i] for i in stay)
    for at, block in enumerate(model.model.layers):
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = at  # where its keys and values lie in the cache
    _shrink.settle(model, changes, shapes)
    held.skipped = _renumbered(held.skipped, stay)
    return held


def evenly(there: int, wanted: int) -> list[int]:
    """Numbers of so many of the blocks, evenly spaced; of one, the first."""
    gaps = max(1, wanted - 1)
    return [(2 * i * (there - 1) + gaps) // (2 * gaps) for i in range(wanted)]  # the nearest, halves up


@torch.no_grad()
def influence(model: Any, calibration: Sequence[Rows]) -> torch.Tensor:
    """1 − the mean cosine between what goes into each block and what comes out, over all real tokens: (blocks,)."""
    each = blocks.layers(model)
    summed, tokens = torch.zeros(len(each), dtype=torch.float64), 0
    cosines: list[torch.Tensor] = []

    def note(_: Any, args: tuple[torch.Tensor, ...], out: Any) -> None:
        cosines.append(functional.cosine_similarity(args[0], out[0] if isinstance(out, tuple) else out, dim=-1))

    handles = [block.register_forward_hook(note) for block in each.values()]
    try:
        for rows in calibration:
            cosines.clear()
            model.model(input_ids=rows.ids, use_cache=False)
            summed += torch.stack(cosines)[:, rows.mask].double().sum(1)
            tokens += int(rows.mask.sum())
    finally:
        for handle in handles:
            handle.remove()
    return 1 - summed / max(1, tokens)


def _by_loss(model: Any, given: Given, remove: int) -> list[int]:
    """The blocks that stay when, one after the other, the one goes without which the loss is least."""
    stay = list(range(len(blocks.layers(model))))
    for step in range(remove):

        def measured() -> Tensors:
            each = []
            for one in stay:
                with _only(model, [i for i in stay if i != one]):
                    each.append(_nats(model, given.calibration))
            return {"nats": torch.tensor(each, dtype=torch.float64)}

        del stay[int(given.keep(f"without_{step}", measured)["nats"].argmin())]
    return stay


@contextmanager
def _only(model: Any, stay: Sequence[int]) -> Iterator[None]:
    """The model with some of its blocks; nothing is kept in a cache meanwhile, so their numbers do not matter."""
    whole, changes = model.model.layers, _changes(model, stay)
    before = {key: getattr(model.config, key) for key in changes}
    model.model.layers = torch.nn.ModuleList(whole[i] for i in stay)
    vars(model.config).update(changes)
    try:
        yield
    finally:
        model.model.layers = whole
        vars(model.config).update(before)


@torch.no_grad()
def _nats(model: Any, calibration: Sequence[Rows]) -> float:
    """Of all real tokens but the first of each row."""
    total = 0.0
    for rows in calibration:
        logits = model(input_ids=rows.ids, use_cache=False).logits[:, :-1]
        targets = rows.ids[:, 1:].masked_fill(~rows.mask[:, 1:], -100)
        total += float(functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum"))
    return total


def _changes(model: Any, stay: Sequence[int]) -> dict[str, Any]:
    """What the config must say of some of the blocks: how many, and each list that has an entry a block."""
    said = model.config.to_dict()
    count = len(blocks.layers(model))
    lists = {k: v for k, v in said.items() if "layer" in k and isinstance(v, list) and len(v) == count}
    return {key: [value[i] for i in stay] for key, value in lists.items()} | {"num_hidden_layers": len(stay)}


def _renumbered(skipped: Mapping[str, str], stay: Sequence[int]) -> dict[str, str]:
    """Reasons by layer, under the numbers that blocks now have."""
    found = {}
    for name, why in skipped.items():
        if (block := BLOCK.match(name)) is None:
            found[name] = why
        elif int(block[2]) in stay:
            found[f"{block[1]}{stay.index(int(block[2]))}{block[3]}"] = why
    return found


def _numbers(tensors: Mapping[str, object]) -> set[int]:
    return {int(found[2]) for name in tensors if (found := BLOCK.match(name))}


def _enough(count: int, cfg: Config) -> None:
    if cfg.remove >= count:
        raise ConfigError(
            f"compress: prune_layers: expected to remove fewer than the {count} blocks there are, got {cfg.remove}."
        )
