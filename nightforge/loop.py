"""The training loop: a generator of events, so that whoever drives it decides what to print, plot and save.

One loop for every family. A step is `accumulate` micro-batches, dealt to however many processes there are; its loss is
the sum over all of them divided by all that they count (tokens, images), never a mean of means. A family moves in one
turn or in several (a GAN: discriminator, generator), each with its own optimizer. Every draw of a step comes from
(seed, step, turn, micro-batch), so on one kind of device seed, data, settings and thread count determine every bit, and
a run that is restored from `state()` goes on exactly as if it had not been stopped.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from nightforge.batching import Batch, Data, ahead, order
from nightforge.clock import Clock
from nightforge.errors import ConfigError, DataError
from nightforge.parameters import groups
from nightforge.precision import autocast
from nightforge.ranks import ALONE, Ranks, full, own
from nightforge.training import At, Due, Evaluated, Event, NotFinite, Settings, Stepped, Timed, Turn, Watched
from nightforge.watching import Watcher

MOST_SKIPPED = 20
"""Steps one after the other in which fp16 may overflow: its scale is then a millionth of what it began with."""
Window = list[tuple[int, Batch]]
"""The micro-batches of a step that this process has, each with its number among all of the step."""


@dataclass(slots=True)
class Run:
    """A training run between two steps."""

    model: Any
    forward: Any
    """The model, or what wraps it (compiled, replicated); losses are computed with this one."""
    turns: list[Turn]
    movers: list[list[torch.optim.Optimizer]]
    """The optimizers of each turn."""
    settings: Settings
    seed: int
    precision: str
    ranks: Ranks
    scaler: torch.amp.GradScaler
    watchers: list[Watcher]
    ema: dict[str, torch.Tensor]
    """Name → moving average of a floating-point weight; empty where none is kept."""
    step: int = 0
    stale: int = 0
    """Evaluations since the best."""
    best: float = math.inf
    best_step: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)
    """Value of each evaluation so far."""
    skipped: int = 0
    """Steps since one in which fp16 did not overflow."""

    @property
    def ended(self) -> bool:
        """All steps made, or no new best for too long."""
        return self.step >= self.settings.steps or self.stale >= self.settings.patience

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.model.parameters()).device
        return device


def start(
    model: Any,
    turns: list[Turn],
    settings: Settings,
    seed: int,
    precision: str,
    ranks: Ranks = ALONE,
    forward: Any = None,
) -> Run:
    """A run at step zero; the model is already on its device.

    Raises:
        ConfigError: the micro-batches of a step cannot be dealt evenly to the processes.
    """
    if settings.accumulate % ranks.of:
        raise ConfigError(
            f"train.loop.accumulate: expected a multiple of the {ranks.of} processes that share the micro-batches of a "
            f"step, got {settings.accumulate}. Raise it, and divide train.loop.batch_size by as much."
        )
    optimizer = settings.optimizer
    movers = [optimizer.module.build(groups(model.get_submodule(turn.part)), optimizer.cfg) for turn in turns]
    for turn, several in zip(turns, movers, strict=True):
        for group in (group for mover in several for group in mover.param_groups):
            group["peak_lr"] = group["lr"] * turn.lr_scale
    floats = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    return Run(
        model,
        model if forward is None else forward,
        turns,
        movers,
        settings,
        seed,
        precision,
        ranks,
        torch.amp.GradScaler(next(model.parameters()).device.type, enabled=precision == "fp16"),
        settings.watch.start(model),
        {k: v.detach().clone() for k, v in floats.items()} if settings.ema else {},
    )


def steps(
    run: Run, data: Data, evaluate: Callable[[Any], float], first: tuple[Data, int] | None = None
) -> Iterator[Event]:
    """Train until the end, from wherever the run stands; then the best weights are in the model.

    Args:
        run: from `start`, or after `restore`.
        data: the training set.
        evaluate: of a model in evaluation mode; smaller is better.
        first: a set that the first so many steps are drawn from instead; evaluations among these use up no patience,
            and none of their weights is the best.

    Raises:
        NotFinite: of a loss or a gradient; the weights are those before that move, and the step was yielded.
    """
    settings, clock, windows, counted = run.settings, Clock(), ahead(_windows(run, data, first)), 0
    run.model.train()
    while not run.ended:
        with clock.part("data"):
            window = next(windows)
        look = (run.step + 1) % settings.watch.every == 0
        watching, seen = run.watchers if look else [], dict[str, float]()
        try:
            stepped = _step(run, window, clock, watching)
        except NotFinite as e:
            yield Stepped(run.step + 1, e.loss, math.nan, e.grad_norm, 0, {})
            raise
        finally:  # hooks come off also where the step fails
            with clock.part("driver"):
                for watcher in watching:
                    seen |= watcher.read()
        counted += stepped.units
        with clock.part("driver"):
            yield stepped
            if look:
                yield Watched(run.step, run.ranks.together(seen))
        if look:
            timed, counted = Timed(run.step, clock.lap(), counted), 0
            with clock.part("driver"):
                yield timed
        last = run.step == settings.steps
        if evaluated := run.step % settings.eval_every == 0 or last:
            yield _evaluated(run, evaluate, first is not None and run.step <= first[1] and not last)
            clock.lap()
            counted = 0
        if evaluated or run.step % settings.save_every == 0:
            with clock.part("saving"):
                yield Due(run.step)
    run.model.load_state_dict(run.best_weights)
    run.model.eval()


def _windows(run: Run, data: Data, first: tuple[Data, int] | None) -> Iterator[Window]:
    """The micro-batches of each step that this process has, from where the run stands."""

    def drawn() -> Iterator[tuple[Data, list[int]]]:
        size, each = run.settings.batch_size, run.settings.accumulate
        if first:
            early, most = first
            yield from ((early, rows) for rows in islice(order(early.sizes, size, run.seed), most * each))
        yield from ((data, rows) for rows in order(data.sizes, size, run.seed))

    remaining = islice(drawn(), run.step * run.settings.accumulate, None)
    while True:
        window = list(islice(remaining, run.settings.accumulate))
        yield [
            (at, source.batch(rows)) for at, (source, rows) in enumerate(window) if at % run.ranks.of == run.ranks.index
        ]


def _step(run: Run, window: Window, clock: Clock, watchers: list[Watcher]) -> Stepped:
    with clock.part("communication"):
        (units,) = run.ranks.total(sum(batch.units for _, batch in window))
    window = [(at, batch.to(run.device)) for at, batch in window]
    schedule = run.settings.schedule
    factor = schedule.module.factor(At(run.step, run.settings.steps), run.seen, schedule.cfg)
    for watcher in watchers:
        watcher.before()
    logged: dict[str, float] = {}
    loss = norm = lr = 0.0
    skipped = False
    for number, turn in enumerate(run.turns):
        for group in (group for mover in run.movers[number] for group in mover.param_groups):
            group["lr"] = lr = factor * group["peak_lr"]
        for again in range(turn.times):
            loss, seen = _gradients(run, window, units, (number, again), clock)
            with clock.part("optimizer"):
                norm = _move(run, number, loss, watchers)
            logged |= seen
            skipped |= not math.isfinite(norm)
        if number < len(run.turns) - 1:
            logged |= {f"{turn.name}_loss": loss, f"{turn.name}_grad_norm": norm}
    run.skipped = run.skipped + 1 if skipped else 0
    if run.skipped == MOST_SKIPPED:
        raise NotFinite(run.step + 1, loss, norm, f"fp16 overflowed in {MOST_SKIPPED} steps, one after the other.")
    if skipped:
        logged["skipped"] = 1.0
    if run.ema:
        _average(run)
    run.step += 1
    return Stepped(run.step, loss, lr, norm, int(units), logged)


def _gradients(
    run: Run, window: Window, units: float, move: tuple[int, int], clock: Clock
) -> tuple[float, dict[str, float]]:
    """Leave the gradients of one turn in the weights; returns its loss and figures per unit, over all processes."""
    turn, at = run.turns[move[0]], At(run.step, run.settings.steps)
    run.model.zero_grad(set_to_none=True)
    figures: dict[str, float] = {}
    losses, forwarded = list[torch.Tensor](), list[torch.Tensor]()
    with run.ranks.window():
        for number, batch in window:
            last = number == window[-1][0]
            run.ranks.syncing(last)
            _reseed(run.device, run.seed, run.step, *move, number)
            with clock.part("forward"), autocast(run.device.type, run.precision):
                summed, seen = run.ranks.losses(turn.loss, run.forward, batch.tensors, at)
            forwarded.append(summed)
            while forwarded and (last or len(forwarded) > run.ranks.ahead):
                with clock.part("backward"):
                    run.scaler.scale(forwarded.pop(0) / (units / run.ranks.of)).backward()  # type: ignore[no-untyped-call]
            losses.append(summed.detach())
            for name, value in seen.items():
                figures[name] = figures.get(name, 0.0) + value
    with clock.part("backward"):
        here = float(torch.stack(losses).sum())  # waits for an accelerator
    with clock.part("communication"):
        figures = run.ranks.together({"": here} | figures)
        sums = run.ranks.total(*figures.values())
    loss, *values = (value / units for value in sums)
    return loss, dict(zip(list(figures)[1:], values, strict=True))


def _move(run: Run, number: int, loss: float, watchers: list[Watcher]) -> float:
    """One move of the turn's optimizers, unless fp16 overflowed; returns the norm of the gradient before clipping."""
    turn = run.turns[number]
    moved = [p for p in run.model.get_submodule(turn.part).parameters() if p.grad is not None]
    for mover in run.movers[number]:
        run.scaler.unscale_(mover)
    if run.settings.l1:
        with torch.no_grad():
            for p in (p for p in moved if p.ndim > 1):
                own(p.grad).add_(own(p).sign(), alpha=run.settings.l1)
    total = run.ranks.norm([p.grad for p in moved])
    norm = float(full(total))
    if not math.isfinite(loss) or not (math.isfinite(norm) or run.scaler.is_enabled()):
        raise NotFinite(run.step + 1, loss, norm, _not_finite(run.model))
    if not math.isfinite(norm):  # in one process or another: all of them skip the move
        run.scaler.update(run.scaler.get_scale() * run.scaler.get_backoff_factor())
        return norm
    if run.settings.clip:
        torch.nn.utils.clip_grads_with_norm_(moved, run.settings.clip, total)
    for watcher in watchers:
        watcher.graded([p for p in moved if p.numel()])
    for mover in run.movers[number]:
        run.scaler.step(mover)
    run.scaler.update()
    return norm


def _not_finite(model: Any) -> str:
    """Which gradients are not finite, in words. They go from the output to the input, so the last is the nearest."""
    graded = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    bad = [name for name, grad in graded if not own(grad).isfinite().all()]
    if not bad:
        return "Every gradient is finite."
    return f"Of {len(graded)} gradients {len(bad)} are not finite, from {bad[0]} to {bad[-1]}."


def _average(run: Run) -> None:
    weights = run.model.state_dict()
    decay = run.settings.ema or 0.0
    with torch.no_grad():
        averages, now = [own(v) for v in run.ema.values()], [own(weights[k]) for k in run.ema]
        torch._foreach_lerp_(averages, now, 1 - decay)


def _evaluated(run: Run, evaluate: Callable[[Any], float], early: bool) -> Evaluated:
    """Evaluate the weights, or their average; keep them if they are the best so far."""
    before = {k: v.detach().clone() for k, v in run.model.state_dict().items()} if run.ema else {}
    if run.ema:
        run.model.load_state_dict(run.ema, strict=False)
    run.model.eval()
    with run.ranks.whole():
        value = run.ranks.total(evaluate(run.model))[0] / run.ranks.of  # one value, so that all go on alike
    if not math.isfinite(value):
        raise DataError(f"training: the evaluation after step {run.step} gave {value}, expected a finite number.")
    better = value < run.best and not early
    run.stale = 0 if better or early else run.stale + 1
    run.seen.append(value)
    if better:
        run.best, run.best_step = value, run.step
        run.best_weights = {k: v.detach().clone() for k, v in run.model.state_dict().items()}
    if before:
        run.model.load_state_dict(before)
    run.model.train()
    return Evaluated(run.step, value, better)


def _reseed(device: torch.device, *place: int) -> None:
    """Seed the generators that a loss draws from by the run's seed and where in the run it is.

    `torch.manual_seed` would do, but where no accelerator has been used yet it remembers each call, with its stack.
    """
    seed = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


KEPT = ("precision", "step", "stale", "best", "best_step", "best_weights", "seen", "skipped")


def state(run: Run) -> dict[str, Any]:
    """All that the rest of the run depends on: tensors, numbers and strings only, so it loads with weights_only."""
    return {
        "model": run.model.state_dict(),
        "movers": [[mover.state_dict() for mover in several] for several in run.movers],
        "scaler": run.scaler.state_dict(),
        "ema": run.ema,
        **{name: getattr(run, name) for name in KEPT},
    }


def restore(run: Run, saved: dict[str, Any]) -> None:
    """Bring a run from `start` to where `state` was taken."""
    run.model.load_state_dict(saved["model"])
    for several, states in zip(run.movers, saved["movers"], strict=True):
        for mover, one in zip(several, states, strict=True):
            mover.load_state_dict(one)
    run.scaler.load_state_dict(saved["scaler"])
    run.ema = {k: v.to(run.device) for k, v in saved["ema"].items()}
    for name in KEPT:
        setattr(run, name, saved[name])
