"""Pipeline parallel: each process holds a run of the layers, and all of them see every micro-batch of a step.

Narayanan et al. 2021, PipeDream-Flush (arXiv 2006.09503; GPipe's step in the order of one forward, one backward): while
a process works on a micro-batch, those before it work on later ones. What goes from layer to layer goes from process to
process; its gradient comes back the same way. torch.distributed.pipelining wants micro-batches of one shape, and ours
are as long as their longest row, so the sending is done here: every process has the batch, and so knows all shapes.

A process's network is the whole one, with parameters of no rows where another process has them: names and their order
are everywhere the same, which is all that optimizers, averages and checkpoints need.
"""

import copy
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import distributed

from nightforge.errors import ConfigError
from nightforge.parallel._group import Config
from nightforge.ranks import Ranks

__all__ = ["SAMPLE", "Config", "spread"]

SAMPLE = Config(processes=2, restarts=0)


def spread(model: Any, turns: int, cfg: Config) -> Ranks:
    """Share out the layers of a transformer whose parts are named like Llama's, as evenly as their number allows.

    The first process has the embedding, the last the final norm and the head. A head that is the embedding is lent to
    the last process for a step, and its gradient given back.

    Raises:
        ConfigError: there are fewer layers than processes, several players, or parts of other names.
    """
    stage, stages = distributed.get_rank(), distributed.get_world_size()
    layers = len(model.model.layers) if hasattr(getattr(model, "model", None), "layers") else 0
    if turns > 1 or layers < stages:
        raise ConfigError(
            f"train.parallel: pipeline shares out the layers of one causal language model, at least one to each of the "
            f"{stages} processes; got {layers} layers and {turns} player(s). Choose {{name: ddp}} or {{name: fsdp}}."
        )
    begins = [layers * at // stages for at in range(stages + 1)]
    owners = {p: _owner(name, begins) for name, p in model.named_parameters()}
    others = {p: p.shape for p, owner in owners.items() if owner != stage}
    wire, lent = Wire(stage), _Lent(model, stage, stages)
    network = _network(model, begins[stage], begins[stage + 1], wire, lent)
    _let_go(others)

    def losses(loss: Callable[..., Any], forward: Any, *arguments: Any) -> Any:
        """A loss needs what the network returns, which only the last process has; in the others it ends there."""
        if forward is not model:
            raise ConfigError("train.loop.compile: expected false, for train.parallel: {name: pipeline}.")
        try:
            return loss(network, *arguments)
        except _Sent as sent:
            return sent.end, {}

    @contextmanager
    def window() -> Iterator[None]:
        lent.give(wire)
        yield
        lent.take_back(wire)
        wire.wait()
        for p in others:
            p.grad = torch.zeros_like(p)

    whole = partial(_whole, owners, others)
    return Ranks(0, 1, losses=losses, whole=whole, window=window, stage=stage, stages=stages)


@contextmanager
def _whole(owners: dict[Any, int], others: dict[Any, torch.Size]) -> Iterator[None]:
    """Inside, the parameters of all processes are in each of them."""
    for p, owner in owners.items():
        if p in others:
            p.data = p.new_empty(others[p])
        distributed.broadcast(p.data, owner)
    yield
    _let_go(others)


def _let_go(others: Iterable[Any]) -> None:
    """Leave no rows of these parameters here."""
    for p in others:
        p.data = p.new_empty((0, *p.shape[1:]))


def _owner(name: str, begins: list[int]) -> int:
    """The process that has a parameter."""
    if found := re.match(r"model\.layers\.(\d+)\.", name):
        return bisect_right(begins, int(found[1])) - 1
    if name.startswith("model.embed_tokens."):
        return 0
    if name.startswith(("model.norm.", "lm_head.")):
        return len(begins) - 2
    raise ConfigError(
        f"train.parallel: name: pipeline shares out networks that are named like Llama's, and knows no {name}. Choose "
        "{name: fsdp}, which needs no names."
    )


class Wire:
    """To the process before this one and the one after it, a group for each direction, so that none waits for both."""

    def __init__(self, stage: int) -> None:
        self.before, self.after = stage - 1, stage + 1
        self.onward, self.back = distributed.new_group(), distributed.new_group()
        self.under_way: list[Any] = []

    def reply(self, gradient: torch.Tensor) -> None:
        """Send a gradient to the process before, and go on."""
        self.under_way.append(distributed.isend(gradient.contiguous(), self.before, group=self.back))

    def wait(self) -> None:
        """Until all gradients have arrived."""
        for work in self.under_way:
            work.wait()
        self.under_way.clear()


class _Sent(Exception):
    """What was computed is on its way to the next process."""

    def __init__(self, end: torch.Tensor) -> None:
        super().__init__()
        self.end = end


class _Send(torch.autograd.Function):
    """Zero, whose backward pass waits for the gradient of what was sent."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, wire: Wire) -> torch.Tensor:
        """To the process after this one."""
        ctx.wire, ctx.like = wire, torch.empty_like(hidden, device="meta")
        ctx.sending = distributed.isend(hidden.contiguous(), wire.after, group=wire.onward)
        return hidden.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """What it received must have arrived, so that its memory may be freed."""
        gradient = torch.empty(ctx.like.shape, dtype=ctx.like.dtype, device=gradients[0].device)
        distributed.recv(gradient, ctx.wire.after, group=ctx.wire.back)
        ctx.sending.wait()
        return gradient, None


class Sending(torch.nn.Module):
    """Stands where the layers of the processes after this one begin."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """(rows, seq, width); never returns."""
        raise _Sent(_Send.apply(hidden, self.wire))  # type: ignore[no-untyped-call]


class Receiving(torch.nn.Module):
    """Stands where the layers of the processes before this one end."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def forward(self, blank: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """What the process before sent: of the shape, the type and the place of what is given."""
        hidden = torch.empty(blank.shape, dtype=blank.dtype, device=blank.device)
        distributed.recv(hidden, self.wire.before, group=self.wire.onward)
        hidden.requires_grad_().register_hook(self.wire.reply)  # type: ignore[no-untyped-call]
        return hidden


class Skipped(torch.nn.Module):
    """A layer of a process before this one; a network may number its layers, so it keeps its place."""

    def forward(self, blank: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """As it came."""
        return blank


class Blank(torch.nn.Module):
    """Stands where the embedding is, in all processes but the first."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.width, self.zero = table.shape[1], table.new_zeros(())

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(rows, seq) → (rows, seq, width), one number in memory."""
        return self.zero.expand(*ids.shape, self.width)


class _Lent:
    """The embedding that is the head too: of the first process, and a copy for each step in the last."""

    def __init__(self, model: Any, stage: int, stages: int) -> None:
        tied = stages > 1 and model.lm_head.weight is model.model.embed_tokens.weight
        self.weight, self.last = model.model.embed_tokens.weight, stages - 1
        self.lends = tied and stage == 0
        self.copy = torch.nn.Parameter(torch.empty_like(self.weight)) if tied and stage == self.last else None

    def give(self, wire: Wire) -> None:
        """The weights, from the first process to the last."""
        if self.lends:
            distributed.send(self.weight.data, self.last, group=wire.onward)
        elif self.copy is not None:
            self.copy.grad = None
            distributed.recv(self.copy.data, 0, group=wire.onward)

    def take_back(self, wire: Wire) -> None:
        """Their gradient, from the last process to the first, which adds it to its own."""
        if self.lends:
            gradient = torch.empty_like(self.weight)
            distributed.recv(gradient, self.last, group=wire.back)
            self.weight.grad.add_(gradient)
        elif self.copy is not None and self.copy.grad is not None:
            distributed.send(self.copy.grad, 0, group=wire.back)


def _network(model: Any, begin: int, end: int, wire: Wire, lent: _Lent) -> Any:
    """The network with its own layers from `begin` to `end`, and with its neighbours in the place of the others."""
    inner, layers = model.model, list(model.model.layers)
    table, head = inner.embed_tokens, model.lm_head
    if end < len(layers):
        layers[end:] = [Sending(wire)]
    if begin:
        layers[:begin] = [*(Skipped() for _ in range(begin - 1)), Receiving(wire)]
        table = Blank(table.weight)
    if lent.copy is not None:
        head = copy.copy(head)
        head._parameters = {**head._parameters, "weight": lent.copy}
    return _with(model, model=_with(inner, embed_tokens=table, layers=torch.nn.ModuleList(layers)), lm_head=head)


def _with(module: Any, **children: torch.nn.Module) -> Any:
    """The same module, hooks included, with other children; the one given stays as it is."""
    made = copy.copy(module)
    made._modules = module._modules | children
    return made
