"""Near-duplicates: documents a second and agreement with datasketch, on the same texts, with the same bands.

Sixteen thousand sentences of a made-up vocabulary, every eighth a copy of an earlier one with a few words exchanged.
Ours verifies each candidate pair by its Jaccard index, datasketch's LSH does not, so ours is charged for that too. Both
run on one core, in turns. Recall and precision are held against the true index of the planted pairs.
"""

import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.run import peers

DOCUMENTS, WORDS, ROUNDS, SEED = 16_000, 30, 3, 5
SHINGLE, BANDS, ROWS, JACCARD = 3, 32, 4, 0.5
PEER = ["datasketch==2.0.0", "numpy", "scipy", "xxhash"]

GOALS = {
    "ours_vs_datasketch_seconds": (1.0, "seconds of ours over seconds of datasketch 2.0"),
    "missed_share": (0.02, "true pairs that ours does not find"),
    "false_share": (0.0, "pairs that ours joins and whose index is below the limit"),
}
"""Figure → (the most that it should be, what it is)."""

THEIRS = """
import json, sys, time
import xxhash
from datasketch import MinHash, MinHashLSH
texts, shingle, bands, rows = json.load(sys.stdin)
begun = time.perf_counter()
lsh, found = MinHashLSH(params=(bands, rows), num_perm=bands * rows), []
for at, text in enumerate(texts):
    words = text.split()
    sketch = MinHash(num_perm=bands * rows, hashfunc=lambda b: xxhash.xxh32_intdigest(b))
    sketch.update_batch([" ".join(words[i : i + shingle]).encode() for i in range(len(words) - shingle + 1)])
    found += [(other, at) for other in lsh.query(sketch)]
    lsh.insert(at, sketch)
print(json.dumps([time.perf_counter() - begun, len(found)]))
"""


def main() -> None:
    """Measure, and print the figures."""
    texts, planted = corpus()
    python = peers(PEER)
    ours_s, theirs_s = [], []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        joined = ours(texts)
        ours_s.append(time.perf_counter() - begun)
        theirs_s.append(theirs(python, texts))
    true = {(i, j) for i, j in planted if index(texts[i], texts[j]) >= JACCARD}
    same = {(i, j) for i, j in planted if joined[i] == joined[j]}
    figures = {
        "documents_per_s": DOCUMENTS / statistics.median(ours_s),
        "datasketch_documents_per_s": DOCUMENTS / statistics.median(theirs_s),
        "ours_vs_datasketch_seconds": statistics.median(ours_s) / statistics.median(theirs_s),
        "missed_share": len(true - same) / len(true),
        "false_share": len(same - true) / max(1, len(same)),
        "true_pairs": len(true),
    }
    print(json.dumps({key: round(value, 4) for key, value in sorted(figures.items())}))


def corpus() -> tuple[list[str], list[tuple[int, int]]]:
    """The texts, and the positions of each original and its changed copy."""
    rng = random.Random(SEED)
    vocabulary = [f"w{i}" for i in range(20_000)]
    texts: list[str] = []
    planted: list[tuple[int, int]] = []
    for at in range(DOCUMENTS):
        if at % 8 == 7:
            words = texts[at - 3].split()
            for _ in range(rng.randint(0, 4)):
                words[rng.randrange(WORDS)] = rng.choice(vocabulary)
            planted.append((at - 3, at))
        else:
            words = rng.choices(vocabulary, k=WORDS)
        texts.append(" ".join(words))
    return texts, planted


def ours(texts: list[str]) -> list[int]:
    """The cluster of each text."""
    from nightforge.similar import Near, clusters, sketch

    near = Near(shingle_words=SHINGLE, bands=BANDS, rows=ROWS, jaccard_min=JACCARD)
    found = clusters((sketch(text, near) for text in texts), near)
    return [found.root(at) for at in range(len(texts))]


def theirs(python: Path, texts: list[str]) -> float:
    """Seconds that datasketch takes, in its own environment."""
    given = json.dumps([texts, SHINGLE, BANDS, ROWS])
    done = subprocess.run([python, "-c", THEIRS], input=given, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)[0])


def index(one: str, other: str) -> float:
    """The true Jaccard index of two texts' shingles."""
    a, b = ({tuple(w[i : i + SHINGLE]) for i in range(len(w) - SHINGLE + 1)} for w in (one.split(), other.split()))
    return len(a & b) / len(a | b)


if __name__ == "__main__":
    sys.exit(main())
