"""Which numbers of a compressed model are trained, such that it stays compressed at every step.

A layer's weight becomes a function of what is trained (torch.nn.utils.parametrize): of an adapter, of a mask, of the
scales of its grid. What is evaluated on the way is therefore what is written at the end.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch.nn.utils import parametrize

from nightforge.blocks import EMBEDDING, HEAD
from nightforge.grids import Grid, encode, halves
from nightforge.held import Held, Tensors, put

Trains = Literal["all", "scales", "lora"]
LORA_SCALE = 2.0
"""An adapter's change counts so many times: alpha of twice the rank, as is common."""
WEIGHT = "weight"


class Kept(torch.nn.Module):
    """A pruned weight: what was put to zero stays zero."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.mask: torch.Tensor
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """(outputs, inputs), as it came but for the zeros."""
        return weight * self.mask


class Adapted(torch.nn.Module):
    """A weight with a low-rank change: Hu et al. 2021, arXiv 2106.09685, §4.1.

    On the weight and not beside the layer, as peft has it: mask and grid come after the change, not before.
    """

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        down = torch.randn(rank, inputs, generator=generator) * inputs**-0.5
        self.down = torch.nn.Parameter(down.to(weight.device))
        self.up = torch.nn.Parameter(torch.zeros(outputs, rank, device=weight.device))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """(outputs, inputs)."""
        return weight + LORA_SCALE * (self.up @ self.down)


class Scaled(torch.nn.Module):
    """A weight on a grid whose integers stay and whose scales are learnt: EfficientQAT's second phase.

    Chen et al. 2024, arXiv 2407.11062, §3.3 (E2E-QP). What is learnt is the logarithm of a factor for each block, zero
    at first: one learning rate suits all blocks, no scale changes its sign, and weight decay pulls to where it began.
    """

    def __init__(self, grid: Grid, device: torch.device) -> None:
        super().__init__()
        self.grid = grid
        self.scales: torch.Tensor
        self.register_buffer("scales", grid.scales.to(device), persistent=False)
        self.change = torch.nn.Parameter(torch.zeros_like(grid.scales, device=device))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The grid's values → those of the changed grid: (outputs, inputs)."""
        return weight * self.spread(self.changed() / self.scales)

    def changed(self) -> torch.Tensor:
        """The scales as they are held; the gradient goes through the rounding to halves: (outputs, blocks)."""
        exact = self.scales * self.change.exp()
        return exact + (halves(exact) - exact).detach()

    def settled(self, latent: torch.Tensor) -> Grid:
        """The grid as trained."""
        return Grid(self.grid.spec, self.grid.ints, self.changed().detach().cpu().contiguous(), self.grid.zeros)

    def spread(self, blocks: torch.Tensor) -> torch.Tensor:
        """(outputs, blocks) → (outputs, inputs): as `[:, block_of()]`, with a gradient seven times as fast."""
        return blocks[..., None].expand(-1, -1, self.grid.spec.block_size).flatten(1)[:, : self.grid.ints.shape[1]]


class _Round(torch.autograd.Function):
    """To the nearest integer; the gradient goes through as if nothing had been done."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad


class Rounded(Scaled):
    """A weight that is rounded to its grid at every step, and the scales learnt: Esser et al. 2020, arXiv 1902.08153.

    The gradient goes straight through the rounding to the weight, and to the scale as in equation 3 (its factor g is
    left out: optimizers of our kind divide it away). Offsets stay.
    """

    def __init__(self, grid: Grid, device: torch.device) -> None:
        super().__init__(grid, device)
        self.zeros: torch.Tensor
        self.register_buffer("zeros", grid.zeros.float().to(device), persistent=False)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Any weight → the nearest that the grid holds: (outputs, inputs)."""
        scales, zeros = self.spread(self.changed()), self.spread(self.zeros)
        ints: torch.Tensor = _Round.apply(weight / scales + zeros)  # type: ignore[no-untyped-call]
        return (ints.clamp(0, self.grid.spec.levels - 1) - zeros) * scales

    def settled(self, latent: torch.Tensor) -> Grid:
        """The grid as trained, for the weight as it comes to the rounding."""
        return encode(latent, self.grid.spec, self.changed().detach().cpu().contiguous(), self.grid.zeros)


def attach(held: Held, trains: Trains, rank: int | None, seed: int, latent: Tensors) -> None:
    """Make the weights functions of what is trained, and only that trainable; the model computes what it did.

    Args:
        held: its model is changed in place, until `settle`.
        trains: `all`: every weight, those on grids rounded at each step; `scales`: of grids, and norms and biases;
            `lora`: an adapter on each linear layer but the output, and scales, norms and biases.
        rank: of the adapters, for `lora`.
        seed: of the adapters' first values.
        latent: weights on grids from which training starts, by layer, which must round to the grid; without one, the
            grid's own values.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in held.model.parameters():
        parameter.requires_grad_(trains == "all" or parameter.ndim < 2)
    if EMBEDDING in held.grids:  # of its own: a table on a grid stays as it was rounded
        held.model.get_input_embeddings().weight.requires_grad_(False)
    for name, layer in list(_linears(held.model)):
        parts: list[torch.nn.Module] = []
        weight, grid = layer.weight, held.grids.get(name)
        table = held.model.get_input_embeddings()
        tied = name == HEAD and table.weight is weight
        if trains == "lora" and name != HEAD:
            parts.append(Adapted(weight, rank or 1, generator))
        mask = held.pruned.get(name) if grid else weight.detach() != 0
        if trains != "scales" and mask is not None and not mask.all():
            parts.append(Kept(mask.to(weight.device)))
        if grid:
            parts.append((Scaled if trains == "scales" else Rounded)(grid, weight.device))
            if name in latent:
                weight.data = latent[name].to(weight.device)
        for part in parts:
            parametrize.register_parametrization(layer, WEIGHT, part)
        if parts and tied:
            parametrize.register_parametrization(table, WEIGHT, parts[0])
            _chains(table)[WEIGHT] = _chains(layer)[WEIGHT]


def _chains(layer: torch.nn.Module) -> Any:
    """Its parametrizations by tensor, which torch types as any module's attribute."""
    return layer.parametrizations


@torch.no_grad()
def settle(held: Held) -> None:
    """Make the weights plain again, on the CPU: as trained, on their grids, zeros where zeros were."""
    held.model.cpu().requires_grad_(True)
    for name, layer in list(_linears(held.model)):
        if not parametrize.is_parametrized(layer, WEIGHT):
            continue
        parts = _chains(layer)[WEIGHT]
        chain, value = list(parts), parts.original
        last = chain.pop() if isinstance(chain[-1], Scaled) else None
        for part in chain:
            value = part(value)
        parametrize.remove_parametrizations(layer, WEIGHT, leave_parametrized=False)
        put(held, name, layer, {WEIGHT: value.detach().clone()} if last is None else last.settled(value).tensors())
        table = held.model.get_input_embeddings()
        if name == HEAD and parametrize.is_parametrized(table, WEIGHT):
            parametrize.remove_parametrizations(table, WEIGHT, leave_parametrized=False)
            table.weight = layer.weight


def state(model: Any) -> Tensors:
    """What is trained, by name."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters() if p.requires_grad}


def _linears(model: Any) -> Iterator[tuple[str, torch.nn.Linear]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
