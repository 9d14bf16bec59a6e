"""Attention heads are taken out, a key-value head with all query heads that share it: attention and cache get smaller.

Michel et al. 2019 (1905.10650) by first-order loss, or by the energy that a group of heads adds to the residual stream;
by group as LLM-Pruner (2305.11627, §3.1) has it, so that grouped-query attention stays one. What stays of the output
projection is fitted to give what the whole gave. All layers keep as many, as configs have one number.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

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
INTO, BACK = ("q_proj", "k_proj", "v_proj"), "o_proj"


class Config(config.Config):
    """How many fewer."""

    remove: int = Field(ge=1)
    """Key-value heads that are taken out of each layer, with the query heads that share them."""
    importance: _shrink.Importance
    """What a group of heads is worth: what it adds to the residual stream, or what the loss would change without it."""
    damp: float = Field(gt=0, le=1)
    """Of the fit of what stays, as a share of the mean of the diagonal; more where few tokens are calibrated on."""


SAMPLE = Config(remove=1, importance="activation", damp=0.01)


def check(context: Context, cfg: Config) -> None:
    """Refuse a model that is built otherwise.

    Raises:
        ConfigError: such a model.
    """
    _shrink.refuse("prune_heads", context, [f"self_attn.{name}" for name in (*INTO, BACK)])


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """Shapes alone do not say how wide a head is: at least nothing is left of the projections."""
    touched = [f"model.layers.*.self_attn.{name}.*" for name in (*INTO, BACK)]
    return {
        name: one._replace(bits=0) if any(fnmatchcase(name, pattern) for pattern in touched) else one
        for name, one in footprints.items()
    }


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Take heads out layer by layer, each on what those before it give; `held` is changed in place.

    Raises:
        ConfigError: no head would stay, or stock transformers has no such model.
        DataError: a weight is not a finite number.
    """
    model = held.model
    backs = list(blocks.linears(model, [f"model.layers.*.self_attn.{BACK}"]))
    changes, head = _changes(model, cfg)
    shapes = _shrink.planned(model, changes)
    shared = changes["num_attention_heads"] // changes["num_key_value_heads"]
    width = shared * head
    loss = given.keep("importance", lambda: _shrink.first_order(model, given.calibration, backs, width)) if (
        cfg.importance == "taylor"
    ) else {}  # fmt: skip

    def visit(block: str, inside: Mapping[str, torch.nn.Linear], seen: Mapping[str, Moments]) -> None:
        [(name, back)] = inside.items()
        weight, gram = back.weight.detach(), seen[name].gram

        def made() -> Tensors:
            worth = loss[name] if loss else _shrink.energy(weight, gram, width)
            groups = _shrink.most(worth, changes["num_key_value_heads"])
            return {"groups": groups, "weight": _shrink.least_squares(weight, gram, spread(groups, width), cfg.damp)}

        tensors = given.keep(name, made)
        attention = blocks.layers(model)[block].self_attn
        for into, size in zip(INTO, (width, head, head), strict=True):
            _shrink.narrow(getattr(attention, into), spread(tensors["groups"], size))
        _shrink.refill(back, tensors["weight"])

    blocks.walk(model, given.calibration, visit, backs)
    _shrink.settle(model, changes, shapes)
    return held


def spread(groups: torch.Tensor, size: int) -> torch.Tensor:
    """The positions that groups of a size hold: (groups · size,)."""
    return (groups[:, None] * size + torch.arange(size)).flatten()


def _changes(model: Any, cfg: Config) -> tuple[dict[str, int], int]:
    """What the config must say, and the width of a head."""
    heads, groups = model.config.num_attention_heads, model.config.num_key_value_heads
    if cfg.remove >= groups:
        raise ConfigError(
            f"compress: prune_heads: expected to remove fewer than the {groups} key-value heads there are, got "
            f"remove: {cfg.remove}."
        )
    head = model.model.layers[0].self_attn.head_dim
    stay = groups - cfg.remove
    return {"num_attention_heads": heads // groups * stay, "num_key_value_heads": stay, "head_dim": head}, head
