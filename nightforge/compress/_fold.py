"""Scales moved from what goes into linear layers to what gives it, which leaves the model's function as it is.

Where the inputs of layers come channel by channel from a norm's weight or from another layer's outputs, dividing those
by s and multiplying the layers' columns by s changes nothing but how well each can be rounded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from nightforge import blocks
from nightforge.blocks import Moments, Rows
from nightforge.compress._pass import Footprint, Given, Kind
from nightforge.errors import ConfigError
from nightforge.held import Factored, Held, Tensors

KIND: Kind = "smooth"
AFTER: set[Kind] = {"smooth", "prune", "shrink", "factor", "train"}
TOLERANCE = 1e-3
"""Of the largest logit: above it, another function was computed."""
LIKE_LLAMA = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.v_proj": ("self_attn.o_proj",),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.up_proj": ("mlp.down_proj",),
}
"""What gives the inputs of which layers, within a block."""


class Fold(NamedTuple):
    """A place where scale can be moved."""

    source: torch.nn.Module
    """With a weight whose first axis is its channels."""
    targets: dict[str, torch.nn.Linear]
    """Layers by name, which all take what the source gives, and nothing else does."""
    width: int
    """Channels that lie side by side: of one head, where heads share keys and values; all of them elsewhere."""
    repeats: int
    """How often each such group goes in, one after the other."""

    def spread(self, scales: torch.Tensor) -> torch.Tensor:
        """Of the source's channels (channels,) → of the targets' inputs (channels · repeats,)."""
        return scales.reshape(-1, 1, self.width).expand(-1, self.repeats, -1).reshape(-1)

    def gathered(self, per_input: torch.Tensor) -> torch.Tensor:
        """Of the targets' inputs → of the channels, the largest of those that share one."""
        return per_input.reshape(-1, self.repeats, self.width).amax(1).reshape(-1)


def least(footprints: Mapping[str, Footprint], cfg: object) -> dict[str, Footprint]:
    """Nothing becomes smaller."""
    return dict(footprints)


def smooth(
    held: Held,
    given: Given,
    patterns: Sequence[str],
    scales: Callable[[Fold, Mapping[str, Moments]], torch.Tensor],
) -> Held:
    """Move scale block by block, wherever all layers that take it are named by a pattern.

    Args:
        held: changed in place.
        given: of which the calibration rows and `keep` are used.
        patterns: of layers' names, as nightforge.blocks.linears takes them.
        scales: (fold, moments of its targets' inputs by name) → s of the source's channels, > 0.

    Raises:
        ConfigError: the model is not built like Llama, or the model computes something else afterwards.
    """
    wanted = set(blocks.linears(held.model, patterns))
    found = {name: folds(held.model, name, block) for name, block in blocks.layers(held.model).items()}
    taken = {t for of in found.values() for fold in of for t in fold.targets if set(fold.targets) <= wanted}
    held.skipped.update(dict.fromkeys(wanted - taken, "not smoothed: its inputs come from no norm or layer of its own"))

    def visit(name: str, _: Mapping[str, torch.nn.Linear], seen: Mapping[str, Moments]) -> None:
        here = [fold for fold in found[name] if set(fold.targets) <= taken]

        def made() -> Tensors:
            return {str(i): scales(fold, seen) for i, fold in enumerate(here)}

        for fold, moved in zip(here, given.keep(name, made).values(), strict=True):
            move(fold, moved)

    with unchanged(held.model, given.calibration):
        blocks.walk(held.model, given.calibration, visit, sorted(taken))
    return held


def folds(model: Any, name: str, block: torch.nn.Module) -> list[Fold]:
    """The places of a block where scale can be moved; none where a block is built otherwise than Llama's."""
    modules: dict[str, Any] = dict(block.named_modules())
    found = []
    for source, targets in LIKE_LLAMA.items():
        if source not in modules or not all(target in modules for target in targets):
            continue
        giver = modules[source].up if isinstance(modules[source], Factored) else modules[source]
        takers: dict[str, torch.nn.Linear] = {}
        for target in targets:
            layer = modules[target]
            within, layer = (".down", layer.down) if isinstance(layer, Factored) else ("", layer)
            takers[f"{name}.{target}{within}"] = layer
        channels, inputs = len(giver.weight), layer.in_features
        width = modules["self_attn"].head_dim if source.endswith("v_proj") else channels
        if inputs % channels == 0 and (isinstance(giver, torch.nn.Linear) or proportional(giver)):
            found.append(Fold(giver, takers, width, inputs // channels))
    return found


def move(fold: Fold, scales: torch.Tensor) -> None:
    """Divide the source's channels by the scales (channels,), and multiply the targets' inputs by them."""
    giver = fold.source
    for parameter in giver.parameters(recurse=False):  # weight, and bias where there is one
        parameter.data = parameter.data / scales.reshape(-1, *[1] * (parameter.ndim - 1))
    for layer in fold.targets.values():
        layer.weight.data = layer.weight.data * fold.spread(scales)


def proportional(norm: Any) -> bool:
    """Whether a norm gives twice as much with twice its parameters; Gemma's, which adds 1 to its weight, does not."""
    x = torch.randn(2, len(norm.weight), generator=torch.Generator().manual_seed(0))
    parameters = list(norm.parameters())
    with torch.no_grad():
        once = norm(x)
        for parameter in parameters:
            parameter.mul_(2)
        twice = norm(x)
        for parameter in parameters:
            parameter.div_(2)
    return bool(torch.allclose(twice, 2 * once, rtol=1e-4, atol=1e-6))


@contextmanager
def unchanged(model: Any, calibration: Sequence[Rows]) -> Iterator[None]:
    """Refuse a model that computes something else afterwards.

    Raises:
        ConfigError: its logits on the first row of the calibration set are others.
    """
    rows = calibration[0]
    ids, real = rows.ids[:1], rows.mask[:1]
    with torch.no_grad():
        before = model(input_ids=ids, use_cache=False).logits[real]
        yield
        after = model(input_ids=ids, use_cache=False).logits[real]
    apart = float((after - before).abs().max() / before.abs().max())
    if not apart <= TOLERANCE:
        raise ConfigError(
            f"expected the same logits after scale was moved, got {apart:.3g} of the largest apart: "
            f"{type(model).__name__} is not built like Llama. Leave out passes that smooth."
        )
