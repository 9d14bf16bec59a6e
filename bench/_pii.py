"""Personal data and secrets: recall and precision on planted cases of every kind, beside what merely looks like them.

A planted case counts as found if one finding of its kind covers all of it; a finding counts as right if it lies on a
planted case of its kind. Cases and lookalikes: tests/planted.py.
"""

from collections import Counter

from nightforge.privacy import KINDS, spans
from tests.planted import negatives, planted

SEED, EACH, EACH_LOOKALIKE = 11, 300, 60


def measure() -> dict[str, float]:
    """`pii_recall` and `pii_precision`, over all and by kind (`pii_recall.email`), and how many cases they are of."""
    made, found, reported, right = (Counter[str]() for _ in range(4))
    cases = planted(SEED, EACH) + negatives(SEED, EACH_LOOKALIKE)
    for case in cases:
        at = list(spans(case.text))
        reported.update(s.kind for s in at)
        right.update(s.kind for s in at if s.kind == case.kind and s.start < case.end and s.end > case.start)
        if case.kind is not None:
            made[case.kind] += 1
            found[case.kind] += any(s.kind == case.kind and s.start <= case.start and s.end >= case.end for s in at)
    figures = {
        "pii_recall": found.total() / made.total(),
        "pii_precision": right.total() / reported.total(),
        "pii_planted": float(made.total()),
        "pii_lookalikes": float(len(cases) - made.total()),
    }
    for kind in KINDS:
        figures[f"pii_recall.{kind}"] = found[kind] / made[kind]
        figures[f"pii_precision.{kind}"] = right[kind] / reported[kind]
    return figures
