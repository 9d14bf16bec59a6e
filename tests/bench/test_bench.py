"""The benches' own promises: the toy project is real, a missed goal is shown as missed, results name no machine."""

import json
import platform
import random
import runpy
import socket
from pathlib import Path

from bench import AtLeast, Goals, _dedup, compress, data, orders, overhead, run

GOALS: Goals = {"noop_s": (3.0, "nothing to do"), "gone_s": (1.0, "never measured")}


def test_the_toy_project_runs_all_its_stages_and_then_none(tmp_path: Path) -> None:
    project = tmp_path / "project"
    overhead.lay_out(project)
    env, repro = overhead.environment(project), [str(overhead.BIN / "dvc"), "repro", "-q"]
    overhead.timed(repro, project, env)
    assert (project / f"data/n{overhead.STAGES}").read_text() == f"{overhead.STAGES}\n"
    assert json.loads((project / "metrics/toy0.json").read_text()) == {"value": 1}
    lock = (project / "dvc.lock").read_bytes()
    overhead.timed(repro, project, env)
    assert (project / "dvc.lock").read_bytes() == lock
    overhead.change(project, 5)
    overhead.timed(repro, project, env)
    values = [json.loads((project / f"metrics/toy{i}.json").read_text())["value"] for i in range(overhead.STAGES)]
    assert values == [i + 6 for i in range(overhead.STAGES)], "a new value reruns every stage"


def test_goals_met_and_missed_are_told_apart() -> None:
    met = run.section("x", "What it is.\n\nMore.", "Then.", {"noop_s": 2.9, "ours_vs_peer": 0.5}, GOALS).splitlines()
    assert met[2:5:2] == ["What it is.", "Then."]
    assert "| `noop_s` | 2.9 | ≤ 3.0 | yes | nothing to do |" in met
    assert "| `gone_s` | None | ≤ 1.0 | **no** | never measured |" in met
    assert met[-1].startswith("| `ours_vs_peer` | 0.5 |")
    assert "**no** | nothing to do" in run.section("x", "D", "", {"noop_s": 3.1}, GOALS)
    least: Goals = {"recall": AtLeast(0.95, "found")}
    assert "| `recall` | 0.95 | ≥ 0.95 | yes | found |" in run.section("x", "D", "", {"recall": 0.95}, least)
    assert "| `recall` | 0.94 | ≥ 0.95 | **no** | found |" in run.section("x", "D", "", {"recall": 0.94}, least)
    assert not run.met(least["recall"], None) and run.met((1.0, ""), 1.0) and not run.met((1.0, ""), 1.1)
    assert "**Failed.**" in run.section("x", "D", "", None, GOALS)


def test_sections_of_benches_that_are_not_run_stay() -> None:
    one, other = (run.section(name, "D", "", {"noop_s": 1.0}, GOALS) for name in ("one", "other"))
    assert run.sections("\n\n".join([run.head(), one, other]) + "\n") == {"one": one, "other": other}


def test_a_goal_is_the_same_thing_to_the_module_that_is_run() -> None:
    """`python -m bench.run` is another module than the `bench.run` that is imported."""
    met = runpy.run_module("bench.run", run_name="__not_main__")["met"]
    assert met(AtLeast(10, ""), 11) and not met(AtLeast(10, ""), 9)


def test_results_name_versions_and_no_machine() -> None:
    head = run.head()
    assert f"Python {platform.python_version()}" in head and "prefect 3." in head and "cores" in head
    for secret in {socket.gethostname(), str(Path.home()), str(Path.cwd())} - {"localhost", "/"}:
        assert secret not in head


def test_every_bench_has_goals_and_a_first_paragraph() -> None:
    for bench in (overhead, data, compress, orders):
        assert bench.GOALS and bench.__doc__ and "\n\n" in bench.__doc__


def test_planted_pairs_have_the_index_that_they_are_said_to_have() -> None:
    rng = random.Random(1)
    pages = [" ".join("".join(rng.choices("abcdefgh", k=9)) for _ in range(150)) for _ in range(2_300)]
    texts, near, far = _dedup.planted(pages)
    assert len(near) == len(far) == _dedup.PAIRS and len(texts) == len(pages) + 2 * _dedup.PAIRS
    for pairs, (low, high) in ((near, _dedup.NEAR), (far, _dedup.FAR)):
        for one, other in pairs[:50]:
            a, b = ({tuple(t.split()[i : i + 5]) for i in range(146)} for t in (texts[one], texts[other]))
            assert low <= len(a & b) / len(a | b) <= high
    everything = set(range(len(texts)))
    assert _dedup.quality(everything, near, far) == (0, 0)
    assert _dedup.quality(everything - {b for _, b in near}, near, far) == (1, 1)
    assert _dedup.quality(everything - {b for _, b in [*near, *far]}, near, far) == (1, 0.5)
