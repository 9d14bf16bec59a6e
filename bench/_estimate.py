"""`nightforge estimate` against what then happens: the stage train over pages, its values those of the sample project.

Foretold and run one after the other, in processes of their own, as a person would; the run is made short.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import chdir
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from bench import _corpus
from nightforge.records import Record
from tasks import shards

ROOT = Path(__file__).resolve().parent.parent
TRAIN, VALIDATION, STEPS = 6_000, 300, 400
LAID = {"balanced": "data/balanced", "splits": "data/splits", "base": "models/base.json"}


def errors() -> dict[str, float]:
    """Relative errors of the seconds and of the peak memory."""
    with tempfile.TemporaryDirectory() as name, chdir(name):
        lay()
        told, came = asked("foretold"), asked("run")
    return {
        "estimate_error": abs(told["seconds"] / came["seconds"] - 1),
        "estimate_memory_error": abs(told["peak_memory_mb"] / came["peak_memory_mb"] - 1),
        "estimate_seconds": told["seconds"],
        "estimate_seconds_came": came["seconds"],
    }


def lay() -> None:
    """What the stage reads, in the working directory."""
    texts = (text[:600] for text in _corpus.read(_corpus.documents(50)))
    records = (Record(id=f"{at:016x}", text=text) for at, text in enumerate(texts))
    shards.write(Path(LAID["balanced"]), islice(records, TRAIN))
    shards.write(Path(LAID["splits"], "validation"), islice(records, VALIDATION))
    Path(LAID["base"]).parent.mkdir()
    Path(LAID["base"]).write_text('{"from": "scratch"}')
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["train"]
    values["loop"] |= {"steps": STEPS, "eval_every": STEPS // 2, "save_every": STEPS // 2}
    Path("train.yaml").write_text(yaml.safe_dump(values))


def asked(what: str) -> dict[str, float]:
    """The figures of a fresh process."""
    command = [sys.executable, "-m", "bench._estimate", what]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={"PYTHONPATH": str(ROOT), "PATH": ""}
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """In the folder that was laid out: foretell, or run."""
    from tasks import estimate, train
    from tasks.prepared import Inputs, TrainConfig

    cfg = TrainConfig(**yaml.safe_load(Path("train.yaml").read_text()))
    balanced, splits, base = (Path(LAID[name]) for name in ("balanced", "splits", "base"))
    if sys.argv[1] == "foretold":
        forecast, peak_bytes, _ = estimate.measured(estimate.Project(cfg, 17, Inputs(balanced, splits, {})))
        print(json.dumps({"seconds": forecast.total, "peak_memory_mb": peak_bytes / 1e6}))
        return
    Path("work").mkdir()
    speed: Any = train.run(cfg, 17, base, balanced, splits, {}, Path("dense"), Path("work"), Path("plots")).speed
    print(json.dumps({name: speed[name] for name in ("seconds", "peak_memory_mb")}))


if __name__ == "__main__":
    main()
