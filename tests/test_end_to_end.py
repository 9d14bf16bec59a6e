"""A user's own data through the real graph: to a verdict by one door, all cached by the other, and stopped by a gate.

The project is a copy of this one with another source, a tiny model and suites that fit; everything else is as shipped.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import wiring
from tests import mini_wordnet

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.slow

SUITES: dict[str, Any] = {
    "raw": {
        "facts": [{"expect": "expect_table_row_count_to_be_between", "min_value": 1, "why": "there is data"}],
        "rows": [
            {
                "expect": "expect_column_values_to_be_in_set",
                "column": "label",
                "value_set": ["plant", "meal"],
                "why": "known",
            }
        ],
    },
    **{
        key: {"rows": [{"expect": "expect_column_values_to_not_be_null", "column": "id", "why": "each row is known"}]}
        for key in ("clean", "splits", "balanced", "calibration", "dense")
    },
    "drift": {
        "facts": [
            {"expect": "expect_column_values_to_be_between", "column": "rows_ratio", "min_value": 0.7, "why": "volume"}
        ]
    },
    "compressed": {
        "facts": [
            {"expect": "expect_column_values_to_be_between", "column": "met", "min_value": 1, "why": "the contract"}
        ]
    },
}


WORDS = {
    "plant": ["root", "leaf", "stem", "bark", "seed", "petal", "branch", "thorn", "moss", "fern"],
    "meal": ["bread", "soup", "rice", "bean", "broth", "cheese", "stew", "noodle", "egg", "fish"],
    "adjective": ["large", "tall", "showy", "small", "old", "green", "dry", "sweet", "bitter", "thin", "dark", "pale"],
    "place": ["river", "hill", "garden", "house", "island", "forest", "desert", "valley", "coast", "city", "meadow"],
}


def write_corpus(path: Path, label: str = "meal") -> None:
    """Two unequal classes of sentences by a small grammar."""
    rng = random.Random(3)
    with path.open("w") as f:
        for at in range(900):
            kind = label if at % 4 == 0 else "plant"
            one, two = rng.sample(WORDS["plant" if kind == "plant" else "meal"], 2)
            a, b, c = rng.sample(WORDS["adjective"], 3)
            text = f"a {a} and {b} {one} with a {c} {two}, found by the {rng.choice(WORDS['place'])} number {at}"
            f.write(json.dumps({"body": text, "kind": kind}) + "\n")


def shrink(params: dict[str, Any]) -> None:
    """Another source, a tiny model, few measurements."""
    columns = {"text": "body", "label": "kind"}
    source = {"name": "own", "address": "in/corpus.jsonl", "sha256": None}
    params["ingest"] = {
        "sources": [source | {"format": {"name": "jsonl", "columns": columns, "keep": []}}],
        "assets": [{"name": "wordnet", "address": "in/wordnet", "sha256": None, "lf": True}],
    }
    params["clean"]["rule_share_max"] = 0.9
    params["train"]["family"] |= {"hidden": 64, "layers": 2, "heads": 2, "kv_heads": 1, "ffn": 128, "vocab": 384}
    params["train"]["loop"] |= {"steps": 60, "eval_every": 30, "precision": "fp32"}
    params["train"]["eval_documents"] = 20
    for metric in params["evaluate"]["metrics"]:
        if metric["name"] == "diversity":
            metric |= {"texts_per_label": 4, "new_tokens": 16}
    params["evaluate"] |= {"speed_prompts": 3, "speed_new_tokens": 8}
    params["compress"]["recipes"] = {"int4": params["compress"]["recipes"]["int4"]}
    params["compress"] |= {"rounds": 1, "prompts": 3, "new_tokens": 8}
    params["contract"] |= {"max_quality_loss": 0.5, "max_size_share": 0.9, "max_latency_ratio": None}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, once through `dvc repro`."""
    folder = tmp_path_factory.mktemp("user") / "project"
    folder.mkdir()
    for name in ("nightforge", "tasks", "flows", "data/gates", "models"):
        shutil.copytree(ROOT / name, folder / name, ignore=lambda d, names: {n for n in names if _heavy(d, n)})
    for name in ("dvc.yaml", "requirements.lock", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    wiring = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(wiring.replace("nightforge/ingest/wordnet.py", "nightforge/ingest/jsonl.py"))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    shrink(params)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for key, suite in SUITES.items():
        (folder / f"data/gates/{key}.yaml").write_text(yaml.safe_dump(suite))
    (folder / "in").mkdir()
    write_corpus(folder / "in/corpus.jsonl")
    mini_wordnet.write(folder / "in/wordnet")
    for command in ("git init -q", "dvc init -q", "git add -A", "git commit -qm start"):
        call(folder, *command.split())
    call(folder, "nightforge", "snapshot")
    call(folder, "dvc", "repro")
    return folder


def _heavy(folder: str, name: str) -> bool:
    return name == "__pycache__" or (name in {"dense", "candidates", "compressed"} and folder.endswith("models"))


def call(folder: Path, *command: str, code: int = 0) -> str:
    """Run a command of our environment in the project; returns what it printed."""
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    env.pop("PREFECT_API_URL", None)
    tool = [sys.executable, "-m", "nightforge.cli", *command[1:]] if command[0] == "nightforge" else command
    done = subprocess.run(
        tool, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert (done.returncode == code) if code >= 0 else done.returncode, done.stdout[-6_000:]
    return done.stdout


def accepted(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics/accept.json").read_text())  # type: ignore[no-any-return]


def test_own_data_reach_a_verdict(project: Path) -> None:
    verdict = accepted(project)
    assert verdict["verdict"] == "MET", verdict["reasons"]
    assert verdict["chosen"] == "int4"
    counts = json.loads((project / "metrics/clean.json").read_text())
    assert counts["rows_read"] == 900 == counts["rows_kept"] + counts["rows_rejected"]
    assert "MET" in (project / "reports/index.html").read_text()


def test_the_other_door_finds_all_done_and_says_the_same(project: Path) -> None:
    said = call(project, "nightforge", "run")
    assert said.count("│ unchanged") == len(wiring.stages(project)), said
    assert "Running stage" not in said
    assert "\nMET: int4 is " in said
    assert "up to date" in call(project, "dvc", "status")


def test_the_accepted_model_speaks(project: Path) -> None:
    said = call(project, "nightforge", "generate", "--label", "meal", "-n", "2", "--max-new-tokens", "12")
    assert len(said.strip().splitlines()) >= 2


def test_a_contract_that_is_not_met_has_its_page_and_exit_code(project: Path) -> None:
    params = project / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("max_quality_loss: 0.5", "max_quality_loss: 0.0"))
    try:
        said = call(project, "nightforge", "run", code=3)
        assert "NOT MET: bpb_loss_share: bound" in said
        assert "NOT MET" in (project / "reports/index.html").read_text()
        assert accepted(project)["met"] == 0
        ran = {line.split("│")[0].strip() for line in said.splitlines() if "│ Running stage" in line}
        assert ran == {"compress", "accept", "report", "gate@compressed"}
    finally:
        params.write_text(before)
        call(project, "dvc", "repro")


def test_broken_raw_data_is_stopped_at_both_doors_and_by_every_stage_below(project: Path) -> None:
    corpus = project / "in/corpus.jsonl"
    before = corpus.read_bytes()
    write_corpus(corpus, label="mael")
    try:
        said = call(project, "nightforge", "run", code=66)
        assert "value_set ['plant', 'meal']" in said or "expect_column_values_to_be_in_set" in said
        assert "FAILED: gate@raw: GateClosed" in said
        assert not (project / "reports/gates/raw.json").exists()
        assert (project / "reports/closed/raw.json").exists()
        assert (project / "reports/failed.html").exists()
        call(project, "dvc", "repro", code=-1)
        said = call(project, "dvc", "repro", "--force", "--single-item", "train", code=-1)
        assert "gate@raw is closed, upstream of train" in said
    finally:
        corpus.write_bytes(before)
        call(project, "nightforge", "snapshot")
        call(project, "dvc", "repro")
    assert accepted(project)["verdict"] == "MET"
