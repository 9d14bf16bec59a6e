"""Each layer in the integers that its place in the model is worth, under a limit on the size of all; then GPTQ.

What rounding a layer costs is taken from the Fisher information: ½ Σ (gᵀ (W − Ŵ) x)² over tokens, where x goes into the
layer and g is the gradient, at what comes out, of the log-probability of a token that the model itself draws. This is
the KL divergence to second order (cross terms between tokens left out), for all layers and grids out of one backward
pass. HAWQ (Dong et al. 2019, 1905.03696) and SqueezeLLM (2306.07629) weigh by the same curvature; the choice as a
linear program in integers is that of HAWQ-V3 (Yao et al. 2020, 2011.10680, §3.4). Layers that runtimes compute as one
(q, k and v; gate and up) get the same integers, or they would be computed apart.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from nightforge import blocks, config, grids
from nightforge.blocks import Moments, Rows
from nightforge.compress import _pass, _quantize, gptq
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Footprint, Given, each_linear
from nightforge.errors import ConfigError
from nightforge.grids import Grid, Spec
from nightforge.held import Held, stored_bits

COMPATIBLE, KIND, AFTER = _pass.COMPATIBLE, _quantize.KIND, _quantize.AFTER
TOKENS_AT_ONCE = 1024
"""Rounding all layers takes about as long as that many tokens; more of them take more memory."""


class Config(config.Config):
    """What is chosen among, and the limit."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*` or `lm_head` (with which tied embeddings go)."""
    choices: list[_quantize.Integers] = Field(min_length=2)
    """The integers that a layer may be held in."""
    bits_a_weight: float | None = Field(gt=0)
    """Limit on the mean over the layers, scales and offsets included; null: what the contract's size leaves."""
    others_mb: float = Field(ge=0)
    """MB (10⁶ bytes) of the folder that are no weights (graph, tokenizer), where the contract's size is the limit."""
    rows: int = Field(ge=1)
    """Calibration rows that the cost is measured on."""
    damp: float = Field(gt=0, le=1)
    """As of gptq."""
    act_order: bool
    """As of gptq."""
    rounds: int = Field(ge=0, le=20)
    """As of gptq."""


SAMPLE = Config(
    layers=["model.layers.*", "lm_head"],
    choices=[
        _quantize.Integers(bits=4, block_size=64, symmetric=True),
        _quantize.Integers(bits=4, block_size=32, symmetric=False),
        _quantize.Integers(bits=8, block_size=64, symmetric=True),
    ],
    bits_a_weight=5.5,
    others_mb=0,
    rows=4,
    damp=0.01,
    act_order=True,
    rounds=1,
)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model, and a limit below the smallest choice.

    Raises:
        ConfigError: it is not of a kind that this works on, or no choice is small enough.
    """
    refuse_other("mixed", COMPATIBLE, context)
    smallest = min(choice.spec.bits_a_weight(choice.block_size) for choice in cfg.choices)
    if cfg.bits_a_weight is not None and cfg.bits_a_weight < smallest:
        raise ConfigError(
            f"compress: mixed: expected bits_a_weight of at least {smallest:.3f}, which the smallest of the choices "
            f"takes, got {cfg.bits_a_weight}. Add a smaller choice, or raise the limit."
        )


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """What the tensors take at least: all layers in the smallest choice."""
    return {
        name: Footprint(one.shape, min(one.bits, *(one_of.spec.bits_a_weight(one.shape[-1]) for one_of in cfg.choices)))
        if len(one.shape) == 2 and _quantize.chosen(name, footprints, cfg.layers)
        else one
        for name, one in footprints.items()
    }


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Measure, choose and round; `held` is changed in place.

    Raises:
        ConfigError: no choice is small enough, or there is no limit.
        DataError: a weight or an activation is not a finite number.
    """
    layers = blocks.linears(held.model, cfg.layers)
    specs = [choice.spec for choice in cfg.choices]
    kept = given.keep("costs", lambda: {"costs": costs(held, given, layers, specs, cfg.rows)})
    weights = [layer.weight for layer in layers.values()]
    sizes = np.array([[w.numel() * spec.bits_a_weight(w.shape[1]) for spec in specs] for w in weights])
    groups = blocks.fused(list(layers))
    by_group = [np.stack([of[group].sum(axis=0) for group in groups]) for of in (kept["costs"].numpy(), sizes)]
    choices = choose(by_group[0], by_group[1], limit_bits(held, given, cfg, weights))
    taken = {at: choice for group, choice in zip(groups, choices, strict=True) for at in group}
    by_name = {name: specs[taken[at]] for at, name in enumerate(layers)}

    def make(name: str, weight: torch.Tensor, seen: Moments) -> Grid:
        damp = gptq.damping(held.model, name, cfg.damp)
        return gptq.rounded(weight, seen.gram, by_name[name], damp, cfg.act_order, cfg.rounds)

    each_linear(held, given, cfg.layers, make)
    held_so = list(by_name.values())
    figures = {
        f"layers_{s.bits}_bits_block_{s.block_size}{'' if s.symmetric else '_offset'}": float(held_so.count(s))
        for s in specs
    }
    bits = sum(sizes[at, choice] for at, choice in taken.items()) / sum(weight.numel() for weight in weights)
    held.notes.append(("mixed", figures | {"bits_a_weight": float(bits)}))
    return held


def limit_bits(held: Held, given: Given, cfg: Config, weights: Sequence[torch.Tensor]) -> float:
    """Bits that those weights may take together.

    Raises:
        ConfigError: neither the recipe nor the contract says.
    """
    if cfg.bits_a_weight is not None:
        return cfg.bits_a_weight * sum(weight.numel() for weight in weights)
    if given.size_mb_max is None:
        raise ConfigError("compress: mixed: expected bits_a_weight, or a contract that limits the size; got neither.")
    others = stored_bits(held, given.matrix_bits, {id(weight) for weight in weights})
    return float((given.size_mb_max - cfg.others_mb) * 8e6 - others)


def costs(
    held: Held, given: Given, layers: Mapping[str, torch.nn.Linear], specs: Sequence[Spec], rows: int
) -> torch.Tensor:
    """Nats that rounding each layer alone would cost, summed over the tokens measured on: (layers, choices) float64.

    Args:
        held: nothing of it is changed.
        given: of which the calibration rows and the seed are used.
        layers: by name.
        specs: the choices.
        rows: that are measured on.
    """
    generator = torch.Generator().manual_seed(given.seed)
    found = torch.zeros(len(layers), len(specs), dtype=torch.float64)
    table = held.model.get_input_embeddings()
    handles = [
        layer.register_forward_hook(_watching(layer, specs, cost))
        for layer, cost in zip(layers.values(), found, strict=True)
    ]
    try:
        for ids, real in _parts(given.calibration, rows):
            with torch.enable_grad():
                embedded = table(ids).detach().requires_grad_()
                logits = held.model(inputs_embeds=embedded, use_cache=False).logits[real]  # (tokens, vocab)
                drawn = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)
                (pull,) = torch.autograd.grad(logits.log_softmax(-1).gather(1, drawn).sum(), embedded)
            for layer, cost in zip(layers.values(), found, strict=True):
                if layer.weight is table.weight:  # tied: rounded where it is looked up too
                    cost.add_(torch.stack([_energy(error[ids], pull) for error in _errors(layer, specs)]))
    finally:
        for handle in handles:
            handle.remove()
    return found


def choose(costs: NDArray[np.float64], sizes: NDArray[np.float64], limit: float) -> list[int]:
    """The choice of each layer that costs least together and keeps within the limit.

    Args:
        costs: (layers, choices).
        sizes: (layers, choices) bits.
        limit: bits of all layers together.

    Raises:
        ConfigError: the smallest choices are larger than that.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    least_bits = sizes.min(axis=1).sum()
    if least_bits > limit:
        raise ConfigError(
            f"compress: mixed: expected choices that fit in {limit / 8e6:.3f} MB, the smallest of each layer take "
            f"{least_bits / 8e6:.3f} MB. Add a smaller choice, or raise the limit."
        )
    one_each = np.kron(np.eye(len(costs)), np.ones(costs.shape[1]))
    solved = milp(
        costs.reshape(-1) / max(costs.max(), np.finfo(float).tiny),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(sizes.reshape(1, -1) / limit, ub=1)],
        integrality=np.ones(costs.size),
        bounds=Bounds(0, 1),
    )
    return [int(at) for at in solved.x.reshape(costs.shape).argmax(axis=1)]


def _parts(calibration: Sequence[Rows], rows: int) -> Iterator[Rows]:
    """The first so many rows, as many at once as TOKENS_AT_ONCE holds."""
    for batch in calibration:
        taken = min(rows, len(batch.ids))
        rows -= taken
        step = max(1, TOKENS_AT_ONCE // batch.ids.shape[1])
        for start in range(0, taken, step):
            part = slice(start, min(start + step, taken))
            yield Rows(batch.ids[part], batch.mask[part])


def _watching(layer: torch.nn.Linear, specs: Sequence[Spec], cost: torch.Tensor) -> Callable[..., None]:
    """A forward hook that adds what each choice costs once the gradient of what comes out is known."""

    def forward(_: torch.nn.Module, args: tuple[torch.Tensor], out: torch.Tensor) -> None:
        x = args[0].detach()

        def backward(pull: torch.Tensor) -> None:
            cost.add_(torch.stack([_energy(x @ error.T, pull) for error in _errors(layer, specs)]))

        out.register_hook(backward)  # type: ignore[no-untyped-call]

    return forward


def _energy(change: torch.Tensor, pull: torch.Tensor) -> torch.Tensor:
    """½ Σ (g · Δ)² over tokens; both (…, channels)."""
    return (change * pull).sum(-1).double().square().sum() / 2


def _errors(layer: torch.nn.Linear, specs: Sequence[Spec]) -> Iterator[torch.Tensor]:
    """What rounding to nearest takes off the weight, by choice: (outputs, inputs) each."""
    weight = layer.weight.detach()
    for spec in specs:
        yield weight - grids.encode(weight, spec, *grids.fit(weight, spec)).values()
