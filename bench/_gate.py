"""A gate on a million rows: seconds from its Parquet shards to the verdict, and what its memory grows by a row.

The rows are real sentences of technical prose, copied with a few of their words exchanged until there are enough; the
suite is data/gates/clean.yaml, which some of them fail: naming them is part of the time. Each measurement is a process
of its own; bytes a row are the difference of the peaks of a million rows and of a fifth of them over the difference in
rows, so that what it takes to begin (libraries, a batch) is left out.
"""

import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench import _corpus
from tasks import shards

ROWS, FEWER, SEED = 1_000_000, 200_000, 7
SUITE = Path(__file__).resolve().parents[1] / "data" / "gates" / "clean.yaml"
CHANGED_SHARE = 0.15
"""Words exchanged in each copy of a sentence."""
LABELS = ["animal", "body", "event", "feeling", "food", "plant", "shape", "time"]

GATE = """
import json, sys, time
from pathlib import Path
from tasks import gate_suite, gate_table
folder, suite = map(Path, sys.argv[1:])
begun = time.perf_counter()
tables = gate_table.of(folder, folder.with_name("rejects"))
results = gate_suite.hold(gate_suite.load(suite), tables, "bench", folder / "docs")
status = Path("/proc/self/status").read_text()  # getrusage would count what the parent held too
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps([time.perf_counter() - begun, peak, len(results)]))
"""


def measure() -> dict[str, float]:
    """The two figures."""
    found = sentences()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with shards.RejectShards(folder / "rejects"):
            pass
        megabytes, _ = (write(folder / name, found, rows) for name, rows in (("all", ROWS), ("fewer", FEWER)))
        seconds, peak, held = gate(folder / "all")
        _, base, _ = gate(folder / "fewer")
    print(f"gate: {held:.0f} expectations over {ROWS} rows, {megabytes:.0f} MB of text: {seconds:.1f} s")
    return {"gate_1m_rows_s": seconds, "gate_bytes_a_row": (peak - base) / (ROWS - FEWER)}


def sentences() -> list[str]:
    """Sentences of the corpus that have 5 to 60 words, each once."""
    found = (" ".join(one.split()) for page in _corpus.real() for one in re.split(r"(?<=[.!?])\s+", page))
    return list(dict.fromkeys(one for one in found if 5 <= len(one.split()) <= 60))


def perturbed(found: list[str]) -> Iterator[str]:
    """The sentences, and then again and again with words exchanged."""
    yield from found
    rng, words = random.Random(SEED), [one.split() for one in found]
    vocabulary = sorted({word for some in words[::10] for word in some if word.isalpha()})
    while True:
        for some in words:
            copy = list(some)
            for _ in range(max(1, int(CHANGED_SHARE * len(copy)))):
                copy[int(rng.random() * len(copy))] = vocabulary[int(rng.random() * len(vocabulary))]
            yield " ".join(copy)


def write(folder: Path, found: list[str], rows: int) -> float:
    """Write so many rows as shards; returns the MB of text."""
    folder.mkdir()
    stream, size = perturbed(found), 0
    for start in range(0, rows, shards.ROWS_PER_SHARD):
        batch = [
            {"id": f"{at:016x}", "text": next(stream), "media_type": "text/plain", "label": LABELS[at % len(LABELS)]}
            | {
                "source": f"docs:pages.jsonl#{at}",
                "language": "en",
                "meta": json.dumps({"document": f"docs:{at // 9}"}),
            }
            for at in range(start, min(start + shards.ROWS_PER_SHARD, rows))
        ]
        size += sum(len(row["text"].encode()) for row in batch)
        pq.write_table(
            pa.Table.from_pylist(batch, shards.SCHEMA),
            shards.part(folder, start // shards.ROWS_PER_SHARD),
            compression="zstd",
            row_group_size=shards.ROWS_PER_BATCH,
        )
    return size / 1e6


def gate(folder: Path) -> tuple[float, float, float]:
    """Seconds, peak bytes and expectations of the gate of a folder, in a process of its own."""
    command = [sys.executable, "-c", GATE, str(folder), str(SUITE)]
    done = subprocess.run(command, cwd=SUITE.parents[2], capture_output=True, text=True, check=True)
    seconds, peak, held = json.loads(done.stdout.strip().splitlines()[-1])
    return float(seconds), float(peak), float(held)


if __name__ == "__main__":
    print(json.dumps(measure()))
