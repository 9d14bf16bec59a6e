"""Images and sounds for the training loop: arrays, a starting model, and what early stopping looks at."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nightforge import array_models, captions, models, precision, samples
from nightforge import judge as judges
from nightforge.array_models import Loaded
from nightforge.batching import watched
from nightforge.errors import ConfigError
from nightforge.training import Stepped
from tasks import arrays
from tasks.arrays import Arrays
from tasks.prepared import SCRATCH, Inputs, Prepared, TrainConfig
from tasks.wiring import home_folder

SAMPLES_A_CLASS = 8
"""Drawn at every evaluation, with the same seed each time."""
KID = "kid"


def prepare(cfg: TrainConfig, seed: int, inputs: Inputs) -> Prepared:
    """The model and its data, ready for the loop; weights are drawn from torch's generator as the caller seeded it.

    Raises:
        ConfigError: params.yaml asks for what the family or the data cannot do.
    """
    _check_nothing_of_text(cfg)
    judge = array_models.load_judge(inputs.deps["judge"], precision.device())
    if cfg.family.module.METRIC == judges.BITS and judge.card["kind"] != judges.CLASSIFIER:
        raise ConfigError(
            f"train.family: expected data of two labels or more for a {cfg.family.name}, whose score is the judge's "
            f"reading of them, got {len(judge.classes)}. Choose a family with a likelihood, such as vae or diffusion."
        )
    data = arrays.read(inputs.balanced, judge.media, judge.classes)
    validation = arrays.read(inputs.splits / "validation", judge.media, judge.classes)
    held = validation.of(watched(validation.documents, cfg.eval_documents))
    model = _starting_model(cfg, judge)
    if hasattr(cfg.family.module, "TEXT"):
        data, held = _told(cfg, model, judge.classes, inputs.deps.get("encoder"), data, held)

    def save(folder: Path, trained: Any, facts: dict[str, Any]) -> None:
        known = {name: judge.card[name] for name in ("shape", "classes", "media")}
        own = {"config": cfg.family.cfg.model_dump(mode="json"), "metric": cfg.family.module.METRIC}
        array_models.save(folder, trained, known | own | facts | {"watched_documents": len(set(held.documents))})

    def metrics(made: Sequence[Stepped]) -> dict[str, Any]:
        return {"rows": len(data.ids), "epochs": sum(step.units for step in made) / len(data.ids)}

    return Prepared(
        model=model,
        data=data,
        first=None,
        evaluate=_evaluation(cfg, seed, judge, held),
        metric=getattr(cfg.family.module, "WATCHED", cfg.family.module.METRIC),
        sample=_samples(cfg, seed, judge),
        save=save,
        metrics=metrics,
    )


def _check_nothing_of_text(cfg: TrainConfig) -> None:
    """Raises ConfigError where params.yaml asks for what only families of text can do."""
    asked = [name for name in ("adapter", "expand", "packing", "knowledge") if getattr(cfg, name)]
    if asked:
        raise ConfigError(
            f"train.{asked[0]}: expected null, or false, for {cfg.family.name}, which is trained on pictures or sound; "
            f"got {getattr(cfg, asked[0])}."
        )


def _starting_model(cfg: TrainConfig, judge: Loaded) -> Any:
    """The network: from scratch, or from the folder that models/base.json recorded.

    Raises:
        ConfigError: the folder's network is for other pictures, or of no family to start from.
    """
    family = cfg.family
    model = family.module.build(family.cfg, judge.shape, len(judge.classes))
    if cfg.initialise:
        cfg.initialise.module.fill(model, cfg.initialise.cfg)
    if hasattr(family.module, "attend"):
        family.module.attend(model, judge.model)
    if cfg.model == SCRATCH and hasattr(family.module, "adopt"):
        raise ConfigError(
            f"train.model: expected the model folder that a {family.name} starts from, got {SCRATCH}. "
            "Name it, and run: nightforge snapshot"
        )
    if cfg.model == SCRATCH:
        return model
    base = array_models.load(home_folder() / cfg.model)
    for fact in ("shape", "classes", "media"):
        if base.card[fact] != judge.card[fact]:
            raise ConfigError(
                f"train.model: expected a model of {fact} {judge.card[fact]}, as the judge has, got one of "
                f"{base.card[fact]}. Train it on this project's data, or start from scratch."
            )
    if base.card["family"] == family.name and base.family.cfg == family.cfg:
        model.load_state_dict(base.model.state_dict())
    elif hasattr(family.module, "adopt"):
        family.module.adopt(model, family.cfg, base)
    else:
        raise ConfigError(
            f"train.model: expected a {family.name} with the values of train.family, got a {base.card['family']} with "
            f"{base.card['config']}."
        )
    return model


def _told(
    cfg: TrainConfig, model: Any, classes: list[str], encoder: Path | None, data: Arrays, held: Arrays
) -> tuple[Arrays, Arrays]:
    """The rows with their captions; the model is told those of the labels.

    Raises:
        ConfigError: the stage has no text encoder, or one of another width.
    """
    if encoder is None:
        raise ConfigError(
            f"dvc.yaml: stage train: expected a dep named encoder, a Hugging Face folder that reads the captions of a "
            f"{cfg.family.name}, got none. Add, for instance, models/encoder."
        )
    family: Any = cfg.family.cfg
    data, held = (arrays.with_captions(rows, classes, encoder, family.text_tokens) for rows in (data, held))
    names, tokenizer = models.read_transformers(encoder, "AutoModel")
    if (width := names.config.hidden_size) != family.text_width:
        raise ConfigError(
            f"train.family.text_width: expected {width}, the width of {encoder}, got {family.text_width}."
        )
    if classes:
        cfg.family.module.caption(model, captions.read(classes, names, tokenizer, family.text_tokens))
    return data, held


def _evaluation(cfg: TrainConfig, seed: int, judge: Loaded, held: Arrays) -> Callable[[Any], float]:
    """The mean score of the watched records, or the distance of as many samples to them."""
    family, rows = cfg.family, held.rows
    if getattr(family.module, "WATCHED", None) != KID:
        return lambda model: array_models.metric(
            array_models.nats(model, family, rows, judge.model), family, judge.shape
        )
    real = judges.read(judge.model, rows.tensors["x"]).features

    def distance(model: Any) -> float:
        made = family.module.sample(model, family.cfg, rows.tensors["y"], seed)
        return judges.kernel_distance(real, judges.read(judge.model, made).features)

    return distance


def _samples(cfg: TrainConfig, seed: int, judge: Loaded) -> Callable[[Any], Mapping[str, bytes]]:
    """A picture with a row of samples a class; of sounds, whose pictures are spectrograms, also a sound a class."""
    labels = torch.arange(max(1, len(judge.classes))).repeat_interleave(SAMPLES_A_CLASS)

    def sample(model: Any) -> Mapping[str, bytes]:
        made = cfg.family.module.sample(model, cfg.family.cfg, labels, seed).cpu().numpy()
        if judge.media.name == "image":
            return {"samples.png": samples.grid(made, SAMPLES_A_CLASS)}
        sounds = [judge.media.module.render(array, judge.media.cfg) for array in made[::SAMPLES_A_CLASS]]
        heard = {f"samples-{number:03d}.wav": sound for number, sound in enumerate(sounds)}
        return {"samples.png": samples.grid(made[:, :, ::-1], SAMPLES_A_CLASS)} | heard  # the lowest band below

    return sample
