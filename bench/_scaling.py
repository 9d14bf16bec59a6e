"""The whole stage `clean` with the preset `technical`, at 50 MB of real text and at 1 GB of it and its changed copies.

Each size is a process of its own with two workers; memory is the sum of the proportional set sizes of it and all its
children (shared pages are counted once), sampled four times a second. Bytes a row are the growth from 200 MB, where
every batch is full, to 1 GB.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

from bench import _corpus
from nightforge.records import Record
from tasks import clean, shards
from tasks.clean import CleanConfig
from tasks.executor import Executor

SMALL_MB, FULL_MB, LARGE_MB, WORKERS, PRESET = 50, 200, 1_000, 2, "technical"
PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"


def measure() -> dict[str, float]:
    """Seconds at both sizes as a ratio over the ratio of the sizes, peaks, and bytes a row between them."""
    small_s, small_bytes, _ = cleaned(SMALL_MB)
    _, full_bytes, full_rows = cleaned(FULL_MB)
    large_s, large_bytes, large_rows = cleaned(LARGE_MB)
    return {
        "scaling_50mb_to_1gb": large_s / small_s / (LARGE_MB / SMALL_MB),
        "peak_memory_gb_at_1gb": large_bytes / 1e9,
        "peak_memory_gb_at_50mb": small_bytes / 1e9,
        "clean_bytes_per_row": max(0.0, (large_bytes - full_bytes) / (large_rows - full_rows)),
        "clean_mb_per_s": LARGE_MB / large_s,
        "clean_documents_per_s": large_rows / large_s,
    }


def cleaned(megabytes: int) -> tuple[float, int, int]:
    """Seconds of the stage, the peak of its memory in bytes, and its rows."""
    folder = _corpus.DATA / f"scaling-{megabytes}"
    shutil.rmtree(folder, ignore_errors=True)
    texts = _corpus.read(_corpus.documents(megabytes))
    rows = shards.write(folder / "raw", (Record(id=f"d{at}", text=text) for at, text in enumerate(texts)))
    command = [sys.executable, "-m", "bench._scaling", str(folder)]
    peak = 0
    with subprocess.Popen(command, cwd=PARAMS.parent, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, held_bytes(process.pid))
            time.sleep(0.25)
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"bench: cleaning {megabytes} MB ended with {process.returncode}: {said[-1_000:]}")
    shutil.rmtree(folder)
    return float(said.splitlines()[-1]), peak, rows


def held_bytes(pid: int) -> int:
    """Proportional set sizes of a process and all its descendants, summed."""
    held = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            held += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass  # it ended meanwhile
    return held


def main(folder: Path) -> None:
    """Clean what lies in a folder, and print the seconds."""
    clean_params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["clean"]
    cfg = CleanConfig.model_validate(clean_params | {"preset": PRESET})
    local = Executor(name="local", workers=WORKERS, address=None)
    begun = time.perf_counter()
    clean.run(cfg, folder / "raw", folder, folder / "clean", folder / "rejects", folder / "work", local)
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main(Path(sys.argv[1])) if len(sys.argv) > 1 else print(json.dumps(measure()))
