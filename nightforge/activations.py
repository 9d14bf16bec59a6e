"""How activations go through the depth of a network before its first step, and how fewer of them can be kept.

Where their variance shrinks or grows from layer to layer, so do gradients (Glorot & Bengio 2010; He et al. 2015).
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from nightforge.errors import ConfigError
from nightforge.parameters import untouched

SANE_RATIO = 1e4
"""The variance of the last layer's output ÷ that of the first may be so much, or one over it: a sum of fifty residual
branches is well within, twenty plain layers that each lose half are not."""


def variances(model: Any, losses: Callable[[Any], object]) -> dict[str, float]:
    """Variance of each layer's output, layers in the order in which they are called; the model is as before.

    Args:
        model: in training mode, as the first step finds it.
        losses: calls the network on a batch, in whatever way its family does.
    """
    seen: dict[str, float] = {}

    def look(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if name not in seen and isinstance(first, torch.Tensor):
                seen[name] = float(first.detach().float().var(correction=0))

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in layers(model)]
    try:
        with untouched(model):
            losses(model)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def layers(model: Any) -> list[tuple[str, Any]]:
    """The numbered modules that lie in no other numbered one (blocks); without any, those with weight matrices."""
    named = [(name, module) for name, module in model.named_modules() if name]
    numbered = [
        (name, module)
        for name, module in named
        if name.split(".")[-1].isdigit() and not any(part.isdigit() for part in name.split(".")[:-1])
    ]
    return numbered or [(n, m) for n, m in named if any(p.ndim > 1 for p in m.parameters(recurse=False))]


def summary(seen: dict[str, float]) -> dict[str, float]:
    """The variance of the `first` and the `last` layer's output, and their `ratio`; empty where nothing was seen."""
    if not seen:
        return {}
    first, *_, last = *seen.values(), *seen.values()
    return {"first": first, "last": last, "ratio": last / first if first else 0.0}


def warning(figures: dict[str, float]) -> str:
    """What is wrong with a `summary`, in words; empty where nothing is."""
    ratio = figures.get("ratio", 1.0)
    if math.isfinite(ratio) and 1 / SANE_RATIO <= ratio <= SANE_RATIO:
        return ""
    what = "vanish" if ratio < 1 else "explode"
    return (
        f"activations {what}: the last layer's variance is {ratio:.1e} of the first's before the first step. Choose "
        "another train.initialise, or a normalisation between layers"
    )


def recompute(model: Any) -> None:
    """Keep only the input of each block for the backward pass, and compute its inside anew (Chen et al. 2016).

    Less memory, about a third more time, the same gradients (arXiv 1604.06174).

    Raises:
        ConfigError: no part of the network knows how.
    """
    ways = {"gradient_checkpointing_enable": [{"use_reentrant": False}], "enable_gradient_checkpointing": []}
    for name, arguments in ways.items():  # of transformers, which tells its parts, and of diffusers
        able = [module for module in model.modules() if hasattr(module, name)]
        try:
            for module in able[:1] if arguments else able:
                getattr(module, name)(*arguments)
        except ValueError as e:  # a class that has the method and not the ability
            raise ConfigError(f"train.loop.recompute: {e} Set it to false.") from None
        if able:
            return
    raise ConfigError(
        f"train.loop.recompute: expected a network of transformers or diffusers, got a {type(model).__name__}, which "
        "keeps all its activations. Set it to false, and lower train.loop.batch_size if memory is short."
    )
