"""Drops texts that a classifier of the user's own finds poor: words and pairs of words of good and of bad examples.

After GPT-3's filter (Brown et al. 2020, arXiv 2005.14165, appendix A) and the fastText classifiers since; see
nightforge/classifier.py. The classifier is refused if it cannot tell examples apart that it did not learn from. It
judges 12,000 pages of 1.2 kB a second a core.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from nightforge import assets as laid
from nightforge import classifier, config
from nightforge.records import Mark, Reject
from nightforge.view import View


class Config(config.Config):
    """Which texts are examples, and how good one must be."""

    good: str
    """Name of an asset: texts as they should be (*.jsonl with `text`, or *.txt with paragraphs)."""
    bad: str
    """Name of an asset: texts as they should not be."""
    score_min: float = Field(ge=0, le=1)
    """Least probability of being good; 0 drops none and only marks."""


SAMPLE = Config(good="good", bad="bad", score_min=0.3)


def prepare(cfg: Config, assets: Path) -> classifier.Classifier:
    """Learn from the examples.

    Raises:
        AssetMissing: there are none.
        DataError: too few, or they cannot be told apart.
    """
    return classifier.learn(laid.texts(assets, cfg.good), laid.texts(assets, cfg.bad)).model


def judge(view: View, cfg: Config, model: classifier.Classifier) -> Iterator[Mark | Reject]:
    """How good a text is, and whether that is too little."""
    score = classifier.score(model, view.folded)
    yield Mark("quality", score)
    if score < cfg.score_min:
        yield Reject("low_quality", f"{score:.2f} < {cfg.score_min}")
