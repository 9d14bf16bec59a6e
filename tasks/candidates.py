"""Candidates: made once for the same recipe and inputs, scored and timed in fresh processes, and judged."""

import json
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from nightforge import stats
from nightforge.contract import Contract, Evidence, Judgement, judge, proofs
from nightforge.errors import NightforgeError
from nightforge.scoring import LN2
from nightforge.stats import Bootstrap
from tasks import probe, stage
from tasks.compressing import CompressConfig, Compressor, Made, Recipe
from tasks.hashing import size_mb
from tasks.score import Scores, distance_rise

OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")
"""What torch says in a RuntimeError."""
CLOCKED = {"latency_ratio", "latency_ms_p95", "peak_memory_mb"}
"""Terms whose figures go to compress.speed.json alone, so that all else is reproducible to the byte."""


@dataclass(slots=True)
class Candidate:
    """One recipe, as far as it got."""

    folder: Path
    made: Made | None = None
    scores: Scores | None = None
    failed: str | None = None
    speed: dict[str, float] = field(default_factory=dict)
    dense_speed: dict[str, float] = field(default_factory=dict)
    """Of the dense model, in turns with this one."""

    def fail(self, error: Exception) -> None:
        """Record why, say so, and keep no half of a model."""
        self.failed = f"{type(error).__name__}: {error}"
        shutil.rmtree(self.folder, ignore_errors=True)
        print(f"recipe {self.folder.name} failed: {error}", flush=True)


def attempt(
    compressor: Compressor, recipe: Recipe, out: Path, work: Path, scored: Callable[[Path], Scores]
) -> Candidate:
    """Make one recipe's model and score it; a failure is part of the result, with its reason, and is not kept."""
    candidate = Candidate(out)
    try:
        candidate.made = _once(compressor, recipe, out, work)
        candidate.scores = scored(out)
    except NightforgeError as e:
        candidate.fail(e)
    except (MemoryError, RuntimeError, np.linalg.LinAlgError) as e:  # torch has one type for memory and all else
        candidate.fail(NightforgeError(_told(e)))
    return candidate


def _told(error: Exception) -> str:
    """What failed in a library, in one line; the log has where."""
    traceback.print_exception(error)
    said = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, MemoryError) or any(words in said for words in OUT_OF_MEMORY):
        return f"it ran out of memory: {said or 'the allocator gave no more'}"
    return f"{type(error).__name__}: {said}"


def _once(compressor: Compressor, recipe: Recipe, out: Path, work: Path) -> Made:
    """Make a folder, or copy that which the same recipe gave before; `work` holds them by what they are made of."""
    kept = at(compressor, recipe, work)
    whole = kept / "whole"
    if whole.is_dir():
        print(f"recipe {out.name}: made before, of the same; taken from {kept.name}", flush=True)
        shutil.copytree(whole / "model", out)
        probes = whole / "probes.npy"
        facts = json.loads((whole / "facts.json").read_text(encoding="utf-8"))
        return Made(facts, np.load(probes) if probes.exists() else None)
    made = compressor.write(recipe, out, layers(compressor, work))
    half = kept / "half"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(out, half / "model")
    (half / "facts.json").write_text(json.dumps(made.facts), encoding="utf-8")
    if made.probes is not None:
        np.save(half / "probes.npy", made.probes)
    half.rename(whole)
    return made


def at(compressor: Compressor, recipe: Recipe, work: Path) -> Path:
    """Where a recipe's folder is kept once it is whole."""
    return stage.own(work / f"recipe-{compressor.key(recipe)}")


def layers(compressor: Compressor, work: Path) -> Path:
    """Where passes keep what they make, layer by layer; recipes that begin alike share it."""
    return stage.own(work / f"passes-{compressor.key([])}")


def time(cfg: CompressConfig, dense: Path, candidate: Candidate, base: Scores) -> None:
    """Time a candidate and the dense model in turns; each figure is a median of rounds."""
    prompts = base.prompts[: cfg.prompts].tolist()
    rounds: dict[Path, list[dict[str, float]]] = {dense: [], candidate.folder: []}
    for _ in range(cfg.rounds):
        for folder, taken in rounds.items():
            try:
                taken.append(probe.in_fresh_process(folder, prompts, cfg.new_tokens))
            except NightforgeError as e:
                if folder == dense:
                    raise
                candidate.fail(e)
                return
    candidate.dense_speed, candidate.speed = middle(rounds[dense]), middle(rounds[candidate.folder])


def middle(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {key: median(one[key] for one in rounds) for key in rounds[0]}


def describe(
    compressor: Compressor, candidate: Candidate, dense: Path, base: Scores, boot: Bootstrap, seed: int
) -> dict[str, Any]:
    """All of a candidate that needs no clock, with the proof that the recipe had an effect."""
    scores, made = candidate.scores, candidate.made
    if made is None or scores is None or scores.ids.tolist() != base.ids.tolist():
        raise NightforgeError(f"compress: {candidate.folder.name} was scored on other documents than the dense model.")
    return {
        "bpb": bpb(scores, boot, seed),
        "bpb_loss_share": stats.loss_share(scores.nats, base.nats, base.documents, boot, seed).json(),
        "kernel_distance_rise": distance_rise(scores, base, boot, seed),
        "size_mb": size_mb(candidate.folder),
        "size_share": size_mb(candidate.folder) / size_mb(dense),
        **compressor.changed(candidate.folder, base, scores, made),
        **made.facts,
    }


def judged(contract: Contract, described: dict[str, Any], candidate: Candidate, dense: Path) -> Judgement:
    """A candidate held against the contract, and against what no contract excuses."""
    seen = Evidence(
        bpb_loss_share=described["bpb_loss_share"],
        size_mb=described["size_mb"],
        dense_size_mb=size_mb(dense),
        latency_ms_p50=candidate.speed["latency_ms_p50"],
        dense_latency_ms_p50=candidate.dense_speed["latency_ms_p50"],
        latency_ms_p95=candidate.speed["latency_ms_p95"],
        peak_memory_mb=candidate.speed["peak_memory_mb"],
        kernel_distance_rise=described["kernel_distance_rise"],
    )
    return judge(contract, seen, proofs(described))


def verdict(judgement: Judgement) -> dict[str, Any]:
    """Whether a candidate meets the contract, and in words why not; figures that a clock took are not repeated."""
    missed = [t for t in judgement.terms if not t.met]
    why = [
        f"{t.term} is over its limit {t.limit:g}; see compress.speed.json" if t.term in CLOCKED else reason
        for t, reason in zip(missed, judgement.reasons, strict=True)
    ]
    return {"meets": judgement.met, "why": why}


def bpb(scores: Scores, boot: Bootstrap, seed: int) -> dict[str, float]:
    """Bits a unit, with its interval."""
    return stats.ratio(scores.nats, scores.units, scores.documents, boot, seed).scaled(1 / LN2).json()
