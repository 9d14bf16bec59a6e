"""The words of the training loop: its settings, where it stands, a player's turn, and the events that it yields."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.errors import DataError
from nightforge.methods import Chosen, Method
from nightforge.watching import Watching


class Settings(Config):
    """How a model is trained."""

    steps: int = Field(ge=1)
    """Steps at most; the schedule ends at the last."""
    batch_size: int = Field(ge=1)
    """Size of a micro-batch: tokens of text, padding included, or images."""
    accumulate: int = Field(ge=1)
    """Micro-batches of a step, whatever the number of processes that they are dealt to."""
    optimizer: Annotated[Method, Chosen("optimize")]
    """What moves the weights."""
    schedule: Annotated[Method, Chosen("schedule")]
    """How the learning rate goes."""
    clip: float | None = Field(gt=0)
    """Largest global norm of the gradient; null does not clip."""
    l1: float = Field(ge=0)
    """Weight of the sum of the matrices' absolute values in the loss."""
    ema: float | None = Field(gt=0, lt=1)
    """Decay of the moving average of the weights, which is then what is evaluated and kept; null keeps none."""
    eval_every: int = Field(ge=1)
    """Steps between evaluations."""
    save_every: int = Field(ge=1)
    """Steps between checkpoints to resume from; each evaluation is one too."""
    patience: int = Field(ge=1)
    """Evaluations without a new best after which training stops."""
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    """`auto` times a few steps in fp32 and in bf16 and takes bf16 autocast only where it is clearly faster."""
    compile: bool | Literal["auto"]
    """Whether the network is compiled (torch.compile); `auto` measures, where the run is long enough to repay it."""
    recompute: bool
    """Whether blocks keep only their input for the backward pass: less memory, about a third more time."""
    threads: int = Field(ge=1, le=1024)
    """CPU threads; another count gives other rounding, so it is a value and not the machine's."""
    watch: Watching
    """What is watched of the run."""

    @model_validator(mode="after")
    def _seen(self) -> "Settings":
        hidden = [one.name for one in self.watch.watchers if getattr(one.module, "INSIDE", False)]
        if self.compile and hidden:
            raise ValueError(
                f"watch.watchers {', '.join(hidden)} look inside the network, which a compiled one does not show: "
                "set compile to false, or leave them out"
            )
        return self


class At(NamedTuple):
    """Where a run stands, for losses that change on the way."""

    step: int
    """Counted from 0."""
    steps: int


class Turn(NamedTuple):
    """One player's part of a step: which weights move, and by which loss."""

    name: str
    """In the names of its figures; empty where there is one turn."""
    part: str
    """The submodule whose parameters move; empty for the whole network."""
    loss: Callable[[Any, Mapping[str, torch.Tensor], At], tuple[torch.Tensor, dict[str, float]]]
    """(network, tensors of a batch, where) → (loss summed over what the batch counts, figures to log, sums too)."""
    lr_scale: float = 1.0
    """Its learning rates ÷ those of the optimizer's config."""
    times: int = 1
    """Moves a step."""


class NotFinite(DataError):
    """A loss or a gradient is not finite."""

    def __init__(self, step: int, loss: float, grad_norm: float, where: str) -> None:
        super().__init__(
            f"training: step {step} has loss {loss} and gradient norm {grad_norm}, expected finite numbers. {where} "
            "Lower train.loop.optimizer.lr, lengthen the warm-up of train.loop.schedule, or look for rows that are "
            "not finite."
        )
        self.loss, self.grad_norm = loss, grad_norm


class Stepped(NamedTuple):
    """One step was made; or it failed, and is the last one: `loss` or `grad_norm` is not finite, `units` 0."""

    step: int
    loss: float
    """Of the last turn, per unit."""
    lr: float
    grad_norm: float
    """Global norm before clipping, of the last turn."""
    units: int
    """Predicted tokens, or images, of the step, over all processes."""
    logged: dict[str, float]
    """What the losses logged, per unit; for each turn but the last also its loss and norm. `skipped` is there, and 1,
    where fp16 overflowed and the weights did not move."""


class Watched(NamedTuple):
    """What the watchers saw of a step."""

    step: int
    figures: dict[str, float]


class Timed(NamedTuple):
    """Where the time went since the last of these; the one event that differs from run to run."""

    step: int
    seconds: dict[str, float]
    """Of `data`, `forward`, `backward`, `optimizer`, `communication`, `saving`, `driver` (whoever drives the loop:
    logging, watching), `wall`, and `cpu`, which is of all threads; evaluations are left out."""
    units: int
    """Predicted tokens, or images, since then."""


class Evaluated(NamedTuple):
    """The model was evaluated."""

    step: int
    value: float
    best: bool


class Due(NamedTuple):
    """A good moment to save `state(run)`."""

    step: int


Event = Stepped | Watched | Timed | Evaluated | Due


def turns(family: Method) -> list[Turn]:
    """The turns of a family: its own, or one in which the whole network moves by its `loss`."""
    if hasattr(family.module, "turns"):
        own: list[Turn] = family.module.turns(family.cfg)
        return own
    return [Turn("", "", lambda model, tensors, at: family.module.loss(model, tensors, family.cfg, at))]
