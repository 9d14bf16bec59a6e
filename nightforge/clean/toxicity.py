"""Drops texts that a classifier finds toxic: a local Hugging Face model, or one learnt from the user's own examples.

No classifier comes with this library, and none is downloaded: what is toxic is for the user to say, by a model folder
(such as a BERT with a head for sequence classification; safetensors only, no code of the folder is run) or by texts
that are and that are not (nightforge/classifier.py). A text longer than a model reads is read in windows; the worst
counts.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from nightforge import assets as laid
from nightforge import classifier, config, models
from nightforge.errors import ConfigError
from nightforge.records import Mark, Reject
from nightforge.view import View

WINDOWS = 8
"""Read at once."""


class Examples(config.Config):
    """A classifier learnt from examples."""

    good: str
    """Name of an asset: texts that may stay (*.jsonl with `text`, or *.txt with paragraphs)."""
    bad: str
    """Name of an asset: toxic texts."""


class Folder(config.Config):
    """A classifier in a folder."""

    model: str
    """Name of an asset: a local Hugging Face folder of a classifier of sequences."""
    labels: Annotated[list[str], Field(min_length=1)]
    """Its labels that are toxic, as in `id2label` of its config.json."""


class Config(config.Config):
    """Who judges, and from where a text is dropped."""

    by: Examples | Folder
    """Examples (`good`, `bad`) or a model folder (`model`, `labels`)."""
    score_max: float = Field(ge=0, le=1)
    """Most probability of being toxic; 1 drops none and only marks."""


SAMPLE = Config(by=Examples(good="good", bad="bad"), score_max=0.7)


def prepare(cfg: Config, assets: Path) -> Any:
    """The classifier.

    Raises:
        AssetMissing: its folder or the examples are not there.
        ConfigError: the folder is no classifier, or has no such labels.
        DataError: examples are too few, or cannot be told apart.
    """
    if isinstance(cfg.by, Examples):
        return classifier.learn(laid.texts(assets, cfg.by.good), laid.texts(assets, cfg.by.bad)).model
    folder = laid.folder(assets, cfg.by.model, "a Hugging Face folder of a classifier of sequences")
    model, tokenizer = models.read_transformers(folder, "AutoModelForSequenceClassification")
    made = (model.config.architectures or ["none"])[0]
    if not made.endswith("ForSequenceClassification"):
        raise ConfigError(f"{folder}: expected a classifier of sequences, got {made}, which has no trained head.")
    have = model.config.label2id
    if unknown := [label for label in cfg.by.labels if label not in have]:
        raise ConfigError(f"toxicity.by.labels: {folder} has no {unknown}. It has: {', '.join(sorted(have))}.")
    return model.eval(), tokenizer


def judge(view: View, cfg: Config, by: Any) -> Iterator[Mark | Reject]:
    """How toxic a text is, and whether that is too much."""
    if isinstance(cfg.by, Examples):
        score = round(1 - classifier.score(by, view.folded), 4)
    else:
        score = _read(view.text, by[0], by[1], cfg.by.labels)
    yield Mark("toxicity", score)
    if score > cfg.score_max:
        yield Reject("toxic", f"{score:.2f} > {cfg.score_max}")


def _read(text: str, model: Any, tokenizer: Any, labels: list[str]) -> float:
    """The probability of any of the labels in the worst window; of the likeliest, where a text may bear several."""
    import torch

    tokens = tokenizer(
        text,
        truncation=True,
        max_length=models.window(model, tokenizer),
        return_overflowing_tokens=True,
        padding=True,
        return_tensors="pt",
    )
    tokens.pop("overflow_to_sample_mapping")
    columns = [model.config.label2id[label] for label in labels]
    worst = 0.0
    for at in range(0, len(tokens["input_ids"]), WINDOWS):
        with torch.inference_mode():
            logits = model(**{name: rows[at : at + WINDOWS] for name, rows in tokens.items()}).logits
        if model.config.problem_type == "multi_label_classification" or logits.shape[1] == 1:
            scores = logits.sigmoid()[:, columns].amax(1)
        else:
            scores = logits.softmax(1)[:, columns].sum(1)
        worst = max(worst, float(scores.max()))
    return round(min(1.0, worst), 4)
