"""Search recipes for the front of quality, size and latency: Optuna proposes values, each trial is made and measured.

The sampler is Optuna's multi-objective TPE (Ozaki et al. 2020), seeded. What was measured stays a candidate like any
other, so the one that is chosen is judged by the same contract.
"""

import random
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from nightforge import methods
from nightforge.errors import ConfigError
from nightforge.ladder import Rung
from tasks.compressing import Choice, CompressConfig, Recipe, in_order
from tasks.progress import report

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

    from tasks.compress import Night

STAGE = "compress"
DRAWS = 1000
Point = tuple[str, tuple[tuple[str, Choice], ...]]
"""A recipe, and the values of it that are exchanged, by their address."""


def rungs(night: "Night") -> Iterator[Rung]:
    """Make and measure what Optuna proposes, within the budget.

    Raises:
        ConfigError: an address of `pareto.vary` names no value, or a value that it cannot have.
    """
    import optuna

    cfg, seed = night.inputs.cfg, night.inputs.seed
    if cfg.pareto is None:
        return
    for address, choices in cfg.pareto.vary.items():
        for choice in choices:
            varied(cfg, address.split(".")[0], {address: choice})
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=cfg.pareto.trials // 3)
    study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler)
    until, seen = monotonic() + 60 * cfg.budget_minutes, set[Point]()
    chance = random.Random(seed)  # noqa: S311  of values, no secret
    for number in range(cfg.pareto.trials):
        if (asked := _asked(study, cfg, seen, chance)) is None:
            return
        trial, (name, point) = asked
        values = dict(point)
        label = f"t{number:03d}_{name}"
        why = ", ".join(f"{a.split('.', 1)[1]} {v}" for a, v in values.items()) or "as it stands"
        if monotonic() > until:
            yield Rung(label, False, f"the budget of {cfg.budget_minutes:g} minutes is spent")
            return
        try:
            recipe = varied(cfg, name, values)
            night.compressor.check(recipe)
        except ConfigError as e:  # each value can be, and not all of them together
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            print(f"trial {label} not made: {why}: {e}", flush=True)
            yield Rung(label, False, f"{why}: {e}")
            continue
        report(number, cfg.pareto.trials, f"trial {label}: {why}")
        judgement = night.attempt(label, recipe)
        if judgement is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            found = night.described[label]
            latency = night.done[label].speed["latency_ms_p50"]
            study.tell(trial, [found["bpb_loss_share"]["value"], found["size_mb"], latency])
        yield Rung(label, True, why)


def _asked(
    study: "Study", cfg: CompressConfig, seen: set[Point], chance: random.Random
) -> "tuple[Trial, Point] | None":
    """A trial whose point was not tried, and now counts as tried; None where all were."""
    from optuna.trial import TrialState

    trial = study.ask()
    if (point := proposed(trial, cfg)) in seen:  # the sampler repeats itself where choices are few
        study.tell(trial, state=TrialState.FAIL)
        if (other := untried(cfg, seen, chance)) is None:
            return None
        study.enqueue_trial({"recipe": other[0], **dict(other[1])})
        trial = study.ask()
        point = proposed(trial, cfg)
    seen.add(point)
    return trial, point


def proposed(trial: "Trial", cfg: CompressConfig) -> Point:
    """What the sampler would try."""
    name = str(trial.suggest_categorical("recipe", list(cfg.recipes)))
    return name, tuple((a, trial.suggest_categorical(a, choices)) for a, choices in _of(cfg, name).items())


def untried(cfg: CompressConfig, seen: set[Point], chance: random.Random) -> Point | None:
    """Any other point; None where it is not found, for all or nearly all were tried."""
    for _ in range(DRAWS):
        name = chance.choice(list(cfg.recipes))
        point = name, tuple((address, chance.choice(choices)) for address, choices in _of(cfg, name).items())
        if point not in seen:
            return point
    return None


def _of(cfg: CompressConfig, name: str) -> dict[str, list[Choice]]:
    """The addresses within a recipe, with their choices."""
    vary = cfg.pareto.vary if cfg.pareto else {}
    return {address: choices for address, choices in vary.items() if address.startswith(f"{name}.")}


def varied(cfg: CompressConfig, name: str, values: Mapping[str, Choice]) -> Recipe:
    """A recipe with some values exchanged: address `<recipe>.<number of the pass>.<value>` → value.

    Raises:
        ConfigError: an address names no value, or a value that it cannot have.
    """
    if name not in cfg.recipes:
        raise ConfigError(f"compress.pareto.vary: there is no recipe {name!r}; there are {', '.join(cfg.recipes)}.")
    specs: list[dict[str, Any]] = [{"name": m.name, **m.cfg.model_dump(mode="json")} for m in cfg.recipes[name]]
    for address, value in values.items():
        _, number, *key = address.split(".")
        if not number.isdigit() or int(number) >= len(specs) or len(key) != 1 or key[0] not in specs[int(number)]:
            passes = ", ".join(f"{i} {spec['name']}" for i, spec in enumerate(specs))
            raise ConfigError(
                f"compress.pareto.vary: expected <recipe>.<number of the pass, from 0>.<value>, got {address!r}; "
                f"{name} has the passes {passes}."
            )
        specs[int(number)][key[0]] = value
    recipe = [methods.choose(STAGE, spec) for spec in specs]
    in_order(recipe)
    return recipe
