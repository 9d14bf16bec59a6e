"""Near-duplicates against datatrove's MinHash: seconds for the same documents on the same cores, recall and precision.

Planted in 50 MB of real text: copies with words exchanged, of true Jaccard index 0.7 to 0.9 (to be found) and 0.4 to
0.6 (to be left alone); the index is that of their 5-word shingles. A planted pair counts as found if not both of it
are kept. Each side reads from disk, in its own format, and writes what it keeps.
"""

import json
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from bench import _corpus
from bench._filters import PEER
from bench.run import peers
from nightforge.records import Record
from nightforge.shingles import shingles
from nightforge.words import folded
from tasks import clean, shards
from tasks.clean import CleanConfig
from tasks.executor import Executor

MEGABYTES, WORKERS, ROUNDS, SEED = 50, 2, 3, 3
WORDS, NEAR, FAR, PAIRS = 5, (0.7, 0.9), (0.4, 0.6), 1_000
RULE = {"name": "near_duplicates", "shingle_words": WORDS, "bands": 24, "rows": 5, "jaccard_min": 0.7}
LONELY_SHARE_MAX = 0.1
"""Of the shingles of a page that another one has too: a page with a true duplicate would be no test of its copy."""

THEIRS = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
if __name__ == "__main__":
    source, work, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    reader = JsonlReader(source)
    stages = [
        ([reader, MinhashDedupSignature(f"{work}/signatures", config)], workers),
        ([MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)], config.num_buckets),
        ([MinhashDedupCluster(f"{work}/buckets", f"{work}/removed", config=config)], 1),
        ([reader, MinhashDedupFilter(f"{work}/removed"), JsonlWriter(f"{work}/out", compression=None)], workers),
    ]
    for number, (steps, tasks) in enumerate(stages):
        LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=f"{work}/logs/{number}").run()
"""


def measure() -> dict[str, float]:
    """The ratio of datatrove's seconds to ours, recall and precision of both, documents and MB a second."""
    python = peers(PEER)
    texts, near, far = planted(list(_corpus.read(_corpus.documents(MEGABYTES))))
    with tempfile.TemporaryDirectory(dir=_corpus.DATA) as name:
        folder = Path(name)
        lay(texts, folder)
        runs = [ours(folder) for _ in range(ROUNDS)]
        their_s, their_kept = theirs(python, folder)  # a minute or more: once
    our_s = statistics.median(seconds for seconds, _ in runs)
    recall, precision = quality(runs[0][1], near, far)
    their_recall, their_precision = quality(their_kept, near, far)
    return {
        "dedup_vs_datatrove": their_s / our_s,
        "dedup_recall": recall,
        "dedup_precision": precision,
        "dedup_recall_datatrove": their_recall,
        "dedup_precision_datatrove": their_precision,
        "dedup_documents_per_s": len(texts) / our_s,
        "dedup_mb_per_s": sum(len(text.encode()) for text in texts) / 1e6 / our_s,
        "dedup_planted_pairs": len(near),
    }


Pairs = list[tuple[int, int]]


def planted(pages: list[str]) -> tuple[list[str], Pairs, Pairs]:
    """The pages with changed copies among them, and the positions of near and of far pairs."""
    rng = random.Random(SEED)
    sets = [np.unique(shingles(folded(page), WORDS)) for page in pages]
    every, counts = np.unique(np.concatenate(sets), return_counts=True)
    vocabulary = sorted({word for page in pages[::20] for word in page.split(" ") if word.isalpha()})
    made: dict[str, list[tuple[int, str]]] = {"near": [], "far": []}
    for at in rng.sample(range(len(pages)), len(pages)):
        kind = "near" if len(made["near"]) < PAIRS else "far"
        if len(made["far"]) == PAIRS:
            break
        if len(sets[at]) < 60 or (counts[np.searchsorted(every, sets[at])] > 1).mean() > LONELY_SHARE_MAX:
            continue
        low, high = NEAR if kind == "near" else FAR
        copy = exchanged(pages[at], rng, vocabulary, rng.uniform(low, high))
        other = np.unique(shingles(folded(copy), WORDS))
        shared = len(np.intersect1d(sets[at], other))
        if low <= shared / (len(sets[at]) + len(other) - shared) <= high:
            made[kind].append((at, copy))
    copies = [copy for kind in made.values() for _, copy in kind]
    texts = [*pages, *copies]
    order = rng.sample(range(len(texts)), len(texts))
    place = {old: new for new, old in enumerate(order)}
    pairs = [(place[at], place[len(pages) + n]) for n, (at, _) in enumerate(made["near"] + made["far"])]
    return [texts[old] for old in order], pairs[:PAIRS], pairs[PAIRS:]


def exchanged(page: str, rng: random.Random, vocabulary: list[str], index: float) -> str:
    """The page with so many words exchanged that about this Jaccard index is left, each word being in 5 shingles."""
    words = page.split(" ")
    changes = round(len(page.split()) * (1 - index) / (1 + index) / WORDS)
    for at in rng.sample(range(len(words)), min(changes, len(words))):
        words[at] = rng.choice(vocabulary)
    return " ".join(words)


def lay(texts: list[str], folder: Path) -> None:
    """The same documents for both: shards of records, and a JSONL file a worker."""
    shards.write(folder / "raw", (Record(id=f"d{at}", text=text) for at, text in enumerate(texts)))
    (folder / "jsonl").mkdir()
    for worker in range(WORKERS):
        with (folder / "jsonl" / f"{worker}.jsonl").open("w", encoding="utf-8") as out:
            for at in range(worker, len(texts), WORKERS):
                out.write(json.dumps({"id": f"d{at}", "text": texts[at]}) + "\n")


def ours(folder: Path) -> tuple[float, set[int]]:
    """Seconds, and the documents kept: the stage `clean` with this rule alone."""
    for name in ("clean", "rejects", "work"):
        shutil.rmtree(folder / name, ignore_errors=True)
    cfg = CleanConfig.model_validate({"preset": "near", "presets": {"near": [RULE]}, "rule_share_max": 1})
    local = Executor(name="local", workers=WORKERS, address=None)
    begun = time.perf_counter()
    clean.run(cfg, folder / "raw", folder, folder / "clean", folder / "rejects", folder / "work", local)
    seconds = time.perf_counter() - begun
    return seconds, {int(record.id[1:]) for record in shards.read(folder / "clean")}


def theirs(python: Path, folder: Path) -> tuple[float, set[int]]:
    """Seconds, and the documents kept: datatrove's four stages."""
    script = folder / "theirs.py"
    script.write_text(THEIRS)
    begun = time.perf_counter()
    command = [str(part) for part in (python, script, folder / "jsonl", folder / "theirs", WORKERS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: datatrove: {done.stderr[-2000:]}")
    seconds = time.perf_counter() - begun
    kept = (file.read_text(encoding="utf-8").splitlines() for file in (folder / "theirs" / "out").glob("*.jsonl"))
    return seconds, {int(json.loads(line)["id"][1:]) for lines in kept for line in lines}


def quality(kept: set[int], near: Pairs, far: Pairs) -> tuple[float, float]:
    """Recall over near pairs; precision: near pairs among all pairs found."""
    found = sum(not {*pair} <= kept for pair in near)
    wrong = sum(not {*pair} <= kept for pair in far)
    return found / len(near), found / max(1, found + wrong)


if __name__ == "__main__":
    print(json.dumps(measure()))
