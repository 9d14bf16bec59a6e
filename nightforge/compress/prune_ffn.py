"""Neurons of the feed-forward layers are taken out: the layers get narrower, and the model smaller and faster.

Importance by activation: the energy that a neuron adds to the residual stream (the structured form of Wanda's measure);
by first-order loss: Molchanov et al. 2019 (1906.10771) as LLM-Pruner (2305.11627) has it. What stays of the projection
back is fitted to give what the whole gave (`_shrink.least_squares`). All layers get one width, as configs have one.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

import torch
from pydantic import Field

from nightforge import blocks, config
from nightforge.blocks import Moments
from nightforge.compress import _shrink
from nightforge.compress._context import Context
from nightforge.compress._pass import Footprint, Given
from nightforge.errors import ConfigError
from nightforge.held import Held, Tensors

COMPATIBLE, KIND, AFTER = _shrink.COMPATIBLE, _shrink.KIND, _shrink.AFTER
INTO, BACK = ("gate_proj", "up_proj"), "down_proj"


class Config(config.Config):
    """How much narrower."""

    share: float = Field(gt=0, lt=1)
    """Share of the neurons of each layer that is taken out, at least."""
    multiple: Literal[1, 8, 16, 32, 64, 128]
    """The width that stays is a multiple of this: kernels and blocks of integers like 32."""
    importance: _shrink.Importance
    """What a neuron is worth: what it adds to the residual stream, or what the loss would change without it."""
    damp: float = Field(gt=0, le=1)
    """Of the fit of what stays, as a share of the mean of the diagonal; more where few tokens are calibrated on."""


SAMPLE = Config(share=0.2, multiple=32, importance="activation", damp=0.01)


def check(context: Context, cfg: Config) -> None:
    """Refuse a model that is built otherwise, and a share that leaves nothing or takes nothing.

    Raises:
        ConfigError: such a model or share.
    """
    _shrink.refuse("prune_ffn", context, [f"mlp.{name}" for name in (*INTO, BACK)])
    left(context.shapes[f"model.layers.0.mlp.{BACK}.weight"][1], cfg)


def left(width: int, cfg: Config) -> int:
    """Neurons that stay of so many.

    Raises:
        ConfigError: none would stay.
    """
    stays = int(width * (1 - cfg.share) + 1e-9) // cfg.multiple * cfg.multiple
    if stays == 0:
        raise ConfigError(
            f"compress: prune_ffn: share {cfg.share:g} of {width} neurons leaves no multiple of {cfg.multiple}. "
            f"Take a smaller share or multiple."
        )
    return stays


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """What the tensors take once they are narrower."""

    def narrower(name: str, one: Footprint) -> Footprint:
        if any(fnmatchcase(name, f"model.layers.*.mlp.{into}.*") for into in INTO):
            return one._replace(shape=(left(one.shape[0], cfg), *one.shape[1:]))
        if fnmatchcase(name, f"model.layers.*.mlp.{BACK}.weight"):
            return one._replace(shape=(one.shape[0], left(one.shape[1], cfg)))
        return one

    return {name: narrower(name, one) for name, one in footprints.items()}


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Narrow layer by layer, each on what the narrower ones before it give; `held` is changed in place.

    Raises:
        ConfigError: stock transformers has no such model.
        DataError: a weight is not a finite number.
    """
    model = held.model
    changes = {"intermediate_size": left(model.config.intermediate_size, cfg)}
    shapes = _shrink.planned(model, changes)
    backs = list(blocks.linears(model, [f"model.layers.*.mlp.{BACK}"]))
    loss = given.keep("importance", lambda: _shrink.first_order(model, given.calibration, backs, 1)) if (
        cfg.importance == "taylor"
    ) else {}  # fmt: skip

    def visit(block: str, inside: Mapping[str, torch.nn.Linear], seen: Mapping[str, Moments]) -> None:
        [(name, back)] = inside.items()
        weight, gram = back.weight.detach(), seen[name].gram

        def made() -> Tensors:
            worth = loss[name] if loss else _shrink.energy(weight, gram, 1)
            kept = _shrink.most(worth, changes["intermediate_size"])
            return {"kept": kept, "weight": _shrink.least_squares(weight, gram, kept, cfg.damp)}

        tensors = given.keep(name, made)
        mlp = blocks.layers(model)[block].mlp
        for into in INTO:
            _shrink.narrow(getattr(mlp, into), tensors["kept"])
        _shrink.refill(back, tensors["weight"])
        mlp.intermediate_size = changes["intermediate_size"]

    blocks.walk(model, given.calibration, visit, backs)
    _shrink.settle(model, changes, shapes)
    return held
