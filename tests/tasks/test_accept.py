"""Acceptance: the verdict on synthetic scores, by hand; the champion brought back from the cache; one whole run."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from nightforge import models, summary, tokenizer
from nightforge.contract import Contract, Term, proofs
from nightforge.errors import AssetMissing, DataError
from nightforge.records import Record, content_id
from nightforge.stats import Bootstrap
from tasks import accept, score, shards, store
from tasks.accept import AcceptConfig
from tasks.score import Scores

LIMITS = {
    "confidence": 0.95,
    "max_quality_loss": 0.01,
    "max_size_share": 0.25,
    "max_size_mb": None,
    "max_latency_ratio": 1.0,
    "max_latency_ms_p95": None,
    "max_peak_memory_mb": None,
    "max_kernel_distance_rise": None,
    "max_plausible_gain": 0.02,
}
CFG = AcceptConfig(resamples=500, batch_tokens=512, champion_margin=0.005)
SEEN = {
    "size_mb": 1.0,
    "dense_size_mb": 5.0,
    "latency_ms_p50": 0.1,
    "dense_latency_ms_p50": 2.0,
    "latency_ms_p95": 0.2,
    "peak_memory_mb": 60.0,
}
NATS = np.random.default_rng(0).gamma(4, 10, 400)


def scores(nats: Any) -> Scores:
    n = len(nats)
    ids, labels = np.array([f"{i:04}" for i in range(n)]), np.array(["plant", "food"] * (n // 2))
    none = np.zeros((0, 0), np.float32)
    return Scores(ids, ids, labels, np.full(n, 50), np.asarray(nats), none, none.astype(np.int64), none, none)


def scored_on(folder: Path) -> Scores:
    """Of a champion that is not to be looked at."""
    pytest.fail(f"{folder} was scored")


def judged(
    compressed: Any,
    limits: dict[str, Any] | None = None,
    champion: Any = None,
    uncompared: accept.Uncompared | None = None,
    dense: Scores | None = None,
    proven: Sequence[Term] = (),
    **seen: float,
) -> dict[str, Any]:
    scored = {
        "dense": dense or scores(NATS),
        "compressed": compressed if isinstance(compressed, Scores) else scores(compressed),
    }
    if champion is not None:
        scored["champion"] = scores(champion)
    contract = Contract.model_validate(LIMITS | (limits or {}))
    boot = Bootstrap(resamples=500, level=0.95)
    return accept._judged(CFG, contract, boot, 17, scored, SEEN | seen, proven, uncompared)


def test_a_contract_of_one_percent_is_met_where_three_in_a_thousand_is_not() -> None:
    found = judged(NATS * 1.005)
    assert (found["verdict"], found["met"], found["reasons"]) == ("MET", 1, [])
    assert found["bpb_loss_share"] == pytest.approx({"value": 0.005, "low": 0.005, "high": 0.005})  # paired: no noise
    assert found["bpb"]["dense"]["value"] == pytest.approx(NATS.sum() / np.log(2) / (50 * 400))
    assert found["loss_by_label"]["food"] == pytest.approx(
        {"value": 0.005, "low": 0.005, "high": 0.005, "documents": 200}
    )
    refused = judged(NATS * 1.005, {"max_quality_loss": 0.003})
    assert (refused["verdict"], refused["met"]) == ("NOT MET", 0)
    assert refused["reasons"] == ["bpb_loss_share: bound 0.005 is over the limit 0.003"]


def test_the_bound_is_held_against_the_limit() -> None:
    noisy = NATS * (1 + np.random.default_rng(1).normal(0.0125, 0.05, len(NATS)))
    found = judged(noisy)
    loss = found["bpb_loss_share"]
    assert loss["value"] < 0.01 < loss["high"]
    assert found["verdict"] == "NOT MET"


def test_what_no_contract_excuses_is_refused_here_too() -> None:
    made = {"changed_share": 0.5, "output_max_difference": 0.1, "size_share": 0.4, "reload_kl_nats": 0.001}
    assert judged(NATS, proven=proofs(made))["verdict"] == "MET"
    larger = judged(NATS, proven=proofs(made | {"size_share": 1.0}))
    assert (larger["verdict"], larger["reasons"]) == ("NOT MET", ["no_effect: bound 1 is over the limit 0"])
    other = judged(NATS, proven=proofs(made | {"reload_kl_nats": 0.06}))
    assert (other["verdict"], other["reasons"]) == ("NOT MET", ["reload_kl_nats: bound 0.06 is over the limit 0.05"])


def test_a_worse_model_than_the_champion_is_refused_though_it_keeps_the_contract() -> None:
    found = judged(NATS * 1.005, champion=NATS * 0.98)
    assert found["reasons"] == ["champion_loss_share: bound 0.02551 is over the limit 0.005"]
    assert found["champion"]["bpb_loss_share"]["value"] == pytest.approx(1.005 / 0.98 - 1)
    assert judged(NATS * 1.005, champion=NATS * 1.002)["verdict"] == "MET"  # within the margin
    assert judged(NATS * 1.005)["champion"] is None


def test_a_champion_of_another_split_is_announced_and_not_looked_at(tmp_path: Path) -> None:
    crowned = {"md5": "00.dir", "split_sha256": accept._sha256({"seed": 1})}
    other = accept._champion(crowned, accept._sha256({"seed": 2}), "bpb", scored_on)  # looked at, it would be missing
    assert isinstance(other, accept.Uncompared)
    found = judged(NATS * 1.005, uncompared=other)
    assert (found["verdict"], found["champion"], found["reasons"]) == ("MET", None, [])
    assert "not comparable: it was trained on another split" in found["alarms"][0]
    row = found["contract"][-1]
    assert (row["term"], row["measured"], row["bound"], row["met"]) == ("champion_loss_share", None, None, True)
    assert "not comparable" in summary.markdown(found | {"chosen": "int4"})


def test_a_champion_that_the_cache_has_lost_is_no_crash_and_not_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lost = accept._champion({"md5": "00.dir", "split_sha256": "5"}, "5", "bpb", scored_on)
    assert isinstance(lost, accept.Uncompared)
    found = judged(NATS * 1.005, uncompared=lost)
    assert (found["verdict"], found["contract"][-1]["met"]) == ("NOT MET", False)
    assert found["reasons"][0].startswith("champion_loss_share was not measured")
    assert "dvc fetch --all-branches" in found["reasons"][1]
    assert "dvc repro --force --single-item accept" in found["reasons"][1]


def test_an_implausible_gain_is_refused_with_an_alarm() -> None:
    found = judged(NATS * 0.9)
    assert found["verdict"] == "NOT MET"
    assert "10.00% better than the dense model" in found["alarms"][0]
    assert judged(NATS * 0.99)["alarms"] == []


def test_samples_that_lie_further_from_records_are_refused() -> None:
    rng = np.random.default_rng(3)
    real, made = (rng.normal(size=(200, 4)).astype(np.float32) for _ in range(2))
    dense, same, worse = (replace(scores(NATS), seen_real=real, seen_made=made + shift) for shift in (0, 0, 0.5))
    asked = {"max_kernel_distance_rise": 0.05}
    assert judged(same, asked, dense=dense)["verdict"] == "MET"
    found = judged(worse, asked, dense=dense)
    assert found["verdict"] == "NOT MET" and found["reasons"][0].startswith("kernel_distance_rise: bound")
    assert judged(worse, dense=dense)["verdict"] == "MET"
    assert judged(NATS, asked)["reasons"] == [
        "kernel_distance_rise was not measured, and the contract asks for at most 0.05"
    ]


def test_a_slower_model_is_said_to_be_slower_even_where_speed_is_not_asked() -> None:
    found = judged(NATS, {"max_latency_ratio": None}, latency_ms_p50=3.0)
    assert found["verdict"] == "MET"
    assert found["alarms"] == ["slower than the dense model: 1.50× its median latency"]
    assert judged(NATS, latency_ms_p50=3.0)["verdict"] == "NOT MET"


def test_scores_of_other_documents_are_no_comparison() -> None:
    with pytest.raises(DataError, match="compressed model was scored on other documents"):
        accept._same_documents({"dense": scores(NATS), "compressed": scores(NATS[:-2])})


def test_divergence_by_hand() -> None:
    dense, other = np.log(np.array([[0.5, 0.5]], np.float32)), np.log(np.array([[0.25, 0.75]], np.float32))
    assert score.kl_nats(dense, other) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75))
    assert score.kl_nats(dense, dense + 3) == pytest.approx(0)


def cached(cache: Path, files: dict[str, bytes]) -> str:
    """A folder as DVC caches it; returns its md5."""
    import hashlib

    entries = []
    for name, content in files.items():
        md5 = hashlib.md5(content).hexdigest()
        entries.append({"md5": md5, "relpath": name})
        (cache / "files/md5" / md5[:2]).mkdir(parents=True, exist_ok=True)
        (cache / "files/md5" / md5[:2] / md5[2:]).write_bytes(content)
    listing = json.dumps(entries).encode()
    md5 = hashlib.md5(listing).hexdigest() + ".dir"
    (cache / "files/md5" / md5[:2]).mkdir(parents=True, exist_ok=True)
    (cache / "files/md5" / md5[:2] / md5[2:]).write_bytes(listing)
    return md5


def test_a_folder_comes_back_from_the_cache(tmp_path: Path) -> None:
    md5 = cached(tmp_path / "cache", {"a.txt": b"one", "deep/b.bin": b"\0two"})
    store.restore(md5, tmp_path / "out", tmp_path / "cache")
    assert (tmp_path / "out/a.txt").read_bytes() == b"one"
    assert (tmp_path / "out/deep/b.bin").read_bytes() == b"\0two"


def test_what_the_cache_lacks_is_named_with_the_way_out(tmp_path: Path) -> None:
    md5 = cached(tmp_path / "cache", {"a.txt": b"one"})
    with pytest.raises(AssetMissing, match=r"folder 00ff\.dir is not in the DVC cache.*dvc fetch"):
        store.restore("00ff.dir", tmp_path / "out", tmp_path / "cache")
    next(p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".dir").unlink()
    with pytest.raises(AssetMissing, match=r"a\.txt is not in the DVC cache"):
        store.restore(md5, tmp_path / "out", tmp_path / "cache")


def test_a_listing_that_points_outside_is_refused(tmp_path: Path) -> None:
    md5 = cached(tmp_path / "cache", {"../escaped": b"one"})
    with pytest.raises(AssetMissing, match="outside"):
        store.restore(md5, tmp_path / "out", tmp_path / "cache")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.slow
def test_a_whole_run_with_a_champion_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    texts = [f"a tall tree number {i} with leaves" for i in range(40)]
    words = tokenizer.train(texts, ["plant"], 300, 64)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), max_position_embeddings=64, **shape))
    models.save(tmp_path / "dense", model, words, {"family": "causal_lm"})
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1e-3 * torch.randn_like(weight))
    models.save(tmp_path / "compressed", model, words, {"family": "causal_lm"})
    (tmp_path / ".dvc").mkdir()
    files = {p.name: p.read_bytes() for p in (tmp_path / "dense").iterdir()}
    dealt = {"seed": 3}
    crown = {
        "champion": {
            "md5": cached(tmp_path / ".dvc/cache", files),
            "accepted_at": "2026-01-01",
            "split_sha256": accept._sha256(dealt),
        }
    }
    made = {"changed_share": 1.0, "output_max_difference": 0.1, "size_share": 0.9}
    speed = {"latency_ms_p50": 1.0, "latency_ms_p95": 2.0, "peak_memory_mb": 60.0, "dense_latency_ms_p50": 2.0}
    for name, content in {
        "champion.json": crown,
        "compress.json": {"chosen": "int4", "candidates": {"int4": made}},
        "speed.json": {"dense": speed, "candidates": {"int4": speed}},
    }.items():
        (tmp_path / name).write_text(json.dumps(content))
    rows = [Record(id=content_id(t, "plant"), text=t, label="plant") for t in texts]
    shards.write(tmp_path / "splits/acceptance", rows)
    monkeypatch.chdir(tmp_path)
    where = [Path(p) for p in ("dense", "compressed", "champion.json", "splits", "compress.json", "speed.json")]
    limits = LIMITS | {"max_size_share": None}
    found = accept.run(CFG, Contract.model_validate(limits), dealt, 17, *where, {}, Path("out"))
    assert abs(found["bpb_loss_share"]["value"]) < 0.01
    assert [row["bound"] for row in found["contract"] if row["term"] == "no_effect"] == [0]
    # the champion is the dense model itself, so both comparisons are the same
    assert found["champion"]["bpb_loss_share"] == pytest.approx(found["bpb_loss_share"])
    assert found["champion_recorded"]["accepted_at"] == "2026-01-01"
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out/scores.parquet")
    assert table.column_names == ["id", "document", "label", "units", "dense_nats", "compressed_nats", "champion_nats"]
    assert table.column("id").to_pylist() == [r.id for r in rows]

    card = json.loads(files["model.json"]) | {"family": "seq2seq"}  # measured in bits a byte too, of other things
    other = cached(tmp_path / ".dvc/cache", files | {"model.json": json.dumps(card).encode()})
    crowned = crown["champion"] | {"md5": other}
    rival = accept._champion(crowned, crowned["split_sha256"], accept._measure(Path("dense")), scored_on)
    says = "the champion is not comparable: it is measured in bpb of a seq2seq, and this model in bpb of a causal_lm"
    assert rival == accept.Uncompared(says, excused=True)
