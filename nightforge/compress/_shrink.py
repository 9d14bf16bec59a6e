"""What passes that take structure out share: which of it matters, how the rest makes up for it, and a config that fits.

What comes out is a plain smaller model: the same class of transformers, built from the changed config alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch.nn import functional

from nightforge.blocks import Rows
from nightforge.compress import _pass
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Kind
from nightforge.errors import ConfigError
from nightforge.held import Tensors

COMPATIBLE = _pass.COMPATIBLE
KIND: Kind = "shrink"
AFTER: set[Kind] = {"smooth", "prune", "shrink", "train"}
Importance = Literal["activation", "taylor"]
BATCH_TOKENS = 1024
"""Whose activations are held at once for gradients."""


def refuse(name: str, context: Context, needed: Sequence[str]) -> None:
    """Refuse a model that is not built so.

    Args:
        name: of the pass.
        context: the model.
        needed: layers that each block must have, such as `mlp.up_proj`.

    Raises:
        ConfigError: another kind of model, or blocks that are built otherwise.
    """
    refuse_other(name, COMPATIBLE, context)
    if missing := [layer for layer in needed if f"model.layers.0.{layer}.weight" not in context.shapes]:
        raise ConfigError(
            f"compress: {name}: expected blocks with {', '.join(needed)}, as Llama's have; this model's have no "
            f"{', '.join(missing)}. Leave {name} out of the recipe."
        )


def planned(model: Any, changes: Mapping[str, Any]) -> dict[str, torch.Size]:
    """The shapes that transformers gives a model of the changed config, before any work.

    Raises:
        ConfigError: transformers builds no such model.
    """
    from huggingface_hub.errors import StrictDataclassError

    try:
        config = type(model.config).from_dict(model.config.to_dict() | changes)
        with torch.device("meta"):
            stock = type(model)(config)
    except (ValueError, StrictDataclassError) as e:
        said = str(e.__cause__ or e).strip().splitlines()[-1]
        raise ConfigError(f"compress: transformers builds no model with {dict(changes)}: {said.strip()}") from None
    return {name: tensor.shape for name, tensor in stock.state_dict().items()}


def settle(model: Any, changes: Mapping[str, Any], shapes: Mapping[str, torch.Size]) -> None:
    """Write the changes into the model's config, which now must say what the model is.

    Args:
        model: with its layers changed.
        changes: of the config.
        shapes: what `planned` said.

    Raises:
        ConfigError: stock transformers would build another model than this.
    """
    for key, value in changes.items():
        setattr(model.config, key, value)
    now = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if wrong := sorted(name for name in now.keys() | shapes.keys() if now.get(name) != shapes.get(name)):
        raise ConfigError(
            f"compress: expected {type(model).__name__} to be what its config says, but {', '.join(wrong[:3])} would "
            f"have another shape. Leave the passes that take structure out of the recipe."
        )


def narrow(layer: torch.nn.Linear, outputs: torch.Tensor) -> None:
    """Keep some outputs (kept,) of a layer, in place."""
    layer.weight = torch.nn.Parameter(layer.weight.detach()[outputs].clone())
    if layer.bias is not None:
        layer.bias = torch.nn.Parameter(layer.bias.detach()[outputs].clone())
    layer.out_features = len(outputs)


def refill(layer: torch.nn.Linear, weight: torch.Tensor) -> None:
    """Give a layer a weight of fewer inputs, in place."""
    layer.weight = torch.nn.Parameter(weight)
    layer.in_features = weight.shape[1]


def energy(weight: torch.Tensor, gram: torch.Tensor, width: int) -> torch.Tensor:
    """Σ over tokens of the squared norm of what each group of inputs adds to a layer's output: (groups,).

    Args:
        weight: (outputs, groups · width).
        gram: Σ xᵀx (groups · width, groups · width).
        width: inputs side by side that stay or go together.
    """
    groups = weight.shape[1] // width
    own = gram.reshape(groups, width, groups, width).diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # (groups, width, width)
    parts = weight.float().reshape(len(weight), groups, width).transpose(0, 1)  # (groups, outputs, width)
    return ((parts @ own) * parts).sum((1, 2))


def first_order(model: Any, calibration: Sequence[Rows], names: Sequence[str], width: int) -> Tensors:
    """How much the loss of each row would change, to first order, without each group of a layer's inputs.

    Σ over rows of |Σ x · ∂loss/∂x|, which for one input is |Σ w · ∂loss/∂w| over its column of the weight: Molchanov
    et al. 2019 (1906.10771, §3.1), LLM-Pruner (2305.11627, §3.2); for heads Michel et al. 2019 (1905.10650, eq. 2).

    Args:
        model: a causal LM in evaluation mode.
        calibration: rows of tokens; all but the first of a row count.
        names: linear layers.
        width: inputs side by side that stay or go together.

    Returns:
        Name → (inputs / width,).
    """
    layers = {name: model.get_submodule(name) for name in names}
    found = {name: torch.zeros(layer.in_features // width) for name, layer in layers.items()}
    seen: list[torch.Tensor] = []

    def note(_: Any, args: tuple[torch.Tensor, ...]) -> None:
        seen.append(args[0] if args[0].requires_grad else args[0].requires_grad_())

    handles = [layer.register_forward_pre_hook(note) for layer in layers.values()]
    try:
        for ids, mask in _chunks(calibration):
            seen.clear()
            with torch.enable_grad():
                logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
                targets = ids[:, 1:].masked_fill(~mask[:, 1:], -100)
                loss = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum")
                slopes = torch.autograd.grad(loss, seen)
            for name, x, slope in zip(names, seen, slopes, strict=True):
                each = (x.detach() * slope).sum(1)  # (rows, inputs)
                found[name] += each.reshape(len(each), -1, width).sum(-1).abs().sum(0)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _chunks(calibration: Sequence[Rows]) -> Iterator[Rows]:
    """The same rows, few at once."""
    for rows in calibration:
        count = max(1, BATCH_TOKENS // rows.ids.shape[1])
        for at in range(0, len(rows.ids), count):
            yield Rows(rows.ids[at : at + count], rows.mask[at : at + count])


def most(importance: torch.Tensor, count: int) -> torch.Tensor:
    """The positions of the most important, in the order in which they lie: (count,); of equal ones the first stay."""
    return importance.argsort(descending=True, stable=True)[:count].sort().values


def least_squares(weight: torch.Tensor, gram: torch.Tensor, kept: torch.Tensor, damp: float) -> torch.Tensor:
    """The weight on the kept inputs that gives most nearly what the whole weight gave: (outputs, kept).

    W' = W G[:, kept] (G[kept, kept] + λ)⁻¹ with G the Gram matrix, damped such that it stays where data say nothing:
    what is solved for is the change (Optimal Brain Surgeon for many weights at once; Hassibi & Stork 1993).

    Args:
        weight: (outputs, inputs).
        gram: Σ xᵀx (inputs, inputs).
        kept: positions of inputs.
        damp: λ as a share of the mean of the diagonal.
    """
    gram = gram.double()
    gone = torch.ones(len(gram), dtype=torch.bool)
    gone[kept] = False
    added = damp * gram.diagonal().mean().clamp_min(1e-30) * torch.eye(len(kept), dtype=torch.float64)
    made_up: torch.Tensor = torch.linalg.solve(
        gram[kept][:, kept] + added, gram[kept][:, gone] @ weight[:, gone].double().T
    )
    return (weight[:, kept].double() + made_up.T).float()
