"""Time generation by a model folder in a process of its own, so that memory and caches are of this model alone.

`python -m tasks.probe MODEL EACH` reads prompts (JSON lists of token ids, or of a label) from stdin, and prints
one JSON line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from nightforge import memory, models
from nightforge.errors import NightforgeError
from tasks.stage import CODE_ROOT

RUNTIMES = {
    "transformers": "torch",
    "onnxruntime-genai": "genai",
    "onnx-seq2seq": "seq2seq",
    "array": "array",
    "onnx": "array",
    "llama.cpp": "llamacpp",
    "openvino": "decoder",
    "torch-export": "decoder",
}
"""Loader of model.json → tasks/probe_<this>.py, whose `measure(model, prompts, each)` gives the seconds that each
generated token took, or each sample, and whose UNIT says which."""


class ProbeFailed(NightforgeError):
    """A model folder could not be loaded, or could not generate."""


def in_fresh_process(model: Path, prompts: Sequence[Sequence[int]], each: int) -> dict[str, float]:
    """Figures of `measure`, taken in a new process.

    Raises:
        ProbeFailed: with the last lines that the process wrote.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tasks.probe", str(model), str(each)],
        input=json.dumps([list(p) for p in prompts]),
        env=os.environ | {"PYTHONPATH": str(CODE_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ProbeFailed(f"{model} could not be timed: {' | '.join(said[-2:])[-600:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(model: Path, prompts: Sequence[Sequence[int]], each: int) -> dict[str, float]:
    """Time what is generated for each prompt. Peak memory (MB: 10⁶ bytes) is of the process and all its libraries."""
    runtime = import_module(f"tasks.probe_{RUNTIMES[models.card(model)['loader']]}")
    seconds = np.array(runtime.measure(model, prompts, each))
    return {
        "latency_ms_p50": float(np.quantile(seconds, 0.5) * 1e3),
        "latency_ms_p95": float(np.quantile(seconds, 0.95) * 1e3),
        f"{runtime.UNIT}_per_s": float(len(seconds) / seconds.sum()),
        "peak_memory_mb": memory.peak_bytes("cpu") / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), json.load(sys.stdin), int(sys.argv[2]))))
