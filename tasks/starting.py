"""What the training of a text model starts from: a network and a tokenizer, with a token for all that is asked for."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nightforge import entities, models, tokenizer, vocabulary
from nightforge.errors import ConfigError
from tasks import shards
from tasks.prepared import SCRATCH, TrainConfig
from tasks.wiring import home_folder, read_yaml

Worth = Callable[[Any, Any], dict[str, float]]
"""(model, tokenizer) → figures of the watched documents."""


class Started(NamedTuple):
    """A network and its tokenizer, before the first step."""

    model: Any
    words: Any
    expansion: dict[str, Any]
    """What new tokens bought before any training; empty where none were learnt."""


def start(
    cfg: TrainConfig, texts: Callable[[], Iterator[str]], labels: set[str], vectors: Path | None, worth: Worth
) -> Started:
    """The network and its tokenizer, with a token for every label of the training set, and for the chosen entities.

    Args:
        cfg: of the stage.
        texts: streams the training texts.
        labels: all of them.
        vectors: shards with the entities that get tokens, and their places in the graph.
        worth: asked before and after the vocabulary grows.

    Raises:
        ConfigError: the vocabulary has no room, or an ability needs a starting model.
        DataError: the starting model does not fit its tokenizer, or holds numbers that are not finite.
    """
    _refuse_masked(cfg.family.module.CLASS)
    rows = list(shards.rows(vectors)) if vectors else []
    expansion: dict[str, Any] = {}
    if cfg.model == SCRATCH:
        model, words = _from_scratch(cfg, texts(), labels, len(rows))
        known = len(words)
    else:
        if _has("compress"):
            models.check_architecture(home_folder() / cfg.model, cfg.family.module.CLASS)
        model, words = models.read_transformers(home_folder() / cfg.model, cfg.family.module.CLASS)
        vocabulary.check(model, words, cfg.model)
        if cfg.family.module.CLASS == "AutoModelForMaskedLM":
            _name_mask(model, words, cfg.model)
        known = len(words)
        vocabulary.add_labels(model, words, labels)
        if cfg.expand:
            expansion = _expanded(cfg.expand, model, words, texts(), worth)
    if _has("compress"):
        _refuse_unexported(model)
    if rows:
        places = np.array([row["vector"] for row in rows], dtype=np.float32)
        entities.give_tokens(model, words, [row["name"] for row in rows], places)
    if cfg.adapter:
        model = cfg.adapter.module.attach(model, cfg.adapter.cfg, range(known, len(words)))
    return Started(model, words, expansion)


def _refuse_masked(kind: str) -> None:
    """A masked model goes no further than training."""
    if kind == "AutoModelForMaskedLM" and _has("evaluate"):
        raise ConfigError(
            "train.family: a masked model ends with the stage `train`, for it generates nothing that could be timed, "
            "and its pseudo-likelihood compares with no other family's bits per byte. Take the stages from `evaluate` "
            "on out of dvc.yaml (docs/training.md), or choose another family."
        )


def _refuse_unexported(model: Any) -> None:
    """What the exported model would compute otherwise is refused before it is trained."""
    if window := getattr(model.config, "sliding_window", None):
        raise ConfigError(
            f"train: expected a network that the stage `compress` can score, got one with a sliding window of {window} "
            "tokens, which the exported model keeps in a cache of its own. Set train.family.window: null, start from "
            "another model, or take the stages from `compress` on out of dvc.yaml."
        )
    if not any(getattr(model.config, "no_rope_layers", None) or [1]):
        raise ConfigError(
            "train.family.rope_theta: expected positions, for the stage `compress` exports no network without. "
            "Name a number, or take the stages from `compress` on out of dvc.yaml."
        )


def _from_scratch(cfg: TrainConfig, texts: Iterable[str], labels: set[str], named: int) -> tuple[Any, Any]:
    for name, value in (("adapter", cfg.adapter), ("expand", cfg.expand)):
        if value:
            raise ConfigError(
                f"train.{name}: expected null with train.model: scratch, for it changes a model that is there. "
                "Name a folder in train.model, or set it to null."
            )
    shape: Any = cfg.family.cfg
    room = shape.vocab - named - getattr(cfg.family.module, "OWN_TOKENS", 0)
    words = tokenizer.train(texts, labels, max(0, room), shape.context)
    if named and len(words) > room:
        raise ConfigError(
            f"train.family.vocab: expected {len(words)} or more beside the {named} tokens of entities, got "
            f"{shape.vocab} in all. Raise it, or lower knowledge.entities.tokens."
        )
    model = cfg.family.module.build(shape, words)
    can = models.ARCHITECTURES.get(cfg.family.module.CLASS, set())
    if _has("compress") and (built := type(model).__name__) not in can:
        raise ConfigError(
            f"train.family: expected a network that the stage `compress` can export "
            f"({', '.join(sorted(can))}), got {built}. Choose one of these, or take the stages from "
            "`compress` on out of dvc.yaml: training and evaluation do not need them."
        )
    if cfg.initialise:
        cfg.initialise.module.fill(model, cfg.initialise.cfg)
    return model, words


def _name_mask(model: Any, words: Any, name: str) -> None:
    """The network's config says which token the mask is, as nightforge/train/masked_lm.py reads it there."""
    if words.mask_token_id is None:
        raise ConfigError(f"{name}: expected a tokenizer with a mask_token, found none. Name a masked language model.")
    model.config.mask_token_id = words.mask_token_id


def _has(stage: str) -> bool:
    """Whether this project goes on to a stage with what is trained."""
    wired = Path("dvc.yaml")
    return wired.is_file() and stage in read_yaml(wired).get("stages", {})


def _expanded(cfg: vocabulary.Expand, model: Any, words: Any, texts: Iterable[str], worth: Worth) -> dict[str, Any]:
    """Learn and add new tokens; returns what they bought."""
    before = worth(model.eval(), words)
    merges = vocabulary.learn(words, texts, cfg)
    vocabulary.add(model, words, merges)
    after = worth(model, words)
    model.train()
    return {"tokens": len(merges), "before": before, "after": after}
