"""What train tries before its first step: which precision, compiled or not, and activations through the depth."""

from typing import Any, NamedTuple

import torch

from nightforge import activations, compiling, precision
from nightforge.batching import order
from nightforge.training import At, turns
from tasks.prepared import Prepared, TrainConfig


class Tried(NamedTuple):
    """What was found; a run that goes on takes it from its checkpoint, for it determines every bit."""

    precision: str
    precision_seconds: dict[str, float]
    """Of a forward and backward pass, where it was measured."""
    compiled: bool
    compile_seconds: dict[str, float]
    """See nightforge.compiling.Choice."""
    activation_variance: dict[str, float]
    """See nightforge.activations.summary."""


def attempt(cfg: TrainConfig, seed: int, prepared: Prepared) -> tuple[Any, Tried]:
    """Try on the first batch, and say what was chosen; returns what losses are to be computed with as well.

    Raises:
        ConfigError: see nightforge.compiling.choose.
    """
    device, model = precision.device(), prepared.model.train()
    family, settings = turns(cfg.family), cfg.loop
    batch = prepared.data.batch(next(order(prepared.data.sizes, settings.batch_size, seed))).to(device)

    def loss(network: Any) -> torch.Tensor:
        losses = [turn.loss(network, batch.tensors, At(0, settings.steps))[0] for turn in family]
        return torch.stack(losses).sum() / batch.units

    taken = precision.seconds(model, loss, device) if settings.precision == "auto" else {}
    chosen = precision.faster(taken) if taken else settings.precision

    def cast(network: Any) -> torch.Tensor:
        with precision.autocast(device, chosen):
            return loss(network)

    variance = activations.summary(activations.variances(model, cast))
    if trouble := activations.warning(variance):
        print(f"WARNING: {trouble}.", flush=True)
    passes = settings.steps * settings.accumulate
    forward, choice = compiling.choose(model, settings.compile, cast, passes)
    if settings.compile:
        print(f"compile: {'yes' if choice.compiled else 'no'}, {choice.why}", flush=True)
    return forward, Tried(chosen, taken, choice.compiled, choice.seconds, variance)
