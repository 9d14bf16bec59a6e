"""Whether a variant of a record may be trained on: in its language, of its label, changed enough and not too much."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from pydantic import Field, model_validator

from nightforge import classifier
from nightforge.classifier import Classifier
from nightforge.config import Config
from nightforge.languages import detect
from nightforge.privacy import spans
from nightforge.records import Record, document
from nightforge.words import folded, words

FOLDS = 3
"""Parts of the train split: a row is judged by the classifier that has not seen it, nor another row of its document."""

_MARKER = re.compile(r"<\|[^|<>]*\|>")
"""What may be read as a special token."""


class Agreement(Config):
    """When a variant is taken to have lost its label."""

    confidence_min: float = Field(ge=0, le=1)
    """Probability of another label from which the variant is refused, if the row it varies is told right."""
    rows_max: int = Field(ge=100)
    """Rows of the train split that the classifiers learn from at most, taken by the hash of their ids."""


class Quality(Config):
    """What a variant must keep."""

    changed_words_min: float = Field(ge=0, le=1)
    """Least word edit distance from the row it varies, as a share of that row's words."""
    changed_words_max: float = Field(gt=0)
    """Largest such share."""
    language_confidence_min: float | None = Field(ge=0, le=1)
    """Probability from which a variant's detected language is believed: if it is neither the record's nor what is
    detected in it, the variant is refused. null: not asked."""
    label: Agreement | None
    """How the label is held. null: not asked."""

    @model_validator(mode="after")
    def _ordered(self) -> "Quality":
        if self.changed_words_min > self.changed_words_max:
            raise ValueError("expected changed_words_min <= changed_words_max")
        return self


class Labels:
    """Cross-validated classifiers of the labels of the train split (nightforge/classifier.py)."""

    def __init__(self, names: Sequence[str], folds: Sequence[Classifier]) -> None:
        self.names, self.folds = list(names), list(folds)

    def of(self, text: str, origin: Record) -> tuple[str, float]:
        """Label and its probability, by the classifier that has not seen the record that the text is made of."""
        p = classifier.probabilities(self.folds[fold(origin)], [classifier.hashes(folded(text))])[0]
        return self.names[int(p.argmax())], float(p.max())

    def save(self, file: Path) -> None:
        """Write them for `load`."""
        arrays = {f"{n}.{name}": a for n, one in enumerate(self.folds) for name, a in one._asdict().items()}
        np.savez(file, names=np.array(json.dumps(self.names)), **arrays)

    @classmethod
    def load(cls, file: Path) -> "Labels":
        """Read what `save` wrote."""
        with np.load(file) as arrays:
            folds = [Classifier(**{name: arrays[f"{n}.{name}"] for name in Classifier._fields}) for n in range(FOLDS)]
            return cls(json.loads(str(arrays["names"])), folds)


def fold(record: Record) -> int:
    """The part of the train split that a record is in, by its document."""
    return xxhash.xxh3_64_intdigest(document(record).encode("utf-8", "surrogatepass")) % FOLDS


def learn_labels(rows: Iterable[tuple[int, str, Any]]) -> tuple[Labels, float] | None:
    """Classifiers of labels, and the share of rows that they tell right without having seen them.

    Args:
        rows: (fold, label, hashes of its words: `classifier.hashes`) of each.

    Returns:
        None where some part of the rows would be judged by a classifier that knows fewer than two labels.
    """
    kept = list(rows)
    names = sorted({label for _, label, _ in kept})
    at = np.array([names.index(label) for _, label, _ in kept])
    folds = np.array([n for n, _, _ in kept])
    if any(len(set(at[folds != n])) < 2 for n in range(FOLDS)):
        return None
    right, models = 0, []
    for n in range(FOLDS):
        models.append(
            classifier.fit([kept[i][2] for i in np.flatnonzero(folds != n)], at[folds != n], len(names), balanced=False)
        )
        unseen = np.flatnonzero(folds == n)
        if len(unseen):
            found = classifier.probabilities(models[-1], [kept[i][2] for i in unseen]).argmax(axis=1)
            right += int((found == at[unseen]).sum())
    return Labels(names, models), right / len(kept)


def problem(parent: Record, variant: Record, cfg: Quality, labels: Labels | None) -> str:
    """Why a variant may not stand for its parent's label and language, or nothing."""
    return next(_problems(parent, variant, cfg, labels), "")


def _problems(parent: Record, variant: Record, cfg: Quality, labels: Labels | None) -> Iterator[str]:
    """What costs least is asked first."""
    share = changed_share(parent, variant)
    if share < cfg.changed_words_min:
        yield "changed_too_little"
    if share > cfg.changed_words_max:
        yield "changed_too_much"
    if len(_MARKER.findall(variant.text)) > len(_MARKER.findall(parent.text)):
        yield "made_up_marker"
    if _made_up(parent.text, variant.text):
        yield "made_up_private_data"
    if cfg.label and labels and _label_lost(parent, variant, cfg.label.confidence_min, labels):
        yield "label_lost"
    if cfg.language_confidence_min is not None and _language_lost(parent, variant, cfg.language_confidence_min):
        yield "language_lost"


def changed_share(parent: Record, variant: Record) -> float:
    """Word edit distance over the parent's words, along the edits that `meta.edits` lists (else of the whole text)."""
    whole = [{"before": parent.text, "after": variant.text}]
    edits = variant.meta.get("edits") or whole
    distance = sum(word_distance(words(e["before"]), words(e["after"])) for e in edits)
    return distance / max(1, len(words(parent.text)))


def word_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein's distance between two lists of words."""
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        last, row = row, [i]
        for j, other in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (word != other)))
    return row[-1]


def _made_up(parent: str, variant: str) -> bool:
    """Whether there is private data that the parent does not hold."""
    return any(variant[s.start : s.end] not in parent for s in spans(variant))


def _language_lost(parent: Record, variant: Record, confidence_min: float) -> bool:
    language, confidence = detect(variant.text)
    return confidence >= confidence_min and language not in {parent.language, detect(parent.text)[0]}


def _label_lost(parent: Record, variant: Record, confidence_min: float, labels: Labels) -> bool:
    if parent.label is None:
        return False
    label, confidence = labels.of(variant.text, parent)
    return label != parent.label and confidence >= confidence_min and labels.of(parent.text, parent)[0] == parent.label
