"""A causal language model block by block: what goes into each of its linear layers, as those before it have become.

One block's statistics are held at a time, so memory grows by a layer and not by the model. Blocks are called with the
arguments that the model itself gave them (masks, positions): driven by hand they give other numbers (sparsegpt#44).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any, NamedTuple

import torch

from nightforge.errors import ConfigError, DataError

HEAD, EMBEDDING = "lm_head", "model.embed_tokens"
FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers of one input, which runtimes compute as one where they are held alike."""


class Rows(NamedTuple):
    """Token rows to calibrate on, padded on the right."""

    ids: torch.Tensor
    """(rows, seq) int64."""
    mask: torch.Tensor
    """(rows, seq) bool: real tokens."""


@dataclass(slots=True)
class Moments:
    """Of what goes into a linear layer, over all real tokens."""

    gram: torch.Tensor
    """Σ xᵀx: (inputs, inputs) float32."""
    abs_sum: torch.Tensor
    """Σ |x|: (inputs,)."""
    abs_max: torch.Tensor
    """(inputs,)."""
    tokens: int

    @property
    def mean_square(self) -> torch.Tensor:
        """(inputs,)."""
        return self.gram.diagonal() / max(1, self.tokens)

    @property
    def mean_abs(self) -> torch.Tensor:
        """(inputs,)."""
        return self.abs_sum / max(1, self.tokens)


Visit = Callable[[str, Mapping[str, torch.nn.Linear], Mapping[str, Moments]], None]
"""(block's name, its linear layers by name, what goes into each): changes the layers in place."""


def layers(model: Any) -> dict[str, Any]:
    """The blocks of the decoder, by name, in order.

    Raises:
        ConfigError: the model is not built like Llama.
    """
    blocks = getattr(getattr(model, "model", None), "layers", None)
    if blocks is None:
        raise ConfigError(
            f"expected a model whose blocks are in model.layers, as Llama's are; got {type(model).__name__}."
        )
    return {f"model.layers.{i}": block for i, block in enumerate(blocks)}


def linears(model: Any, patterns: Sequence[str], table: bool = False) -> dict[str, torch.nn.Linear]:
    """The linear layers whose names match one of the patterns (`model.layers.*.mlp.*`, `lm_head`).

    Args:
        model: a causal LM.
        patterns: of names.
        table: whether the table of embeddings counts as one, where it is not the output projection too.

    Raises:
        ConfigError: a pattern matches none.
        DataError: a weight is not a finite number.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    if table and (embedding := model.get_input_embeddings()).weight is not getattr(found.get(HEAD), "weight", None):
        found[EMBEDDING] = embedding
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise ConfigError(
                f"expected linear layers named like {pattern!r}; there are {', '.join(sorted(found)[:9])} …"
            )
    named = {name: found[name] for name in found if any(fnmatchcase(name, pattern) for pattern in patterns)}
    for name, layer in named.items():
        if not layer.weight.isfinite().all():
            raise DataError(f"{name}: expected finite weights, some are not. The model cannot be used; train it anew.")
    return named


def fused(names: Sequence[str]) -> list[list[int]]:
    """Places of the layers that runtimes compute as one, if they may; any other layer is alone."""
    found: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        block, _, last = name.rpartition(".")
        found.setdefault(next((f"{block}.{one[0]}" for one in FUSED if last in one), name), []).append(at)
    return list(found.values())


@torch.no_grad()
def walk(model: Any, calibration: Sequence[Rows], visit: Visit, wanted: Sequence[str]) -> None:
    """Visit each block, and last the output projection, with the moments of those linear layers that are wanted.

    A block sees what the visited ones before it give.

    Args:
        model: a causal LM in evaluation mode, changed in place.
        calibration: rows of tokens.
        visit: see Visit; called only where a layer is wanted.
        wanted: names of linear layers.
    """
    hidden, kwargs = _entered(model, calibration)
    for name, block in layers(model).items():
        inside = {f"{name}.{key}": m for key, m in block.named_modules() if f"{name}.{key}" in wanted}
        if inside:
            visit(name, inside, _observed(block, inside, hidden, [k[name] for k in kwargs], calibration))
        hidden = [_call(block, x, k[name]) for x, k in zip(hidden, kwargs, strict=True)]
    if HEAD in wanted:
        each = (moments(model.model.norm(x)[rows.mask]) for x, rows in zip(hidden, calibration, strict=True))
        visit(HEAD, {HEAD: model.lm_head}, {HEAD: reduce(_added, each)})


def moments(x: torch.Tensor) -> Moments:
    """Of inputs (tokens, inputs)."""
    x = x.float()
    return Moments(x.T @ x, x.abs().sum(0), x.abs().amax(0), len(x))


def _entered(model: Any, calibration: Sequence[Rows]) -> tuple[list[torch.Tensor], list[dict[str, dict[str, Any]]]]:
    """What goes into the first block, and with what else each block is called, for each batch of rows."""
    blocks = layers(model)
    hidden: list[torch.Tensor] = []
    kwargs: list[dict[str, dict[str, Any]]] = []

    def note(name: str) -> Any:
        def hook(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            if not kwargs[-1]:
                hidden.append(args[0])
            kwargs[-1][name] = named

        return hook

    handles = [block.register_forward_pre_hook(note(name), with_kwargs=True) for name, block in blocks.items()]
    try:
        for rows in calibration:
            kwargs.append({})
            model.model(input_ids=rows.ids, use_cache=False)  # padding on the right cannot reach a real token
    finally:
        for handle in handles:
            handle.remove()
    return hidden, kwargs


def _observed(
    block: Any,
    inside: Mapping[str, torch.nn.Linear],
    hidden: Sequence[torch.Tensor],
    kwargs: Sequence[dict[str, Any]],
    calibration: Sequence[Rows],
) -> dict[str, Moments]:
    """Moments of each linear layer's input; layers that share an input (query, key and value) share them."""
    found: dict[str, Moments] = {}
    seen: dict[int, tuple[torch.Tensor, str]] = {}

    def note(name: str, mask: torch.Tensor) -> Any:
        def hook(_: Any, args: tuple[Any, ...]) -> None:
            x = args[0]
            if (first := seen.get(id(x))) is not None and first[1] != name:
                found[name] = found[first[1]]
                return
            seen[id(x)] = (x, name)
            new = moments(x[mask])
            old = found.get(name)
            found[name] = new if old is None else _added(old, new)

        return hook

    for x, named, rows in zip(hidden, kwargs, calibration, strict=True):
        seen.clear()
        handles = [m.register_forward_pre_hook(note(name, rows.mask)) for name, m in inside.items()]
        try:
            _call(block, x, named)
        finally:
            for handle in handles:
                handle.remove()
    return found


def _added(old: Moments, new: Moments) -> Moments:
    """In place in `old`, which layers of one input share."""
    old.gram += new.gram
    old.abs_sum += new.abs_sum
    torch.maximum(old.abs_max, new.abs_max, out=old.abs_max)
    old.tokens += new.tokens
    return old


def _call(block: Any, hidden: torch.Tensor, named: Mapping[str, Any]) -> torch.Tensor:
    out = block(hidden, **named)
    first: torch.Tensor = out[0] if isinstance(out, tuple) else out
    return first
