"""Compress: try recipes until one keeps the contract, each measured in fresh processes; the chosen one's folder stays.

Quality is measured on the search split, so that acceptance has documents that nothing was chosen on. A recipe that
fails is a result too, with its reason; where none keeps the contract, what can be had is said.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from nightforge import cards, ladder, models
from nightforge.cards import Card
from nightforge.contract import Contract, Judgement, best, refuse_infeasible
from nightforge.errors import ConfigError, GateClosed, NightforgeError
from nightforge.stats import Bootstrap
from tasks import candidates as tried
from tasks import explore, score
from tasks.candidates import Candidate
from tasks.compressing import CompressConfig, Compressor, Inputs, Recipe
from tasks.hashing import README, sha256_tree, size_mb
from tasks.progress import report
from tasks.score import Scores
from tasks.stage import Measured, Metrics

KINDS = {"transformers": "text", "array": "array", models.SEQ2SEQ: "seq2seq"}
"""Class, or else loader, of the dense model → tasks/compress_<kind>.py."""


class Night:
    """What was tried, and what became of it."""

    def __init__(self, inputs: Inputs, compressor: Compressor, base: Scores, candidates: Path, work: Path) -> None:
        self.inputs, self.compressor, self.base, self.at, self.work = inputs, compressor, base, candidates, work
        self.boot = Bootstrap(resamples=inputs.cfg.resamples, level=inputs.contract.confidence)
        self.recipes: dict[str, Recipe] = {}
        self.done: dict[str, Candidate] = {}
        self.described: dict[str, dict[str, Any]] = {}
        self.judged: dict[str, Judgement] = {}

    def attempt(self, name: str, recipe: Recipe) -> Judgement | None:
        """Make a recipe's model, measure it and judge it; None if it failed."""
        cfg, contract, seed, dense = self.inputs[:4]
        candidate = tried.attempt(
            self.compressor, recipe, self.at / name, self.work, lambda model: scored(self.inputs, model)
        )
        self.done[name], self.recipes[name] = candidate, recipe
        if candidate.failed is None:
            tried.time(cfg, dense, candidate, self.base)
        if candidate.failed is not None:
            return None
        self.described[name] = tried.describe(self.compressor, candidate, dense, self.base, self.boot, seed)
        self.judged[name] = tried.judged(contract, self.described[name], candidate, dense)
        return self.judged[name]


def run(
    cfg: CompressConfig,
    contract: Contract,
    seed: int,
    dense: Path,
    evaluate: Path,
    splits: Path,
    deps: Mapping[str, Path],
    work: Path,
    candidates: Path,
    compressed: Path,
    artifacts: Path,
) -> Measured:
    """Try recipes on the search split; the chosen one's folder becomes models/compressed, and its model is written for
    other runtimes into models/artifacts.

    Raises:
        ConfigError: a recipe's name or values cannot be, or the contract asks for a size that none can reach.
        GateClosed: gate@dense was opened for another dense model.
        NightforgeError: every recipe failed.
    """
    _same_model(dense, evaluate)
    inputs = Inputs(cfg, contract, seed, dense, splits, deps)
    compressor = _compressor(inputs)
    report(0, len(cfg.recipes) + 2, "search split, dense model")
    base = scored(inputs, dense)
    if contract.max_kernel_distance_rise is not None and not base.seen_made.size:
        raise ConfigError(
            "contract: max_kernel_distance_rise: expected null for a model of text, for only samples of images and "
            f"sounds have a distance to records; got {contract.max_kernel_distance_rise:g}."
        )
    night = Night(inputs, compressor, base, candidates, work.parent)
    log = list(_climb(night) if cfg.search != "pareto" else explore.rungs(night))
    if not night.judged:
        raise NightforgeError(f"compress: every recipe failed. {_reasons(night)}")
    chosen = best(night.judged, {name: d["size_mb"] for name, d in night.described.items()})
    shutil.copytree(night.done[chosen].folder, compressed)
    page = _card(night, chosen)
    (compressed / README).write_text(cards.render(page), encoding="utf-8")
    had = ladder.reachable(night.judged)
    for line in had:
        print(f"compress: {line}", flush=True)
    written = _artifacts(night, chosen, artifacts, page)
    report(1, 1, f"chose {chosen}: {night.judged[chosen].verdict} on the search split")
    return Measured({**_metrics(night, chosen, log, had), "artifacts": written}, _speed(night))


def scored(inputs: Inputs, model: Path) -> Scores:
    """A model's scores on the search split."""
    return score.in_fresh_process(model, inputs.splits / "search", inputs.cfg.batch_tokens, inputs.deps.get("judge"))


def _climb(night: Night) -> Iterator[ladder.Rung]:
    """The recipes in their order: all of them, or up to the first that keeps the contract; each with why."""
    cfg, contract, _, dense = night.inputs[:4]
    until, stop = time.monotonic() + 60 * cfg.budget_minutes, cfg.search == "ladder"
    before, found = None, None
    for at, (name, recipe) in enumerate(cfg.recipes.items()):
        if stop and found is not None and found.met:
            yield _told(ladder.Rung(name, False, f"{before} keeps the contract"))
            continue
        if large := ladder.too_large(contract, night.compressor.least_mb(recipe), size_mb(dense)):
            yield _told(ladder.Rung(name, False, large))
            continue
        if time.monotonic() > until:
            yield _told(ladder.Rung(name, False, f"the budget of {cfg.budget_minutes:g} minutes is spent"))
            continue
        why = ladder.why_next(before, found, night.done[before].failed if before else None) if stop else "all are tried"
        report(at + 1, len(cfg.recipes) + 2, f"recipe {name}: {why}")
        found, before = night.attempt(name, recipe), name
        yield ladder.Rung(name, True, why)


def _told(rung: ladder.Rung) -> ladder.Rung:
    print(f"recipe {rung.recipe} not taken: {rung.why}", flush=True)
    return rung


def _compressor(inputs: Inputs) -> Compressor:
    """What compresses models of this kind, once nothing speaks against the recipes.

    Raises:
        ConfigError: a recipe's name or values cannot be, or the contract asks for a size that none can reach.
    """
    card = models.card(inputs.dense)
    kind = KINDS.get(card.get("class", ""), KINDS[card["loader"]])
    compressor: Compressor = import_module(f"tasks.compress_{kind}").Compressor(inputs)
    recipes = inputs.cfg.recipes
    for name, recipe in recipes.items():
        try:
            compressor.check(recipe)
        except ConfigError as e:
            raise ConfigError(f"compress.recipes.{name}: {e}") from None
    least = {name: compressor.least_mb(recipe) for name, recipe in recipes.items()}
    refuse_infeasible(inputs.contract, least, size_mb(inputs.dense))
    return compressor


def _same_model(dense: Path, evaluate: Path) -> None:
    """gate@dense judges the metrics of evaluate; they must be of the model that lies there now."""
    measured = json.loads(evaluate.read_text(encoding="utf-8"))["dense_sha256"]
    if (now := sha256_tree(dense)) != measured:
        raise GateClosed(
            f"gate@dense was opened for another model than {dense}: {evaluate} measured one of sha256 {measured[:12]}, "
            f"and {now[:12]} lies there. Run: dvc repro gate@dense"
        )


def _card(night: Night, chosen: str) -> Card:
    """What the README.md beside the chosen model says; nothing that a clock took: equal inputs give equal bytes."""
    inputs, found, scores = night.inputs, night.described[chosen], night.done[chosen].scores
    exporter = inputs.cfg.export.module
    reloaded = found.get("reload_kl_nats")
    split = [inputs.splits / name for name in ("train", "validation", "calibration", "search")]
    return Card(
        chosen,
        exporter.RUNTIME,
        exporter.HOW,
        found["size_mb"],
        f"What comes out of it differs from what the dense model gives by {found['output_max_difference']:.3g} at most"
        + (f", and from the model in memory by {reloaded:.2g} nats a token." if reloaded is not None else "."),
        remarks=found.get("remarks", []),
        lineage={"dense model": sha256_tree(inputs.dense)}
        | {f"{path.name} split": sha256_tree(path) for path in split if path.exists()},
        passes=[{"name": m.name, **m.cfg.model_dump(mode="json")} for m in night.recipes[chosen]],
        contract=[row for row in night.judged[chosen].rows() if row["term"] not in tried.CLOCKED],
        slices=score.loss_by_label(night.base, scores, night.boot, inputs.seed) if scores else {},
    )


def _artifacts(night: Night, chosen: str, out: Path, page: Card) -> dict[str, Any]:
    """What else the chosen model is written for; see CompressConfig.also."""
    out.mkdir(parents=True, exist_ok=True)
    kept = tried.layers(night.compressor, night.work)
    return night.compressor.artifacts(night.recipes[chosen], out, kept, page)


def _reasons(night: Night) -> str:
    return "; ".join(f"{name}: {c.failed}" for name, c in night.done.items()) or "None was tried: see the log above."


def _metrics(night: Night, chosen: str, log: list[ladder.Rung], had: list[str]) -> Metrics:
    table = {name: d | tried.verdict(night.judged[name]) for name, d in night.described.items()}
    table |= {n: {"failed": c.failed, "meets": False, "why": [c.failed]} for n, c in night.done.items() if c.failed}
    base, seed = night.base, night.inputs.seed
    return {
        "chosen": chosen,
        "feasible": int(night.judged[chosen].met),
        "dense": {
            "bpb": tried.bpb(base, night.boot, seed),
            "size_mb": size_mb(night.inputs.dense),
            "documents": len(np.unique(base.documents)),
        },
        "candidates": table,
        "search": night.inputs.cfg.search,
        "ladder": [rung.json() for rung in log],
        "reachable": had,
    }


def _speed(night: Night) -> dict[str, Any]:
    """Each candidate's figures, and the dense model's in turns with it (`dense` is the median over those); and those
    that no other beats in quality, size and latency."""
    whole = {name: c for name, c in night.done.items() if c.speed}
    points = {
        name: (d["bpb_loss_share"]["value"], d["size_mb"], whole[name].speed["latency_ms_p50"])
        for name, d in night.described.items()
    }
    return {
        "front": ladder.front(points),
        "dense": tried.middle([c.dense_speed for c in whole.values()]),
        "candidates": {
            name: c.speed | {"dense_latency_ms_p50": c.dense_speed["latency_ms_p50"]} for name, c in whole.items()
        },
    }
