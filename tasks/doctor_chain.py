"""One batch through the whole chain: a few records go through the real stages, in a folder of their own.

The stages are those of dvc.yaml with the values of params.yaml, made small where a value is only a length of work. They
run one after another in one process, so that heavy imports are paid once.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Container, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nightforge import memory
from nightforge.errors import AssetMissing, NightforgeError
from nightforge.records import Record, content_id
from tasks import probe, shards, stage, wiring
from tasks.doctor_check import Check, Size
from tasks.doctor_source import cached, config, peek

CHAIN = (
    *("clean", "split", "balance", "augment", "represent", "knowledge"),
    *("judge", "train", "evaluate", "evaluate_array"),
)
"""Stages in their order, of which a project has some."""
WORDS = """small large green bright river stone animal plant tree bird wing leaf water hand slow quick old young round
flat northern common wild edible having with from near under over found used made of the a and or""".split()  # noqa: SIM905
RECORDS, LOOKED_AT = 240, 20_000
TIMEOUT_S = 300
SAID = Path("said.json")
SMALL: dict[str, Any] = {
    "judge": {"network": {"steps": 1}, "bootstrap": {"resamples": 100}},
    "train": {"loop": {"steps": 1, "eval_every": 1, "precision": "fp32"}, "eval_documents": 8},
    "evaluate": {
        "metrics": {"diversity": {"texts_per_label": 1, "new_tokens": 8}},
        "bootstrap": {"resamples": 100},
        "speed_prompts": 2,
        "speed_prompt_tokens": 2,
        "speed_new_tokens": 2,
    },
    "evaluate_array": {
        "bootstrap": {"resamples": 100},
        "samples_per_label": 2,
        "shown_per_label": 1,
        "speed_labels": 2,
        "speed_samples": 1,
    },
}
"""Values that only say how long a stage works, and what they are here; all others stay as the project has them."""


class Rehearsal(NamedTuple):
    """A running rehearsal: its process, its folder, and where the records came from."""

    process: subprocess.Popen[bytes]
    folder: Path
    rows: str


def start(project: Path, folder: Path) -> Rehearsal:
    """Lay out a project folder and set the stages going there; `finish` tells how it went."""
    stages = wiring.stages(project)
    _graph(project, folder)
    values = wiring.read_yaml(project / "params.yaml")
    _shrink(values, SMALL)
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    for room in ("nightforge", "tasks"):
        (folder / room).symlink_to(stage.CODE_ROOT / room)
    _bring(project, folder, stages)
    _start_model(values, folder, stages)
    rows, found = _records(project, stages)
    shards.write(folder / stages["clean"].paths["raw"], found)
    env = {
        **os.environ,
        "PYTHONPATH": str(stage.CODE_ROOT),
        "NIGHTFORGE_HOME": str(wiring.home_folder(project)),
        "HF_HUB_OFFLINE": "1",
    }
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "tasks.doctor_chain"]
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    return Rehearsal(process, folder, rows)


def finish(run: Rehearsal) -> tuple[list[Check], Size]:
    """A check for each stage, and what the model took."""
    try:
        code = run.process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        run.process.kill()
        code = run.process.wait()
    path = run.folder / SAID
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"steps": []}
    checks = [_check(step) for step in said["steps"]]
    if code and (not checks or checks[-1].status != "fail"):
        after = checks[-1].name if checks else "the start"
        why = f"ended by signal {-code}" if code < 0 else f"ended with {code}"
        tail = " ".join((run.folder / "log").read_text(encoding="utf-8", errors="replace").split()[-30:])
        way = "memory may be too small: a smaller batch or model in params.yaml" if code < 0 else "see the message"
        checks.append(Check(f"batch after {after.removeprefix('batch ')}", "fail", f"{why}: {tail}", way))
    if checks:
        checks[0] = checks[0]._replace(found=f"{run.rows}: {checks[0].found}")
    return checks, Size(*(int(said.get(key, 0)) for key in Size._fields))


def chain(stages: Container[str]) -> list[str]:
    """Those stages of the chain that a project has."""
    return [name for name in CHAIN if name in stages]


def _check(step: dict[str, Any]) -> Check:
    name = f"batch {step['stage']}"
    if step["error"]:
        return Check(name, "fail", step["error"], f"mend section {step['stage']!r} of params.yaml, or the stage's code")
    return Check(name, "ok", step["found"])


def _graph(project: Path, folder: Path) -> None:
    """The project's dvc.yaml without gates, each stage free to load all code of ours."""
    body = wiring.read_yaml(project / "dvc.yaml")["stages"]
    gates = (wiring.GATES, wiring.PASSED)
    code = [p.relative_to(stage.CODE_ROOT) for room in ("nightforge", "tasks") for p in _python(room)]
    for name in chain(body):
        data = [d for d in map(str, body[name]["deps"]) if not d.endswith((".py", ".lock")) and not d.startswith(gates)]
        body[name]["deps"] = [*data, *map(str, code)]
    kept = {"stages": {name: body[name] for name in chain(body)}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")


def _shrink(values: Any, small: dict[str, Any]) -> None:
    """Put the small values in the place of those that there are; of a list of methods, by their names."""
    if isinstance(values, list):
        values = {method.get("name"): method for method in values if isinstance(method, dict)}
    for key in small.keys() & (values.keys() if isinstance(values, dict) else set()):
        if isinstance(small[key], dict):
            _shrink(values[key], small[key])
        else:
            values[key] = small[key]


def _start_model(values: dict[str, Any], folder: Path, stages: dict[str, wiring.Wiring]) -> None:
    """Record the starting model, as a run would but for its hashes; it is read where it lies."""
    named = str((values.get("train") or {}).get("model", "scratch"))
    record: dict[str, Any] = {"from": "scratch"} if named == "scratch" else {"folder": named, "files": {}}
    path = folder / stages["train"].paths["base"]
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf-8")


def _python(room: str) -> Iterator[Path]:
    return (stage.CODE_ROOT / room).rglob("*.py")


def _bring(project: Path, folder: Path, stages: dict[str, wiring.Wiring]) -> None:
    """What the chain reads and does not make: assets, and which model to start from."""
    ours = [stages[name] for name in chain(stages)]
    made = {stages["clean"].paths["raw"], *(p for one in ours for p in (*one.outs, *one.metrics))}
    for path in (p for one in ours for p in one.paths.values() if p not in made):
        if (project / path).exists() and not (folder / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to((project / path).resolve())


def _records(project: Path, stages: dict[str, wiring.Wiring]) -> tuple[str, list[Record]]:
    """A few records of every class: what ingest wrote, or else what a source at hand gives, or else made-up ones.

    Raises:
        AssetMissing: only texts can be made up.
    """
    raw = project / stages["clean"].paths["raw"]
    if raw.exists():
        return "real records", _mixed(islice(shards.read(raw), LOOKED_AT))
    cfg, home = config(project), wiring.home_folder(project)
    for source in [] if isinstance(cfg, str) else cfg.sources:
        here = cached(source, home) or ("://" not in source.address and not source.address.startswith("pkg:"))
        if here and (found := peek(source, home, LOOKED_AT)):
            return "records of the source", _mixed(iter(found))
    if "judge" in stages:
        raise AssetMissing("no source of pictures or sounds is here yet, and none can be made up")
    return "made-up records (no source is here yet)", made_up()


def _mixed(records: Iterator[Record]) -> list[Record]:
    """At most RECORDS, as evenly from the classes as they allow."""
    by_label: dict[str | None, list[Record]] = defaultdict(list)
    for record in records:
        by_label[record.label].append(record)
    share = -(-RECORDS // max(len(by_label), 1))
    return [r for group in by_label.values() for r in group[:share]][:RECORDS]


def made_up() -> list[Record]:
    """Records of four classes, each text some words in an order of its own."""
    rng = random.Random(0)  # noqa: S311  texts, not secrets
    found = []
    for i in range(RECORDS):
        text, label = " ".join(rng.choices(WORDS, k=rng.randint(8, 16))), f"class{i % 4}"
        found.append(Record(content_id(text, label), text, label=label, source=f"made-up#{i}"))
    return found


def main() -> int:
    """Run the chain in the working directory; what came of it goes to `said.json`, step by step."""
    said: dict[str, Any] = {"steps": []}
    stages = wiring.stages()
    probe.in_fresh_process = probe.measure  # nobody reads these timings: save the seconds of another process
    for name in chain(stages):
        started, error, skipped = time.monotonic(), "", ""
        try:
            skipped = _run(stages[name])
        except NightforgeError as e:
            error = str(e)
        except Exception as e:  # noqa: BLE001  whatever happens in a stage is what doctor is to tell
            traceback.print_exc()
            error = f"{type(e).__name__}: {e}"
        found = skipped or f"{time.monotonic() - started:.1f} s"
        said["steps"].append({"stage": name, "error": error, "found": found})
        said["peak_bytes"] = memory.peak_bytes("cpu")
        said["peak_gpu_bytes"] = _peak_gpu_bytes()
        card = stages["train"].paths["dense"] / "model.json"
        said["parameters"] = json.loads(card.read_text(encoding="utf-8"))["parameters"] if card.exists() else 0
        SAID.write_text(json.dumps(said), encoding="utf-8")
        if error:
            return 1
    return 0


def _peak_gpu_bytes() -> int:
    torch = sys.modules.get("torch")
    return int(torch.cuda.max_memory_allocated()) if torch is not None and torch.cuda.is_available() else 0


def _run(one: wiring.Wiring) -> str:
    """Run a stage, or say why it is left out."""
    missing = [p for p in one.deps if not p.exists()]
    if one.name in {"augment", "represent"} and missing:
        if one.name == "augment":
            shutil.copytree(one.paths["splits"] / "train", one.paths["balanced"])
        return f"left out: {missing[0]} is not here yet; make run brings it"
    stage.execute(one.name)
    return ""


if __name__ == "__main__":
    sys.exit(main())
