"""The data stages against their peers, on 50 MB of real text: filters, deduplication, synonyms; cleaning 1 GB; a gate.

The text is technical prose from Debian's documentation packages, as their versions stand here (bench/_corpus.py fetches
it), and for 1 GB its copies, each with 15% of the words exchanged. Peers run with the same number of processes on the
same documents. How each part measures stands in its file: _filters.py, _dedup.py, _synonyms.py, _pii.py, _scaling.py,
_gate.py.
"""

import json
from importlib import import_module

from bench import AtLeast, Goals, _corpus

PARTS = ("filters", "dedup", "synonyms", "pii", "scaling", "gate")

GOALS: Goals = {
    "filters_vs_datatrove": AtLeast(10, "seconds of datatrove 0.10 over ours: Gopher, C4, FineWeb rules"),
    "same_decisions_together": AtLeast(0.99, "decisions as datatrove's, with its tokenizer's words"),
    "dedup_vs_datatrove": AtLeast(5, "seconds of datatrove's MinHash over ours"),
    "dedup_recall": AtLeast(0.95, "of planted pairs of Jaccard index 0.7 to 0.9"),
    "dedup_precision": AtLeast(0.95, "of planted pairs found, beside pairs of 0.4 to 0.6"),
    "pii_recall": AtLeast(0.95, "of planted personal data and secrets"),
    "pii_precision": AtLeast(0.95, "of what is reported, beside lookalikes"),
    "synonym_vs_nlpaug": AtLeast(10, "documents a second over nlpaug's synonym augmenter"),
    "scaling_50mb_to_1gb": (1.2, "time ratio over size ratio of the stage clean; 1 is linear"),
    "peak_memory_gb_at_1gb": (1.5, "all processes of the stage clean together"),
    "clean_bytes_per_row": (200, "growth of that peak from 200 MB to 1 GB, a row"),
    "gate_1m_rows_s": (30, "from a million rows on disk to the verdict"),
    "gate_bytes_a_row": (200, "growth of the gate's peak from 200,000 rows to a million, a row"),
}
"""Figure → (the most that it should be, what it is), or the least."""


def main() -> None:
    """Measure every part, and print the figures."""
    for line in _corpus.provenance():
        print(f"[corpus] {line}", flush=True)
    figures: dict[str, float] = {}
    for part in PARTS:
        print(f"[part] {part}", flush=True)
        figures |= import_module(f"bench._{part}").measure()
    print(json.dumps({key: round(value, 4) for key, value in sorted(figures.items())}))


if __name__ == "__main__":
    main()
