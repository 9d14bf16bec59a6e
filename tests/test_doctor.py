"""`nightforge doctor` says what is wrong, and the way out, on real project folders that are broken on purpose."""

import json
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import doctor, doctor_chain, doctor_machine, doctor_project, doctor_source, wiring
from tasks.doctor_check import Check, Size

ROOT = Path(__file__).parent.parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with this repository's graph, values and code, and a small source of its own."""
    for name in ("dvc.yaml", "params.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "data" / "gates", tmp_path / "data" / "gates")
    for room in ("nightforge", "tasks"):
        (tmp_path / room).symlink_to(ROOT / room)
    rows = [{"text": r.text, "kind": r.label} for r in doctor_chain.made_up()]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = {"name": "jsonl", "columns": {"text": "text", "label": "kind"}, "keep": []}
    source = {"name": "own", "address": "rows.jsonl", "sha256": None, "format": named}
    edit(tmp_path, lambda values: values.update(ingest={"sources": [source], "assets": []}))
    return tmp_path


def edit(project: Path, change: Any) -> None:
    values = yaml.safe_load((project / "params.yaml").read_text())
    change(values)
    (project / "params.yaml").write_text(yaml.safe_dump(values))


def of(checks: Any, name: str, status: str) -> list[Check]:
    return [c for c in checks if c.name == name and c.status == status]


def test_sound_params_and_wiring_pass(project: Path) -> None:
    checks = list(doctor_project.wired(project))
    assert not [c for c in checks if c.status != "ok"], doctor.table(checks)
    assert [c.name for c in checks] == ["params", "wiring", "gates"]


def test_a_method_that_does_not_exist_names_the_nearest(project: Path) -> None:
    edit(project, lambda values: values["clean"]["presets"]["short"][2].update(name="lenght"))
    [wrong] = of(doctor_project.wired(project), "params", "fail")
    assert "no method 'lenght'" in wrong.found and "Did you mean 'length'" in wrong.found
    assert "nightforge/clean/lenght.py" in wrong.found and "nightforge methods" in wrong.way_out


def test_a_value_out_of_bounds_names_the_field(project: Path) -> None:
    edit(project, lambda values: values["clean"].update(rule_share_max=3))
    [wrong] = of(doctor_project.wired(project), "params", "fail")
    assert "clean: rule_share_max" in wrong.found and "got 3" in wrong.found


def test_a_wrong_executor_is_said_before_a_stage_meets_it(project: Path) -> None:
    edit(project, lambda values: values["executor"].update(name="spark"))
    [wrong] = of(doctor_project.wired(project), "params", "fail")
    assert "params.yaml: executor: name: Input should be 'local' or 'ray'" in wrong.found


def test_a_missing_section_is_named(project: Path) -> None:
    edit(project, lambda values: values.pop("balance"))
    assert [c.found for c in of(doctor_project.wired(project), "params", "fail")] == [
        "params.yaml has no section 'balance'."
    ]


def test_params_that_are_no_yaml(project: Path) -> None:
    (project / "params.yaml").write_text("seed: [1, 2\n")
    [wrong] = of(doctor_project.wired(project), "dvc.yaml", "fail")
    assert "params.yaml: not valid YAML" in wrong.found and wrong.way_out
    rehearsal, [batch] = doctor._start(project, project)
    assert rehearsal is None and "not valid YAML" in batch.found


def test_wiring_faults_are_named(project: Path) -> None:
    text = (project / "dvc.yaml").read_text()
    broken = text.replace("    params: [balance, seed]", "    params: [balance]").replace(
        "tasks/clean.py", "tasks/klean.py"
    )
    assert broken.count("klean") == text.count("tasks/clean.py") > 0
    (project / "dvc.yaml").write_text(broken)
    said = " | ".join(c.found for c in of(doctor_project.wired(project), "wiring", "fail"))
    assert "tasks/klean.py, which does not exist" in said
    assert "stage balance reads 'seed'" in said


def test_a_gate_that_expects_nothing(project: Path) -> None:
    (project / "data/gates/clean.yaml").write_text("rows: []\n")
    [wrong] = of(doctor_project.wired(project), "gates", "fail")
    assert wrong.found == "data/gates/clean.yaml expects nothing"


def test_git_and_dvc_are_looked_for(project: Path) -> None:
    assert of(doctor_project.tools(project), "git", "fail")[0].way_out.startswith("git init")
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    assert of(doctor_project.tools(project), "dvc", "fail")[0].way_out == "dvc init"
    (project / "examples/own").mkdir(parents=True)
    assert of(doctor_project.tools(project / "examples/own"), "dvc", "fail")[0].way_out == "dvc init --subdir"
    (project / ".dvc").mkdir()
    assert [c.status for c in doctor_project.tools(project)] == ["ok", "ok"]


def test_the_lock_file_of_this_environment_is_met() -> None:
    checks = list(doctor_machine.packages(ROOT / "requirements.lock"))
    assert not of(checks, "packages", "fail"), doctor.table(checks)


def test_versions_that_differ_from_the_lock(tmp_path: Path) -> None:
    lock, have = tmp_path / "requirements.lock", metadata.version("pydantic")
    lock.write_text("# pins\npydantic==99.0\nnumpy==0.1  # old\nno-such-thing-at-all==1.0\n")
    checks = list(doctor_machine.packages(lock))
    warned = " | ".join(c.found for c in of(checks, "packages", "warn"))
    assert f"outdated: pydantic {have} (lock: 99.0)" in warned
    assert f"newer than the lock: numpy {metadata.version('numpy')} (lock: 0.1)" in warned
    assert of(checks, "packages", "fail")[0].found == "not installed: no-such-thing-at-all"
    assert all("make setup" in c.way_out for c in checks)
    assert of(doctor_machine.packages(tmp_path / "none.lock"), "packages", "fail")


def test_a_local_build_of_the_pinned_version_is_no_difference(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text(f"torch=={metadata.version('torch').partition('+')[0]}\n")
    [check] = doctor_machine.packages(tmp_path / "requirements.lock")
    assert check.status == "ok"


def test_a_known_clash_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    for name, version in (("fastapi", "0.165.0"), ("sqlalchemy", "2.1.9")):
        (site / f"{name}-{version}.dist-info").mkdir(parents=True)
        (site / f"{name}-{version}.dist-info/METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    monkeypatch.syspath_prepend(str(site))
    said = " | ".join(doctor_machine.clashes([]))
    assert "fastapi 0.165.0 clashes with nightforge, which asks for <0.151: the API server of Prefect" in said
    assert "sqlalchemy 2.1.9 clashes with nightforge" in said and "creates no runs" in said


def test_devices_are_stated_plainly() -> None:
    checks = {c.name: c for c in doctor_machine.devices()}
    assert list(checks) == ["CPU", "CUDA", "ROCm", "MPS", "TPU", "FPGA"]
    assert str(doctor_machine.usable_cores()) in checks["CPU"].found
    for refused in ("TPU", "FPGA"):
        assert checks[refused].found.startswith("not supported") and "ONNX Runtime" in checks[refused].found


def test_a_gpu_without_a_build_of_torch_for_it_says_how_to_get_one() -> None:
    check = doctor_machine._gpu("CUDA", "", None, "580.95")
    assert check.status == "warn" and "driver 580.95" in check.found and "make setup TORCH=" in check.way_out


def test_disk_and_memory_against_the_estimate(tmp_path: Path) -> None:
    assert doctor_machine.disk(tmp_path / "not/yet/there", 1_000, 1_000_000).status in {"ok", "warn"}
    full = doctor_machine.disk(tmp_path, 10**18, 0)
    assert full.status == "fail" and "10000000000.2 GB" in full.found and "dvc cache dir" in full.way_out
    small = next(doctor_machine.memory(Size(1_000_000, 10**8)))
    assert small.status == "ok" and "holds 0.02 GB" in small.found  # 16 bytes × 10⁶
    huge = list(doctor_machine.memory(Size(10**12, 0)))[-1]  # on the device that trains
    assert huge.status == "fail" and "holds 16000.00 GB" in huge.found


def test_sources_are_read_and_held_against_their_record(project: Path) -> None:
    from tasks import snapshot

    [unrecorded] = doctor_source.readable(project)
    assert unrecorded.status == "warn" and unrecorded.way_out == "nightforge snapshot"
    snapshot.write(project)
    [sound] = doctor_source.readable(project)
    assert (sound.name, sound.status, sound.found) == ("source own", "ok", "rows.jsonl can be read, 200 rows tried")
    assert doctor_source.source_bytes(project) == (project / "rows.jsonl").stat().st_size
    with (project / "rows.jsonl").open("a") as file:
        file.write('{"text": "one more row", "kind": "class0"}\n')
    [moved] = doctor_source.readable(project)
    assert moved.status == "warn" and "no longer what" in moved.found
    (project / "rows.jsonl").unlink()
    [gone] = doctor_source.readable(project)
    assert gone.status == "fail" and "rows.jsonl" in gone.found


def test_a_source_whose_columns_do_not_fit(project: Path) -> None:
    edit(project, lambda values: values["ingest"]["sources"][0]["format"]["columns"].update(text="txt"))
    [wrong] = doctor_source.readable(project)
    assert wrong.status == "fail" and "txt" in wrong.found


def test_prefect_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    telemetry, api = doctor_project.prefect()
    assert telemetry.status == "warn" and "PREFECT_SERVER_ANALYTICS_ENABLED=false" in telemetry.way_out
    assert api.status == "fail" and "does not answer" in api.found and "unset PREFECT_API_URL" in api.way_out
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    monkeypatch.delenv("PREFECT_API_URL")
    assert [c.status for c in doctor_project.prefect()] == ["ok", "ok"]


def test_the_table_is_aligned_and_shows_the_way_out() -> None:
    shown = doctor.table([Check("a", "ok", "fine"), Check("longer", "fail", "word " * 40, "do this")]).splitlines()
    assert shown[0] == "✓ a       fine"
    assert shown[1].startswith("✗ longer  word") and shown[2].startswith("          word")
    assert shown[-1] == "          → do this" and max(map(len, shown)) <= doctor.WIDTH


def test_a_starting_model_beside_the_project_is_named_and_nothing_is_laid_there(tmp_path: Path) -> None:
    values = {"train": {"model": "../../models/pretrained/some"}}
    (folder := tmp_path / "a/b").mkdir(parents=True)
    doctor_chain._start_model(values, folder, wiring.stages(ROOT))
    assert json.loads((folder / "models/base.json").read_text()) == {"folder": values["train"]["model"], "files": {}}
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == ["a/b/models/base.json"]
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_one_batch_goes_through_and_a_fault_in_it_names_its_stage(project: Path, tmp_path_factory: Any) -> None:
    def batch() -> tuple[list[Check], Size]:
        return doctor_chain.finish(doctor_chain.start(project, tmp_path_factory.mktemp("batch")))

    checks, size = batch()
    assert [c.name for c in checks] == [f"batch {name}" for name in doctor_chain.chain(wiring.stages(ROOT))]
    assert {c.status for c in checks} == {"ok"}, doctor.table(checks)
    assert checks[0].found.startswith("records of the source")
    assert size.parameters > 100_000 and size.peak_bytes > 10**8
    edit(project, lambda values: values["clean"]["presets"]["short"][2].update(words_min=150))
    checks, _ = batch()
    assert checks[-1].status == "fail" and checks[-1].name in {"batch clean", "batch split"}


@pytest.mark.slow
def test_one_batch_of_pictures_goes_through_the_stages_that_there_are(tmp_path: Path) -> None:
    checks, size = doctor_chain.finish(doctor_chain.start(ROOT / "examples/images", tmp_path))
    assert {c.status for c in checks} == {"ok"}, doctor.table(checks)
    names = ("clean", "split", "balance", "augment", "judge", "train", "evaluate_array")
    assert [c.name for c in checks] == [f"batch {name}" for name in names] and size.parameters > 1000


def test_a_batch_of_sounds_is_left_out_where_there_are_none(tmp_path: Path) -> None:
    project, folder = tmp_path / "project", tmp_path / "batch"
    shutil.copytree(ROOT / "examples/audio", project, ignore=shutil.ignore_patterns("raw", ".nightforge", "cache"))
    folder.mkdir()
    rehearsal, [check] = doctor._start(project, folder)
    assert rehearsal is None and check.status == "warn" and "none can be made up" in check.found


@pytest.mark.slow
def test_main_fails_with_a_verdict_and_its_exit_code(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(project, lambda values: values.pop("split"))
    assert doctor.main(project) == 69
    shown = capsys.readouterr().out
    assert "✗ Not fit to run: git, dvc, params, batch split" in shown.splitlines()[-1]
