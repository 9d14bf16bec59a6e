"""Every expectation of every gate closes it when it should, and nothing that a gate writes shows what a text says."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from nightforge.errors import ConfigError, GateClosed
from tasks import gate, gate_table, wiring
from tasks.hashing import sha256_file, sha256_tree
from tests.gates import healthy
from tests.gates.faults import EMAIL, FAULTS, text

ROOT = Path(__file__).resolve().parents[2]
GATES = ["raw", "drift", "clean", "splits", "balanced", "calibration", "dense", "compressed"]
WIRED = wiring.stages(ROOT)


def suite(key: str) -> dict[str, Any]:
    return healthy.scaled(ROOT / "data" / "gates" / f"{key}.yaml")


def named(key: str, entry: dict[str, Any]) -> str:
    """The name of an expectation in `FAULTS`."""
    what = entry["expect"].removeprefix("expect_table_").removeprefix("expect_column_").removesuffix("_to_be_between")
    what = what + "_to_be_between" if what in {"values", "median", "mean"} else what
    limits = sorted(k for k in entry if k not in {"expect", "why", "column", "mostly"})
    return " ".join([key, entry.get("column", "table"), what, *limits])


def expectations(key: str) -> list[str]:
    loaded = suite(key)
    return [named(key, e) for of in ("rows", "facts") for e in loaded.get(of, [])]


def run(folder: Path, key: str, what: healthy.State, spec: dict[str, Any]) -> dict[str, Any]:
    """Run a gate as its stage does, in `folder`; returns the verdict it left."""
    wired = WIRED[f"gate@{key}"]
    healthy.lay(folder, wired, what, spec)
    gate.run(wired, *wired.outs)
    return json.loads(wired.outs[0].read_text())


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("key", GATES)
def test_a_healthy_artifact_opens_its_gate(tmp_path: Path, key: str) -> None:
    (tmp_path / "reports/closed").mkdir(parents=True)
    (tmp_path / f"reports/closed/{key}.json").write_text("old")
    verdict = run(tmp_path, key, healthy.state(key), suite(key))
    assert verdict["verdict"] == "open"
    assert verdict["evaluated"] == len(expectations(key)) == len(verdict["results"]) > 0
    assert verdict["artifact_sha256"] == sha256_tree(Path(verdict["artifact"]))
    assert verdict["suite_sha256"] == sha256_file(Path(f"data/gates/{key}.yaml"))
    assert all(r["met"] for r in verdict["results"])
    assert not Path(f"reports/closed/{key}.json").exists()
    assert Path(f"reports/data_docs/{key}/index.html").exists()


def test_a_changed_limit_changes_the_verdict_and_not_the_pass(tmp_path: Path) -> None:
    spec = suite("dense")
    run(tmp_path, "dense", healthy.state("dense"), spec)
    before = Path("reports/gates/dense.json").read_bytes(), Path("reports/passed/dense.json").read_bytes()
    limit = next(e for e in spec["facts"] if e["column"] == "bpb.value")
    limit["max_value"] += 1
    Path("data/gates/dense.yaml").write_text(yaml.safe_dump(spec))
    wired = WIRED["gate@dense"]
    gate.run(wired, *wired.outs)
    after = Path("reports/gates/dense.json").read_bytes(), Path("reports/passed/dense.json").read_bytes()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_every_expectation_has_a_fault_and_every_fault_an_expectation() -> None:
    have = [name for key in GATES for name in expectations(key)]
    assert len(have) == len(set(have)), "two expectations of the same name: give them one line, or different limits"
    assert set(have) == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_closes_the_gate_by_its_expectation(tmp_path: Path, name: str) -> None:
    key = name.split(maxsplit=1)[0]
    state = healthy.state(key)
    FAULTS[name](state)
    with pytest.raises(GateClosed):
        run(tmp_path, key, state, suite(key))
    verdict = json.loads(Path(f"reports/closed/{key}.json").read_text())
    failed = [i for i, r in enumerate(verdict["results"]) if not r["met"]]
    assert expectations(key).index(name) in failed
    assert all("error" not in r["observed"] for r in verdict["results"] if not r["met"]), "failed for the wrong reason"
    assert not Path(f"reports/gates/{key}.json").exists()


def test_nothing_that_is_written_shows_a_text_and_what_is_printed_is_redacted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = healthy.state("clean")
    text(f" zanzibar {EMAIL}", 3)(state)
    wanted = [r.id for r in state["artifact"][:3]]
    state["artifact"][4] = healthy.replace(state["artifact"][4], label="zanzibar <b>", id="zanzibar row")
    with pytest.raises(GateClosed) as closed:
        run(tmp_path, "clean", state, suite("clean"))
    written = "".join(p.read_text(errors="replace") for p in Path("reports").rglob("*") if p.is_file())
    for secret in ("zanzibar", EMAIL, "initech", "foliage"):
        assert secret not in written
        assert secret not in str(closed.value)
    printed = capsys.readouterr().out
    assert "zanzibar" in printed and EMAIL not in printed
    assert all(i in printed for i in wanted)
    assert "can be generated" in printed  # the why
    assert max(map(len, (line for line in printed.splitlines() if "zanzibar" in line))) < 120
    pages = [p.read_text() for p in Path("reports/data_docs").rglob("*.html")]
    assert pages and not any("<script src" in p or "stylesheet" in p or "<img" in p for p in pages)


def test_an_open_verdict_shows_no_text(tmp_path: Path) -> None:
    run(tmp_path, "raw", healthy.state("raw"), suite("raw"))
    written = "".join(p.read_text(errors="replace") for p in Path("reports").rglob("*") if p.is_file())
    assert "foliage" not in written


def test_the_verdict_is_the_same_twice(tmp_path: Path) -> None:
    first = run(tmp_path, "dense", healthy.state("dense"), suite("dense"))
    raw = Path("reports/gates/dense.json").read_bytes()
    wired = WIRED["gate@dense"]
    gate.run(wired, *wired.outs)
    assert Path("reports/gates/dense.json").read_bytes() == raw
    assert not {"run_id", "time", "run_time"} & set(first)


def test_a_gate_that_closes_takes_its_old_verdict_away(tmp_path: Path) -> None:
    run(tmp_path, "compressed", healthy.state("compressed"), suite("compressed"))
    wired = WIRED["gate@compressed"]
    Path("metrics/accept.json").write_text('{"met": 0}')
    with pytest.raises(GateClosed):
        gate.run(wired, *wired.outs)
    assert not wired.outs[0].exists()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"rows": []}, "no expectation"),
        ({}, "expected a mapping|no expectation"),
        ({"columns": []}, "rows and facts"),
        ({"rows": ["n_words"]}, "expected {expect"),
        ({"rows": [{"expect": "expect_column_value_to_be_between", "column": "n_words", "why": "x"}]}, "Did you mean"),
        ({"rows": [{"expect": "expect_column_values_to_be_unique", "column": "id"}]}, "expected a why"),
        (
            {"rows": [{"expect": "expect_column_values_to_be_between", "column": "n_words", "min": 1, "why": "x"}]},
            "extra fields",
        ),
        (
            {"rows": [{"expect": "expect_column_values_to_be_unique", "column": "id", "mostly": 0, "why": "x"}]},
            "mostly must be above 0",
        ),
        (
            {"rows": [{"expect": "expect_column_quantile_values_to_be_between", "column": "n_words", "why": "x"}]},
            "no expectation",
        ),
    ],
)
def test_a_suite_that_cannot_be_held_is_refused(tmp_path: Path, spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run(tmp_path, "raw", healthy.state("raw"), spec)
    assert not Path("reports/gates/raw.json").exists()


def test_labels_that_were_not_expected_are_named(tmp_path: Path) -> None:
    state = healthy.state("raw")
    state["artifact"] = [healthy.replace(r, label="tool" if r.label == "time" else r.label) for r in state["artifact"]]
    with pytest.raises(GateClosed, match=r"unexpected \['tool'\], missing \['time'\]"):
        run(tmp_path, "raw", state, suite("raw"))


@pytest.mark.parametrize(
    ("expect", "names", "says"),
    [
        ("contain_set", ["time", "tool"], r"observed: missing \['tool'\]\)"),
        ("be_in_set", ["time", "food"], r"unexpected \['animal', 'body', 'event', 'feeling', 'plant', 'shape'\]\)"),
        ("equal_set", [f"class {i:02}" for i in range(25)], r"'class 19', '… and 5 more'\]\)"),
    ],
)
def test_every_expectation_of_a_set_says_what_lacks_and_what_is_too_much(
    tmp_path: Path, expect: str, names: list[str], says: str
) -> None:
    entry = {"expect": f"expect_column_distinct_values_to_{expect}", "column": "label", "value_set": names, "why": "x"}
    with pytest.raises(GateClosed, match=says):
        run(tmp_path, "raw", healthy.state("raw"), {"rows": [entry]})


def test_a_missing_column_closes_the_gate_and_names_those_there_are(tmp_path: Path) -> None:
    spec = {"rows": [{"expect": "expect_column_values_to_be_unique", "column": "n_wrods", "why": "x"}]}
    with pytest.raises(GateClosed, match="n_words"):
        run(tmp_path, "raw", healthy.state("raw"), spec)


def test_rows_are_expected_of_metrics_without_scores_in_vain(tmp_path: Path) -> None:
    spec = {"rows": [{"expect": "expect_column_values_to_be_unique", "column": "id", "why": "x"}]}
    with pytest.raises(GateClosed, match="no rows"):
        run(tmp_path, "compressed", healthy.state("compressed"), spec)


def test_a_family_s_own_figure_is_a_fact_under_one_name(tmp_path: Path) -> None:
    """And is worked out again from the scores: 2 log(2) nats of 2 units are 1 bit each."""
    judged = {"metric": "judge_bits", "judge_bits": {"value": 1.25}, "documents": 1}
    (tmp_path / "evaluate.json").write_text(json.dumps(judged))
    rows = {"id": ["a"], "nats": [2 * math.log(2)], "units": [2]}
    pl.DataFrame(rows).write_parquet(tmp_path / "scores.parquet")
    facts = gate_table.of(tmp_path / "evaluate.json", tmp_path).facts
    assert facts["metric.value"] == 1.25 and facts["bpb_difference"] == pytest.approx(0.25)


def test_an_empty_artifact_passes_nothing(tmp_path: Path) -> None:
    spec = suite("raw")
    with pytest.raises(GateClosed):
        run(tmp_path, "raw", {"artifact": [], "beside": []}, spec)
    results = json.loads(Path("reports/closed/raw.json").read_text())["results"]
    mapped = [r for r in results if r["of"] == "rows" and r["expectation"].startswith("expect_column_values")]
    assert mapped and not any(r["met"] for r in mapped)


def test_a_missing_number_is_no_pass(tmp_path: Path) -> None:
    """NaN: Great Expectations skips missing values."""
    state = healthy.state("dense")
    state["artifact"]["gain_over_ngram_bpb"]["low"] = float("nan")
    state["beside"][0]["nats"] = float("nan")
    with pytest.raises(GateClosed):
        run(tmp_path, "dense", state, suite("dense"))
    results = json.loads(Path("reports/closed/dense.json").read_text())["results"]
    assert {"nats", "gain_over_ngram_bpb.low"} <= {r["column"] for r in results if not r["met"]}


def test_the_stage_shell_keeps_the_verdict_of_an_open_gate_only(tmp_path: Path) -> None:
    """As DVC runs it: a process of its own, which must load no file that dvc.yaml does not list."""
    wired = WIRED["gate@compressed"]
    healthy.lay(tmp_path, wired, healthy.state("compressed"), suite("compressed"))
    for name in ("dvc.yaml", "params.yaml", "nightforge", "tasks"):
        Path(name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "tasks", "gate@compressed"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(Path("reports/gates/compressed.json").read_text())["verdict"] == "open"
    Path("metrics/accept.json").write_text(json.dumps({"met": 0}))
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert ran.returncode == GateClosed.exit_code
    assert "must keep the contract" in ran.stderr
    assert not [*Path("reports/gates").iterdir(), *Path("reports/passed").iterdir()]


def test_the_suites_that_ship_are_valid_and_say_why() -> None:
    for key in GATES:
        loaded = yaml.safe_load((ROOT / "data" / "gates" / f"{key}.yaml").read_text())
        assert all(e["why"].strip() for of in loaded.values() for e in of)
