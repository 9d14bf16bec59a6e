"""Accept: the chosen candidate on documents that nothing was tuned on, against the dense model and the champion.

Always succeeds and says the truth; gate@compressed refuses what is NOT MET.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from nightforge import config, models, stats
from nightforge.contract import GAIN, Contract, Evidence, Judgement, Term, at_most, judge, proofs
from nightforge.errors import AssetMissing, DataError
from nightforge.scoring import LN2
from nightforge.stats import Bootstrap, Interval
from tasks import score, store
from tasks.hashing import sha256_tree, size_mb
from tasks.progress import report
from tasks.score import Scores
from tasks.stage import Metrics


class AcceptConfig(config.Config):
    """How the acceptance split is scored, and what else than the contract is asked."""

    resamples: int = Field(ge=100, le=1_000_000)
    """Times that the documents are drawn again for an interval."""

    batch_tokens: int = Field(ge=64)
    """Bound on rows × padded length of a batch while scoring; an image or a sound counts as one."""

    champion_margin: float = Field(ge=0, le=1)
    """Share by which the quality (bits per byte of text) may be worse than the last accepted model's, on the upper
    bound."""


class Uncompared(NamedTuple):
    """Why there was no comparison with the champion."""

    why: str
    excused: bool
    """Whether the model may be accepted all the same."""


def run(
    cfg: AcceptConfig,
    contract: Contract,
    split: dict[str, Any],
    seed: int,
    dense: Path,
    compressed: Path,
    champion: Path,
    splits: Path,
    compress: Path,
    compress_speed: Path,
    deps: Mapping[str, Path],
    acceptance: Path,
) -> Metrics:
    """Judge the compressed model on the acceptance split; writes scores.parquet, one row a record."""
    metric = models.metric(dense)

    def score_on(model: Path) -> Scores:
        return score.in_fresh_process(model, splits / "acceptance", cfg.batch_tokens, deps.get("judge"))

    scored = {}
    for i, (name, model) in enumerate({"dense": dense, "compressed": compressed}.items()):
        report(i, 3, f"acceptance split, {name} model")
        scored[name] = score_on(model)
    report(2, 3, "acceptance split, champion")
    crowned, dealt = _read(champion)["champion"], _sha256(split)
    rival = _champion(crowned, dealt, _measure(dense), score_on) if crowned else None
    if isinstance(rival, Scores):
        scored["champion"] = rival
    _same_documents(scored)
    _write_scores(acceptance, scored)
    boot = Bootstrap(resamples=cfg.resamples, level=contract.confidence)
    tried = _read(compress)
    recipe = tried["chosen"]
    seen, proven = _evidence(dense, compressed, _read(compress_speed), recipe), proofs(tried["candidates"][recipe])
    uncompared = rival if isinstance(rival, Uncompared) else None
    measured = _judged(cfg, contract, boot, seed, scored, seen, proven, uncompared)
    report(3, 3, f"verdict: {measured['verdict']}")
    return {
        **measured,
        "metric": metric,
        "chosen": recipe,
        "champion_recorded": crowned,
        "split_sha256": dealt,
        "compressed_sha256": sha256_tree(compressed),
        "dense_sha256": sha256_tree(dense),
    }


def _champion(
    crowned: dict[str, Any], dealt: str, measure: str, score_on: Callable[[Path], Scores]
) -> Scores | Uncompared:
    """The champion's scores on the same documents, or why there are none."""
    if crowned.get("split_sha256") != dealt:
        why = (
            "the champion is not comparable: it was trained on another split (params.yaml: split), so it may have "
            "seen these documents. It was not looked at"
        )
        return Uncompared(why, excused=True)
    with tempfile.TemporaryDirectory(prefix="nightforge-champion-") as folder:
        try:
            store.restore(crowned["md5"], Path(folder) / "model")
        except AssetMissing as e:
            why = f"the champion cannot be looked at: {e} Then: dvc repro --force --single-item accept"
            return Uncompared(why, excused=False)
        if (theirs := _measure(Path(folder) / "model")) != measure:
            why = f"the champion is not comparable: it is measured in {theirs}, and this model in {measure}"
            return Uncompared(why, excused=True)
        return score_on(Path(folder) / "model")


def _measure(model: Path) -> str:
    """What a model's quality is; bits a byte of two families are bounds, of which one may be far above the truth."""
    return f"{models.metric(model)} of a {models.card(model).get('family', 'model')}"


def _sha256(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _evidence(dense: Path, compressed: Path, speed: dict[str, Any], recipe: str) -> dict[str, float]:
    """Sizes measured now, latency and memory as compress measured them, in turns with the dense model."""
    fast = speed["candidates"][recipe]
    return {
        "size_mb": size_mb(compressed),
        "dense_size_mb": size_mb(dense),
        "latency_ms_p50": fast["latency_ms_p50"],
        "dense_latency_ms_p50": fast["dense_latency_ms_p50"],
        "latency_ms_p95": fast["latency_ms_p95"],
        "peak_memory_mb": fast["peak_memory_mb"],
    }


def _judged(
    cfg: AcceptConfig,
    contract: Contract,
    boot: Bootstrap,
    seed: int,
    scored: dict[str, Scores],
    seen: dict[str, float],
    proven: Sequence[Term],
    uncompared: Uncompared | None = None,
) -> dict[str, Any]:
    """The verdict and all that it rests on, as plain data."""
    dense, compressed, champion = scored["dense"], scored["compressed"], scored.get("champion")
    loss = stats.loss_share(compressed.nats, dense.nats, dense.documents, boot, seed)
    more = list(proven)
    against = stats.loss_share(compressed.nats, champion.nats, dense.documents, boot, seed) if champion else None
    if against:
        more.append(at_most("champion_loss_share", cfg.champion_margin, against.value, against.high))
    if uncompared:
        more.append(Term("champion_loss_share", cfg.champion_margin, None, None, uncompared.excused))
    rise = score.distance_rise(compressed, dense, boot, seed)
    verdict = judge(contract, Evidence(bpb_loss_share=loss.json(), kernel_distance_rise=rise, **seen), more)
    reasons, alarms = list(verdict.reasons), _alarms(verdict, seen["latency_ms_p50"] / seen["dense_latency_ms_p50"])
    if uncompared:
        (alarms if uncompared.excused else reasons).append(uncompared.why)
    return {
        "verdict": verdict.verdict,
        "met": int(verdict.met),
        "reasons": reasons,
        "alarms": alarms,
        "contract": verdict.rows(),
        "bpb_loss_share": loss.json(),
        "kernel_distance_rise": rise,
        "bpb": {name: _bpb(s, boot, seed).json() for name, s in scored.items()},
        "loss_by_label": score.loss_by_label(dense, compressed, boot, seed),
        "champion": {"bpb_loss_share": against.json(), "margin": cfg.champion_margin} if against else None,
        "documents": len(np.unique(dense.documents)),
        "units": int(dense.units.sum()),
        "size_mb": seen["size_mb"],
        "dense_size_mb": seen["dense_size_mb"],
    }


def _alarms(verdict: Judgement, latency_ratio: float) -> list[str]:
    """What a person should look at, whether or not the contract asks for it."""
    alarms, gain = [], next(term for term in verdict.terms if term.term == GAIN)
    if not gain.met:
        alarms.append(f"{gain.measured:.2%} better than the dense model: look for a leak or a broken measurement first")
    if latency_ratio > 1:
        alarms.append(f"slower than the dense model: {latency_ratio:.2f}× its median latency")
    return alarms


def _bpb(scores: Scores, boot: Bootstrap, seed: int) -> Interval:
    return stats.ratio(scores.nats, scores.units, scores.documents, boot, seed).scaled(1 / LN2)


def _same_documents(scored: dict[str, Scores]) -> None:
    for name, scores in scored.items():
        if scores.ids.tolist() != scored["dense"].ids.tolist():
            raise DataError(f"acceptance: the {name} model was scored on other documents than the dense model.")


def _write_scores(folder: Path, scored: dict[str, Scores]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = scored["dense"]
    columns = {"id": first.ids, "document": first.documents, "label": first.labels, "units": first.units}
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns | {f"{name}_nats": s.nats for name, s in scored.items()})
    pq.write_table(table, folder / "scores.parquet", compression="zstd")


def _read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
