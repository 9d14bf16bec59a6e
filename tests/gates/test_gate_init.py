"""A proposed suite opens for what it was made from, closes for faults, says why, and overwrites nothing unasked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from nightforge import cli
from nightforge.errors import DataError, GateClosed
from tasks import gate, gate_init, wiring
from tests.gates import healthy
from tests.gates.faults import EMAIL, FAULTS, cut, numbered, repeat, rows, short, text, without

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["raw", "drift", "clean", "splits", "balanced", "calibration", "dense", "compressed"]
CAUGHT = [
    *(
        f"splits {name} values_to_be_in_set value_set"
        for name in ("text_elsewhere", "document_elsewhere", "near_train")
    ),
    "balanced equals_evaluation values_to_be_in_set value_set",
    "balanced origin_in_train values_to_be_in_set value_set",
    "balanced label_ratio_change values_to_be_between max_value",
    "clean n_markers values_to_be_in_set value_set",
    "calibration equals_train values_to_be_in_set value_set",
    "dense bpb_difference values_to_be_between max_value",
    "compressed met values_to_be_in_set value_set",
    "raw rejected_share values_to_be_between max_value",
    "drift rows_ratio values_to_be_between max_value min_value",
]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.yaml", "params.yaml"):
        Path(name).symlink_to(ROOT / name)


def proposed(key: str) -> None:
    """A healthy artifact laid out, and the suite proposed of it."""
    wired = wiring.stage(f"gate@{key}")
    healthy.lay(Path(), wired, healthy.state(key), {"rows": []})
    Path(f"data/gates/{key}.yaml").unlink()
    gate_init.main(Path(), key, force=False)


def run(key: str, what: healthy.State) -> None:
    wired = wiring.stage(f"gate@{key}")
    suite = yaml.safe_load(Path(f"data/gates/{key}.yaml").read_text())
    for place in (wired.item["artifact"], wired.item["beside"]):
        shutil.rmtree(place, ignore_errors=True)
    healthy.lay(Path(), wired, what, suite)
    gate.run(wired, *wired.outs)


@pytest.mark.parametrize("key", KEYS)
def test_it_opens_for_what_it_was_made_from(key: str) -> None:
    proposed(key)
    run(key, healthy.state(key))
    suite = yaml.safe_load(Path(f"data/gates/{key}.yaml").read_text())
    entries = [e for of in suite.values() for e in of]
    assert len(entries) >= 3 and all(e["why"].strip() for e in entries)


@pytest.mark.parametrize("name", CAUGHT)
def test_it_closes_for_the_faults_that_matter(name: str) -> None:
    key = name.split(maxsplit=1)[0]
    proposed(key)
    state = healthy.state(key)
    FAULTS[name](state)
    with pytest.raises(GateClosed):
        run(key, state)


@pytest.mark.parametrize(
    ("fault", "by"),
    [
        (cut(240), "the table"),
        (repeat, "id"),
        (without("shape"), "label"),
        (text(f" write to {EMAIL}", 1), "has_pii"),
        (rows(480, short), "n_words"),
        (rows(480, numbered), "digit_share"),
        (text("\ufffd", 1), "n_replacement"),
    ],
)
def test_it_closes_for_faults_of_raw_data(fault: Callable[[healthy.State], None], by: str) -> None:
    proposed("raw")
    state = healthy.state("raw")
    fault(state)
    with pytest.raises(GateClosed, match=rf"{by}: "):
        run("raw", state)


def test_limits_are_those_that_the_why_tells() -> None:
    proposed("raw")
    suite = yaml.safe_load(Path("data/gates/raw.yaml").read_text())
    count = suite["rows"][0]
    assert (count["min_value"], count["max_value"]) == (336, 720)  # 70% and 150% of 480
    assert "480" in count["why"]
    label = next(e for e in suite["rows"] if e.get("column") == "label")
    assert label["value_set"] == healthy.LABELS
    rejected = next(e for e in suite["facts"] if e["column"] == "rejected_share")
    assert rejected["max_value"] == pytest.approx(2 * 10 / 490 + 0.01, rel=0.01)


def test_what_is_there_is_left_as_it_is_unless_forced() -> None:
    wired = wiring.stage("gate@raw")
    healthy.lay(Path(), wired, healthy.state("raw"), {"rows": [{"expect": "mine"}]})
    before = Path("data/gates/raw.yaml").read_bytes()
    said = gate_init.main(Path(), "raw", force=False)
    assert Path("data/gates/raw.yaml").read_bytes() == before
    assert "\n-- expect: mine" in said and "--force" in said
    gate_init.main(Path(), "raw", force=True)
    run("raw", healthy.state("raw"))


def test_what_would_be_proposed_again_keeps_its_why() -> None:
    wired = wiring.stage("gate@splits")
    healthy.lay(Path(), wired, healthy.state("splits"), {"rows": []})
    shutil.copy(ROOT / "data/gates/splits.yaml", "data/gates/splits.yaml")
    said = gate_init.main(Path(), "splits", force=True)
    suite = yaml.safe_load(Path("data/gates/splits.yaml").read_text())
    why = {e.get("column"): e["why"] for e in suite["rows"]}
    assert why["text_elsewhere"] == "a text in two splits is judged by a model that has seen it"
    assert why["split"].startswith("each decision is taken on rows of its own")
    assert why["has_secret"] == "it was 0 in every row", "the suite had none"
    assert "\n     column: text_elsewhere" in said, "what stays is not shown as changed: it is written as by hand"


def test_nothing_to_propose_from_is_said() -> None:
    with pytest.raises(DataError, match="dvc repro gate@raw"):
        gate_init.main(Path(), "raw", force=False)


def test_a_proposal_shows_no_text() -> None:
    proposed("raw")
    assert "foliage" not in Path("data/gates/raw.yaml").read_text()
    assert json.dumps(EMAIL) not in Path("data/gates/raw.yaml").read_text()


@pytest.mark.parametrize("order", [["--project", "p", "init", "raw"], ["init", "raw", "--project", "p"]])
def test_the_project_is_understood_wherever_it_is_named(order: list[str]) -> None:
    assert cli.parser().parse_args(["gates", *order]).project == "p"
