"""Compress: export every recipe, measure each in a fresh process, and choose by the contract.

Quality is measured on the search split, so that acceptance has documents that nothing was chosen on. What takes a
clock is measured last, in turns with the dense model.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nightforge import config, models, stats
from nightforge.contract import Contract, Evidence, Judgement, Term, at_most, best, judge, refuse_infeasible
from nightforge.errors import ConfigError, GateClosed, NightforgeError
from nightforge.methods import Chosen, Method
from nightforge.scoring import LN2
from nightforge.stats import Bootstrap
from tasks import probe, score
from tasks.hashing import sha256_tree, size_mb
from tasks.progress import report
from tasks.score import Scores
from tasks.stage import Measured, Metrics

KINDS = {"transformers": "text", "array": "array", models.SEQ2SEQ: "seq2seq"}
"""Class, or else loader, of the dense model → tasks/compress_<kind>.py."""
CLOCKED = {"latency_ratio", "latency_ms_p95", "peak_memory_mb"}
"""Terms whose figures go to compress.speed.json alone, so that all else is reproducible to the byte."""


class CompressConfig(config.Config):
    """The recipes to try, and how each is measured."""

    recipes: Annotated[dict[str, Annotated[Method, Chosen("compress")]], Field(min_length=1)]
    """Name (of the folder under models/candidates) → method; each is exported and measured."""

    export: Annotated[Method, Chosen("export")]
    """What the compressed model is written for."""

    resamples: int = Field(ge=100, le=1_000_000)
    """Times that the documents are drawn again for an interval."""

    batch_tokens: int = Field(ge=64)
    """Bound on rows × padded length of a batch while scoring; an image or a sound counts as one."""

    rounds: int = Field(ge=1, le=20)
    """Times that every model is timed, in turns; the median round counts."""

    prompts: int = Field(ge=2, le=1_000)
    """Prompts of a round, or labels of images and sounds; the first warms up."""

    new_tokens: int = Field(ge=2, le=4_096)
    """Tokens generated after each prompt, or samples made of each label."""


@dataclass(slots=True)
class Candidate:
    """One recipe, as far as it got."""

    folder: Path
    scores: Scores | None = None
    failed: str | None = None
    speed: dict[str, float] = field(default_factory=dict)

    def fail(self, error: Exception) -> None:
        """Record why, say so, and keep no half of a model."""
        self.failed = f"{type(error).__name__}: {error}"
        shutil.rmtree(self.folder, ignore_errors=True)
        print(f"recipe {self.folder.name} failed: {error}", flush=True)


def run(
    cfg: CompressConfig,
    contract: Contract,
    seed: int,
    dense: Path,
    evaluate: Path,
    splits: Path,
    deps: Mapping[str, Path],
    candidates: Path,
    compressed: Path,
) -> Measured:
    """Try every recipe on the search split; the chosen one's folder becomes models/compressed.

    Raises:
        ConfigError: a recipe's name or values cannot be, or the contract asks for a size that none can reach.
        GateClosed: gate@dense was opened for another dense model.
        NightforgeError: every recipe failed.
    """
    _same_model(dense, evaluate)
    compressor = _compressor(cfg, contract, dense, splits, deps)
    steps = len(cfg.recipes) + 2

    def scored(model: Path) -> Scores:
        return score.in_fresh_process(model, splits / "search", cfg.batch_tokens, deps.get("judge"))

    report(0, steps, "search split, dense model")
    base = scored(dense)
    tried = {}
    for i, (name, recipe) in enumerate(cfg.recipes.items()):
        report(i + 1, steps, f"recipe {name}")
        tried[name] = _try(compressor, name, recipe, candidates / name, scored)
    report(steps - 1, steps, "latency, in turns with the dense model")
    speed = _time(cfg, dense, _whole(tried), base)
    whole = _whole(tried)
    boot = Bootstrap(resamples=cfg.resamples, level=contract.confidence)
    described = {n: _describe(compressor, c, dense, base, boot, seed) for n, c in whole.items()}
    judged = {n: _judge(contract, described[n], c.speed, speed, dense) for n, c in whole.items()}
    chosen = best(judged, {n: d["size_mb"] for n, d in described.items()})
    shutil.copytree(whole[chosen].folder, compressed)
    report(steps, steps, f"chose {chosen}: {judged[chosen].verdict} on the search split")
    table = {n: d | _verdict(judged[n]) for n, d in described.items()}
    table |= {n: {"failed": c.failed, "meets": False, "why": [c.failed]} for n, c in tried.items() if c.failed}
    facts = {"bpb": _bpb(base, boot, seed), "size_mb": size_mb(dense), "documents": len(np.unique(base.documents))}
    metrics: Metrics = {
        "chosen": chosen,
        "feasible": int(judged[chosen].met),
        "dense": facts,
        "candidates": table,
    }
    return Measured(metrics, {"dense": speed, "candidates": {n: c.speed for n, c in whole.items()}})


def _compressor(cfg: CompressConfig, contract: Contract, dense: Path, splits: Path, deps: Mapping[str, Path]) -> Any:
    """What compresses models of this kind, once nothing speaks against the recipes.

    Raises:
        ConfigError: a recipe's name or values cannot be, or the contract asks for a size that none can reach.
    """
    card = models.card(dense)
    kind = import_module(f"tasks.compress_{KINDS[card.get('class', card['loader'])]}")
    compressor = kind.Compressor(cfg.export, dense, splits, deps)
    for name, recipe in cfg.recipes.items():
        _check(name, recipe, compressor)
    least = {name: method.module.least_mb(compressor.context, method.cfg) for name, method in cfg.recipes.items()}
    refuse_infeasible(contract, least, size_mb(dense))
    return compressor


def _same_model(dense: Path, evaluate: Path) -> None:
    """gate@dense judges the metrics of evaluate; they must be of the model that lies there now."""
    measured = json.loads(evaluate.read_text(encoding="utf-8"))["dense_sha256"]
    if (now := sha256_tree(dense)) != measured:
        raise GateClosed(
            f"gate@dense was opened for another model than {dense}: {evaluate} measured one of sha256 {measured[:12]}, "
            f"and {now[:12]} lies there. Run: dvc repro gate@dense"
        )


def _check(name: str, recipe: Method, compressor: Any) -> None:
    if not name.replace("_", "").replace("-", "").isalnum():
        raise ConfigError(f"compress.recipes: {name!r} names a folder: use letters, digits, - and _.")
    compressor.check(recipe)


def _try(compressor: Any, name: str, recipe: Method, out: Path, scored: Callable[[Path], Scores]) -> Candidate:
    """Make one recipe's model and score it; a failure is part of the result, with its reason."""
    candidate = Candidate(out)
    try:
        compressor.write(name, recipe, out)
        candidate.scores = scored(out)
    except NightforgeError as e:
        candidate.fail(e)
    return candidate


def _whole(tried: dict[str, Candidate]) -> dict[str, Candidate]:
    whole = {name: c for name, c in tried.items() if c.failed is None}
    if not whole:
        reasons = "; ".join(f"{name}: {c.failed}" for name, c in tried.items())
        raise NightforgeError(f"compress: every recipe failed. {reasons}")
    return whole


def _time(cfg: CompressConfig, dense: Path, whole: dict[str, Candidate], base: Scores) -> dict[str, float]:
    """Time the dense model and every candidate in turns; returns the dense model's figures, each a median of rounds."""
    prompts = base.prompts[: cfg.prompts].tolist()
    folders = {"": dense} | {name: c.folder for name, c in whole.items()}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in folders}
    for _ in range(cfg.rounds):
        for name, folder in list(folders.items()):
            try:
                rounds[name].append(probe.in_fresh_process(folder, prompts, cfg.new_tokens))
            except NightforgeError as e:
                if folder == dense:
                    raise
                whole[name].fail(e)
                del folders[name], rounds[name]
    middle = {name: {key: median(r[key] for r in taken) for key in taken[0]} for name, taken in rounds.items()}
    for name in folders.keys() - {""}:
        whole[name].speed = middle[name]
    return middle[""]


def _describe(
    compressor: Any, candidate: Candidate, dense: Path, base: Scores, boot: Bootstrap, seed: int
) -> dict[str, Any]:
    """All of a candidate that needs no clock, with the proof that the recipe had an effect."""
    scores = candidate.scores
    if scores is None or scores.ids.tolist() != base.ids.tolist():
        raise NightforgeError(f"compress: {candidate.folder.name} was scored on other documents than the dense model.")
    changed: dict[str, Any] = compressor.changed(candidate.folder, base, scores)
    return {
        "bpb": _bpb(scores, boot, seed),
        "bpb_loss_share": stats.loss_share(scores.nats, base.nats, base.documents, boot, seed).json(),
        "size_mb": size_mb(candidate.folder),
        "size_share": size_mb(candidate.folder) / size_mb(dense),
    } | changed


def _judge(
    contract: Contract, described: dict[str, Any], speed: dict[str, float], base: dict[str, float], dense: Path
) -> Judgement:
    seen = Evidence(
        bpb_loss_share=described["bpb_loss_share"],
        size_mb=described["size_mb"],
        dense_size_mb=size_mb(dense),
        latency_ms_p50=speed["latency_ms_p50"],
        dense_latency_ms_p50=base["latency_ms_p50"],
        latency_ms_p95=speed["latency_ms_p95"],
        peak_memory_mb=speed["peak_memory_mb"],
    )
    return judge(contract, seen, [_no_effect(described)])


def _no_effect(described: dict[str, Any]) -> Term:
    """A recipe that changed no weight, or nothing that comes out, or saved no byte is refused, whatever is asked."""
    idle = described["changed_share"] == 0 or described["output_max_difference"] == 0 or described["size_share"] >= 1
    return at_most("no_effect", 0, float(idle), float(idle))


def _verdict(judged: Judgement) -> dict[str, Any]:
    """Whether a candidate meets the contract, and in words why not; figures that a clock took are not repeated."""
    missed = [t for t in judged.terms if not t.met]
    why = [
        f"{t.term} is over its limit {t.limit:g}; see compress.speed.json" if t.term in CLOCKED else reason
        for t, reason in zip(missed, judged.reasons, strict=True)
    ]
    return {"meets": judged.met, "why": why}


def _bpb(scores: Scores, boot: Bootstrap, seed: int) -> dict[str, float]:
    return stats.ratio(scores.nats, scores.units, scores.documents, boot, seed).scaled(1 / LN2).json()
