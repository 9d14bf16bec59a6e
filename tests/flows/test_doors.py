"""`dvc repro` and the flow are two doors to one graph: they run the same stages and leave the same state."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows import dry, graph, run, server
from nightforge.errors import Busy, ConfigError
from tasks import wiring

Edit = Callable[[Path, str, str], None]


def dvc(project: Path, *arguments: str) -> str:
    ended = subprocess.run(["dvc", *arguments], cwd=project, capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '(\S+)'", output))


def test_graph_is_that_of_dvc_yaml(toy: Path) -> None:
    read = graph.read(toy)
    made = {out: s.name for s in wiring.stages(toy).values() for out in (*s.outs, *s.metrics, *s.plots)}
    for name, wired in wiring.stages(toy).items():
        assert set(read.stages[name].upstream) == {made[dep] for dep in wired.deps if dep in made}
    order = list(read.stages)
    assert set(order) == set(wiring.stages(toy))
    assert all(order.index(up) < order.index(name) for name, s in read.stages.items() for up in s.upstream)
    assert (read.stages["side"].retries, read.stages["side"].timeout_s) == (2, 4)


def test_part_of_the_graph(toy: Path) -> None:
    assert set(graph.read(toy).only("train").stages) == {"ingest", "gate@raw", "train"}
    with pytest.raises(ConfigError, match="no stage 'trane'"):
        graph.read(toy).only("trane")


def test_no_project_is_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not under git and DVC: .*git init && dvc init"):
        graph.read(tmp_path)
    shutil.rmtree(toy / ".git")
    with pytest.raises(ConfigError, match=r"not under git and DVC: .*git init && dvc init"):
        graph.read(toy)


def test_bad_params_are_said_and_not_thrown(toy: Path) -> None:
    text = (toy / "dvc.yaml").read_text()
    (toy / "dvc.yaml").write_text(text.replace("deps: [toy_stage.py]", "deps: [toy_stage.py, data/source.json]", 1))
    with (toy / "params.yaml").open("a") as params:
        params.write("ingest: {sources: [], assets: []}\n")
    with pytest.raises(ConfigError, match=r"params\.yaml: ingest: .*sources"):
        dry.main(toy)


@pytest.mark.slow
def test_both_doors(toy: Path, tmp_path: Path, edit: Edit, api: str, capfd: pytest.CaptureFixture[str]) -> None:
    """From the flow to a clean `dvc status`; the same stages after an edit; and a contract that is not met."""
    assert run.main(toy) == 0
    first = capfd.readouterr().out
    assert ran(first) == set(wiring.stages(toy))
    assert "MET: toy is 0.40% worse in bits per byte than the dense model" in first
    assert f"Report: {toy}/reports/index.html" in first
    assert "100% step" in first and "[progress]" not in first
    assert "Data and pipelines are up to date" in dvc(toy, "status")
    assert run.main(toy) == 0
    assert ran(capfd.readouterr().out) == set()

    other = shutil.copytree(toy, tmp_path / "other")
    for old, new, stale in (
        ("lr: 0.1", "lr: 0.2", {"train", "compress", "accept", "report", "verdict"}),
        ("closed: false", "closed: false, note: none", {"gate@raw"}),  # which comes out as before
    ):
        for project in (toy, other):
            edit(project, old, new)
        assert run.main(toy) == 0
        assert ran(capfd.readouterr().out) == stale
        assert ran(dvc(other, "repro")) == stale
    assert "Data and pipelines are up to date" in dvc(toy, "status")

    accepted = (toy / ".nightforge/accepted.jsonl").read_text()
    edit(toy, "max_quality_loss: 0.01", "max_quality_loss: 0.003")
    assert run.main(toy) == 3
    out = capfd.readouterr().out
    assert "NOT MET: bpb_loss_share is at most 0.005, the limit is less." in out
    assert f"Report: {toy}/reports/index.html" in out  # a refused model has its page too
    assert (toy / ".nightforge/accepted.jsonl").read_text() == accepted


def test_dry_says_what_and_why(toy: Path, edit: Edit, capsys: pytest.CaptureFixture[str]) -> None:
    dvc(toy, "repro")
    assert dry.main(toy) == 0
    assert capsys.readouterr().out == "Nothing would rerun: all 8 stages are up to date.\n"
    edit(toy, "luck: good", "luck: better")
    before = (toy / "dvc.lock").read_text()
    text = dry.describe(graph.read(toy), {"side": 61.0})
    assert "Would rerun 1 of 8 stages, about 61 s by what each took last time" in text
    assert re.search(r"side +61\.0 s  params\.yaml: side", text)
    edit(toy, "seed: 1", "seed: 2")
    text = dry.describe(graph.read(toy), {"side": 61.0})
    assert "Would rerun 8 of 8 stages, about 61 s by what each took last time, and 7 never timed here" in text
    assert re.search(r"train +\?  gate@raw reruns; ingest reruns", text)
    assert (toy / "dvc.lock").read_text() == before


def test_second_driver_is_refused(toy: Path) -> None:
    with run.driver(toy), pytest.raises(Busy, match=rf"pid {psutil.Process().pid}, since 20\d\d-"), run.driver(toy):
        pass
    with run.driver(toy):
        pass


def test_every_run_beats_as_often_as_the_ui_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of another door beat every 180 s, as Prefect does by itself, and was shown as crashed after 90."""
    monkeypatch.setattr(server.os, "environ", {})
    server.settings()
    assert server.os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(server.HEARTBEAT_S)


def test_the_pages_of_the_ui_ask_the_server_that_they_are_of(ui: str) -> None:
    """On any port: they asked port 4200 once, whatever --port said."""
    with urllib.request.urlopen(f"{ui.removesuffix('/api')}/ui-settings") as answer:
        assert json.load(answer)["api_url"] == ui
