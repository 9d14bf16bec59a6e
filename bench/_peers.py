"""What the peers make of a model, each by its own package: a model folder or file, and how it is scored.

What a peer made is kept in bench/.data/compress under a name made of all that it was made from.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from bench._halves import DATA, Half
from bench.run import peers
from nightforge import models
from nightforge.export import gguf
from nightforge.held import Held
from nightforge.scoring import TEXT

BUILDER = "onnxruntime_genai.models.builder"
REQUIREMENTS = [
    "olive-ai==0.13.0",
    "onnxruntime-genai==0.14.1",  # the newest that Olive 0.13's ModelBuilder pass works with
    "onnxruntime==1.32.0",
    "torch==2.13.0",
    "transformers==5.23.0",
    "accelerate==1.15.0",
    "llama-cpp-python==0.3.36",
]
HERE = Path(__file__).resolve().parent
CALIBRATION_TOKENS = 32_768
"""That Olive looks at, as our own recipes do."""
QUIET = {"DO_NOT_TRACK": "1", "OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def builder(half: Half, precision: str, options: Mapping[str, str]) -> Path:
    """The folder that onnxruntime-genai's own model builder makes."""
    said = [f"{key}={value}" for key, value in sorted(options.items())]

    def make(out: Path, work: Path) -> None:
        command = ["-m", BUILDER, "-m", "model", "-i", str(half.dense), "-o", str(out), "-c", str(work / "cache")]
        extra = ["--extra_options", *said] if said else []
        _run([sys.executable, *command, "-p", precision, "-e", "cpu", *extra], work)

    return kept(half, f"builder-{precision}", " ".join(said), make)


def olive(half: Half) -> Path:
    """The folder that Olive makes; calibrated on the same documents as ours."""

    def make(out: Path, work: Path) -> None:
        rows, left = [], CALIBRATION_TOKENS
        for document in half.encoded("calibration"):
            if left > 0:
                rows.append(document.ids)
                left -= len(document.ids)
        (work / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        arm = [_python(), str(HERE / "_olive_arm.py"), str(half.dense), str(work / "rows.json")]
        _run([*arm, str(out), str(work / "cache")], work)

    return kept(half, "olive", (HERE / "_olive_arm.py").read_text(encoding="utf-8"), make)


def llamacpp(half: Half, kind: str) -> Path:
    """A GGUF file rounded by llama.cpp, of `LLAMA_FTYPE_MOSTLY_<kind>`, from one in fp32 of our own writing."""

    def make(out: Path, work: Path) -> None:
        held = Held(models.load(half.dense).model)
        gguf.convert(held, half.dense, work, gguf.SAMPLE.model_copy(update={"rest": "f32"}))
        out.mkdir()
        _run(llamacpp_arm("quantize", str(work / gguf.FILE), str(out / gguf.FILE), kind), work)

    return kept(half, f"llamacpp-{kind}", "", make) / gguf.FILE


def llamacpp_nats(half: Half, model: Path) -> float:
    """Nats per token of the acceptance split in llama.cpp."""
    rows = [(d.ids, [mark == TEXT for mark in d.marks]) for d in half.documents]
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        done = subprocess.run(llamacpp_arm("score", str(model), file.name), stdout=-1, stderr=-3, text=True, check=True)
    return float(done.stdout.splitlines()[-1]) / half.tokens


def llamacpp_arm(*arguments: str) -> list[str]:
    """A command of bench/_llamacpp_arm.py."""
    return [_python(), str(HERE / "_llamacpp_arm.py"), *arguments]


def kept(half: Half, name: str, made_of: str, make: Callable[[Path, Path], None]) -> Path:
    """A folder made by `make(out, work)`, or as it was made of the same before.

    Raises:
        SystemExit: nothing was made; Olive exits with 0 then.
    """
    told = "\n".join([half.sha256, made_of, *REQUIREMENTS])
    folder = DATA / half.name / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"partial-{folder.name}")  # Olive takes a name with a suffix for that of a file
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA) as work:
        make(partial, Path(work))
    if not any(partial.glob("model.*")):
        raise SystemExit(f"bench: {name} made nothing of {half.dense}")
    return partial.rename(folder)


@cache
def _python() -> str:
    return str(peers(REQUIREMENTS))


def _run(command: list[str], work: Path) -> None:
    done = subprocess.run(command, cwd=work, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command[:3])} failed: {done.stderr[-1500:]}")
