"""judge: train a classifier of the real training pictures or sounds, by which what the models make is read."""

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from nightforge import array_models, precision, stats
from nightforge import judge as network
from nightforge.config import Config
from nightforge.methods import Chosen, Method
from nightforge.stats import Bootstrap
from tasks import arrays, shards
from tasks.arrays import Arrays
from tasks.stage import Metrics


class JudgeConfig(Config):
    """What a picture or a sound is to every network of the project, and the judge's own network."""

    media: Annotated[Method, Chosen("media")]
    """How records become arrays. Said here alone: train and evaluate read it from the judge's model.json."""
    network: network.Config
    """The judge's network, and how it is trained."""
    bootstrap: Bootstrap
    """How the interval of its accuracy is drawn, over documents."""
    threads: int = Field(ge=1, le=1024)
    """CPU threads; another count gives other rounding."""


def run(cfg: JudgeConfig, seed: int, splits: Path, judge: Path) -> Metrics:
    """Train on the training split, write the model folder, and say how often it is right on the validation split."""
    torch.set_num_threads(cfg.threads)
    torch.manual_seed(seed)
    classes = sorted({record.label for record in shards.read(splits / "train") if record.label is not None})
    training = arrays.read(splits / "train", cfg.media, classes)
    shape = cfg.media.module.shape(cfg.media.cfg)
    model = network.build(cfg.network, shape, len(classes)).to(precision.device())
    kind = network.CLASSIFIER if len(classes) > 1 else network.RANDOM_FEATURES
    figures: dict[str, Any] = {}
    if kind == network.CLASSIFIER:
        known = training.labels < len(classes)
        network.fit(model, training.levels[known], training.labels[known], cfg.network, seed)
        figures = _accuracy(cfg, seed, model, arrays.read(splits / "validation", cfg.media, classes))
    facts = {
        "family": "judge",
        "kind": kind,
        "config": cfg.network.model_dump(mode="json"),
        "shape": list(shape),
        "classes": classes,
        "media": {"name": cfg.media.name, **cfg.media.cfg.model_dump(mode="json")},
    }
    array_models.save(judge, model, facts)
    return {"kind": kind, "classes": len(classes), "training_rows": len(training.ids)} | figures


def _accuracy(cfg: JudgeConfig, seed: int, model: Any, validation: Arrays) -> dict[str, Any]:
    """Share of the labelled validation rows that it reads as what they are."""
    known = validation.labels < len(model.head.bias)
    read = network.read(model, validation.x).logits.argmax(axis=1)
    right = (read == validation.labels)[known]
    documents = [name for name, labelled in zip(validation.documents, known, strict=True) if labelled]
    accuracy = stats.ratio(right, right | True, documents, cfg.bootstrap, seed)
    return {"accuracy": accuracy.json(), "validation_rows": int(known.sum())}
