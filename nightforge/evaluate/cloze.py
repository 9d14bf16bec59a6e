"""Whether told facts were learnt: of sentences that differ in one name alone, is the true one the likeliest?

Petroni et al. 2019 (LAMA) with candidates, scored as multiple choice (Gao et al., lm-evaluation-harness). Facts that
training told are asked in words that it never used; facts held out of it say what guessing brings, and so does the
model that training began from.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightforge import methods, scoring, stats, tokenizer
from nightforge.config import Config as BaseConfig
from nightforge.evaluate._subject import Scores, Subject
from nightforge.knowledge import Cloze
from nightforge.models import Loaded
from nightforge.records import Record


class Config(BaseConfig):
    """No values: the questions are made by the stage `knowledge`."""


SAMPLE = Config()


def measure(subject: Subject, cfg: Config) -> Scores:
    """Accuracy with intervals over facts, for told and for held-out ones, before training (where a model came with it)
    and after; `chance` is what blind guessing would reach."""
    found: dict[str, Any] = {}
    for name, known in (("told", True), ("held_out", False)):
        asked = [q for q in subject.questions if q.known == known]
        found[name] = {"facts": len(asked)}
        if not asked:
            continue
        found[name]["chance"] = float(np.mean([1 / len(q.texts) for q in asked]))
        for when, loaded in (("before", subject.before), ("after", subject.loaded)):
            if loaded:
                found[name][when] = _accuracy(right(loaded, asked), subject)
    return Scores({"cloze": found})


def _accuracy(hits: NDArray[np.bool_], subject: Subject) -> dict[str, float]:
    facts = np.arange(len(hits))
    return stats.ratio(hits.astype(float), np.ones(len(hits)), facts, subject.boot, subject.seed).json()


def right(loaded: Loaded, questions: Sequence[Cloze]) -> NDArray[np.bool_]:
    """Whether the true sentence has the fewest nats a byte of its question's (questions,).

    By byte, for a long name costs more than a short one whichever is true.
    """
    records = [Record("", text, label=q.label) for q in questions for text in q.texts]
    encoded = list(tokenizer.encode_all(loaded.tokenizer, records))
    family = methods.load("train", loaded.card["family"])
    nats = family.nats(loaded.model, encoded, scoring.BATCH_TOKENS, loaded.context)
    cost = nats / scoring.text_bytes([r.text for r in records])
    ends = np.cumsum([len(q.texts) for q in questions])
    return np.array([part[0] < part[1:].min() for part in np.split(cost, ends[:-1])])
