"""What passes over a network of images or sounds share: they change it in torch, before its parts become graphs.

Such a pass has KIND and AFTER as those over language models have, `check(context, cfg)`, `least_share(cfg)` (the least
share of the weights that it leaves) and `apply(network, given, cfg) -> network`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from nightforge.array_models import Rows
from nightforge.compress._graph import FAMILIES
from nightforge.compress._pass import Kind
from nightforge.methods import Method

COMPATIBLE = {"family": FAMILIES - {"seq2seq"}, "loader": {"array"}, "runtime": {"onnx"}}
AFTER: set[Kind] = {"smooth", "shrink", "train"}
"""All that works on networks; what works on graphs comes after."""


@dataclass(slots=True)
class Network:
    """A network on its way through a recipe, in evaluation mode; passes change it in place."""

    model: Any
    family: Method
    """With `score` and `sample`; what a pass changes of its config, the compressed model's card says."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Name of a layer that a pass could not work on → why."""


class Given(NamedTuple):
    """What a pass may ask for."""

    calibration: Rows
    training: Callable[[], Rows]
    """Of the train split, for passes that train."""
    judge: Any
    dense: Callable[[], Any]
    """Loads the dense network anew."""
    seed: int


class Inner(NamedTuple):
    """The inside of a residual block: a = silu(norm(first(x) + told(label))), and second(a)."""

    first: torch.nn.Conv2d
    told: torch.nn.Linear
    norm: Any
    """A group norm, or a batch norm."""
    second: torch.nn.Conv2d


INNER = {"Block": ("first", "told", "norms.1", "second"), "ResnetBlock2D": ("conv1", "time_emb_proj", "norm2", "conv2")}
"""Class of a block, of ours or of diffusers → its layers, as Inner has them."""


def inner(model: Any) -> Iterator[tuple[str, Inner]]:
    """The residual blocks of a network, by name, in its order."""
    for name, module in model.named_modules():
        if names := INNER.get(type(module).__name__):
            layers: list[Any] = [module.get_submodule(one) for one in names]
            yield name, Inner(*layers)


@torch.no_grad()
def work(model: Any, family: Method, rows: Rows, judge: Any, seed: int) -> None:
    """What the family does with a network: score the rows, and make a sample of each one's label."""
    family.module.score(model, family.cfg, rows.tensors, rows.seeds, judge)
    family.module.sample(model, family.cfg, rows.tensors["y"], seed)


def train(model: Any, steps: int, lr: float, losses: Callable[[], Iterable[torch.Tensor]]) -> None:
    """So many steps of AdamW, its rate falling to zero by a cosine; the losses of a step are summed, one at a time."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        for loss in losses():
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
