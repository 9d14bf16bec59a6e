"""Families of pictures through the stage `train`: written is what was trained, from scratch and from a folder."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from nightforge import array_models, judge, loop, methods, models
from nightforge.errors import ConfigError
from nightforge.media import image
from nightforge.stats import Bootstrap
from nightforge.train import vae
from nightforge.training import turns
from tasks import arrays, shards, train
from tasks import judge as judge_stage
from tasks.judge import JudgeConfig
from tests import digits, tiny_encoder
from tests.training_contracts import settings

ROOT = Path(__file__).parent.parent.parent
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
MEDIA = {"name": "image", **image.SAMPLE.model_dump()}
SEED = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits, their judge, and the training split as it is balanced."""
    folder = tmp_path_factory.mktemp("digits")
    digits.splits(folder / "splits", 200, 40)
    shards.write(folder / "balanced", digits.records(200))
    values = {"media": MEDIA, "network": judge.SAMPLE, "bootstrap": Bootstrap(resamples=100, level=0.95), "threads": 1}
    judge_stage.run(JudgeConfig(**values), SEED, folder / "splits", folder / "judge")
    (folder / "base.json").write_text('{"from": "scratch"}')
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard's files lie in the project folder."""
    monkeypatch.chdir(tmp_path)


def config(family: str, model: str = "scratch", **changes: Any) -> train.TrainConfig:
    values = json.loads(json.dumps(PARAMS["train"]))
    sample = methods.load("train", family).SAMPLE.model_dump()
    values["loop"] |= {
        "steps": 6,
        "batch_size": 16,
        "eval_every": 3,
        "save_every": 3,
        "precision": "fp32",
        "threads": 1,
    }
    values |= {"family": {"name": family, **sample} | changes, "model": model, "knowledge": None, "eval_documents": 12}
    return train.TrainConfig(**values)


def trained(data: Path, out: Path, cfg: train.TrainConfig, **deps: Path) -> Any:
    """Run the stage; returns its metrics. The model is in `out/dense`, the curves in `out/plots`."""
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    base = data / "base.json"
    if cfg.model != "scratch":
        base = out / "base.json"
        base.write_text(json.dumps({"folder": cfg.model}))
    every = {"judge": data / "judge", **deps}
    return train.run(
        cfg, SEED, base, data / "balanced", data / "splits", every, out / "dense", work, out / "plots"
    ).metrics


FAMILIES = [name for name in methods.names("train") if methods.load("train", name).KIND == "array"]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_loaded_is_what_was_trained(family: str, data: Path, tmp_path: Path) -> None:
    encoder, start = tiny_encoder.lay(tmp_path / "encoder"), "scratch"
    more = {"text_width": 32} if hasattr(methods.load("train", family), "TEXT") else {}
    if hasattr(methods.load("train", family), "adopt"):
        with pytest.raises(ConfigError, match=f"the model folder that a {family} starts from"):
            trained(data, tmp_path, config(family))
        trained(data, tmp_path / "base", config("vae"))
        start = str(tmp_path / "base/dense")
    metrics = trained(data, tmp_path, config(family, start, **more), encoder=encoder)
    assert metrics["steps"] == 6 and metrics["units"] == 96 and metrics["epochs"] == pytest.approx(96 / 200, rel=0.1)
    loaded = array_models.load(tmp_path / "dense")
    assert loaded.classes == list("0123456789") and loaded.family.name == family
    module, cfg = loaded.family.module, loaded.family.cfg
    held = arrays.read(data / "splits/validation", loaded.media, loaded.classes)
    held = held.of(set(held.documents[::3][:12]))
    assert loaded.card["watched_documents"] == 12
    reader = array_models.load_judge(data / "judge").model
    if not hasattr(module, "WATCHED"):
        nats = array_models.nats(loaded.model, loaded.family, held.rows, reader)
        assert array_models.metric(nats, loaded.family, loaded.shape) == pytest.approx(
            metrics[f"{module.METRIC}_best"], rel=1e-4
        )
    shown = sorted(path.name for path in (tmp_path / "plots/samples").iterdir())
    assert shown == ["0000003-samples.png", "0000006-samples.png"]
    with Image.open(tmp_path / "plots/samples/0000006-samples.png") as picture:
        assert picture.size == (8 * 50, 10 * 50)
    assert cfg == config(family, **more).family.cfg


def test_scored_in_parts_is_scored_at_once(data: Path) -> None:
    reader = array_models.load_judge(data / "judge")
    family = methods.choose("train", {"name": "vae", **vae.SAMPLE.model_dump()})
    model = vae.build(vae.SAMPLE, (1, 8, 8), 10).eval()
    rows = arrays.read(data / "splits/validation", reader.media, reader.classes).rows
    at_once, in_parts = (array_models.nats(model, family, rows, reader.model, size) for size in (256, 7))
    np.testing.assert_allclose(in_parts, at_once, rtol=1e-5)
    assert len(at_once) == 40


def test_fine_tuned_from_a_folder_and_refused_where_it_does_not_fit(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path / "first", config("vae"))
    folder = str(tmp_path / "first/dense")
    again = trained(data, tmp_path / "again", config("vae", model=folder))
    first = next(iter((tmp_path / "first/plots/steps.csv").read_text().splitlines()[1:]))
    later = next(iter((tmp_path / "again/plots/steps.csv").read_text().splitlines()[1:]))
    assert float(later.split(",")[1]) < float(first.split(",")[1]) and again["steps"] == 6
    with pytest.raises(ConfigError, match="expected a vae with the values"):
        trained(data, tmp_path / "again", config("vae", model=folder, latent=5))
    card = json.loads((tmp_path / "first/dense/model.json").read_text())
    card["classes"] = [f"digit {name}" for name in card["classes"]]
    (tmp_path / "first/dense/model.json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match="expected a model of classes"):
        trained(data, tmp_path / "again", config("vae", model=folder))


def test_a_network_that_is_told_texts_wants_an_encoder_that_fits(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a dep named encoder"):
        trained(data, tmp_path, config("text_diffusion"))
    encoder = tiny_encoder.lay(tmp_path / "encoder")
    with pytest.raises(ConfigError, match="expected 32, the width of"):
        trained(data, tmp_path, config("text_diffusion"), encoder=encoder)
    with pytest.raises(ConfigError, match="expected at most the encoder's 16, got 17"):
        trained(data, tmp_path, config("text_diffusion", text_tokens=17), encoder=encoder)


def test_equal_captions_are_kept_once_and_go_with_their_rows(data: Path, tmp_path: Path) -> None:
    rows = digits.records(4)
    rows[1] = dataclasses.replace(rows[1], text="the cat sat")
    rows[3] = dataclasses.replace(rows[3], label="0")
    shards.write(tmp_path / "rows", rows)
    encoder = tiny_encoder.lay(tmp_path / "encoder")
    plain = arrays.read(tmp_path / "rows", methods.choose("media", MEDIA), list("0123456789"))
    told = arrays.with_captions(plain, [f"kind {n}" for n in range(10)], encoder, 6)
    assert told.told is not None and len(told.told.captions.states) == 3
    batch = told.batch([3, 1, 0]).tensors
    assert torch.equal(batch["text"][0], batch["text"][2]) and not torch.equal(batch["text"][0], batch["text"][1])
    network, words = models.read_transformers(encoder, "AutoModel")
    alone = network(**words("the cat sat", return_tensors="pt")).last_hidden_state[0]  # [CLS] the cat sat [SEP]
    torch.testing.assert_close(batch["text"][1, :5], alone, atol=1e-5, rtol=1e-4)
    assert batch["text_mask"][1].tolist() == [True] * 5 + [False] and (batch["text"][1, 5:] == 0).all()
    only = told.of({rows[1].id}).rows.tensors
    assert torch.equal(only["text"][0], batch["text"][1])


def test_what_only_texts_can_do_is_refused(data: Path, tmp_path: Path) -> None:
    packed = config("vae").model_copy(update={"packing": True})
    with pytest.raises(ConfigError, match=r"train\.packing: expected null, or false, for vae"):
        trained(data, tmp_path, packed)


def test_a_score_by_labels_wants_labels(data: Path, tmp_path: Path) -> None:
    plain = [dataclasses.replace(record, label=None) for record in digits.records(24)]
    for name in ("balanced", "splits/train", "splits/validation"):
        shards.write(tmp_path / name, plain)
    values = {"media": MEDIA, "network": judge.SAMPLE, "bootstrap": Bootstrap(resamples=100, level=0.95), "threads": 1}
    judge_stage.run(JudgeConfig(**values), SEED, tmp_path / "splits", tmp_path / "judge")
    (tmp_path / "base.json").write_text('{"from": "scratch"}')
    with pytest.raises(ConfigError, match="expected data of two labels or more for a gan"):
        trained(tmp_path, tmp_path / "gan", config("gan"))
    assert trained(tmp_path, tmp_path / "vae", config("vae"))["steps"] == 6


@pytest.mark.parametrize(
    ("family", "changes"),
    [("vae", {"norm": "batch", "skip_share": 0.5}), ("gan", {"discriminator_moves": 2}), ("diffusion", {})],
)
def test_resumed_is_uninterrupted_to_the_bit(family: str, changes: dict[str, Any], data: Path) -> None:
    chosen = config(family, **changes).family
    found = arrays.read(data / "balanced", methods.choose("media", MEDIA), list("0123456789"))
    values = settings(steps=5, batch_size=8, eval_every=2, save_every=2, ema=0.9)

    def run() -> loop.Run:
        torch.manual_seed(SEED)
        model = chosen.module.build(chosen.cfg, (1, 8, 8), 10)
        return loop.start(model, turns(chosen), values, SEED, "fp32")

    def value(model: Any) -> float:
        return float(chosen.module.sample(model, chosen.cfg, torch.arange(4), 5).std())

    whole, first, second = run(), run(), run()
    list(loop.steps(whole, found, value))
    for event in loop.steps(first, found, value):
        if type(event).__name__ == "Due":
            break
    out = io.BytesIO()
    torch.save(loop.state(first), out)
    out.seek(0)
    loop.restore(second, torch.load(out, weights_only=True))
    list(loop.steps(second, found, value))
    assert second.seen == whole.seen and len(whole.seen) == 3
    weights = second.model.state_dict()
    assert all(torch.equal(weights[name], kept) for name, kept in whole.model.state_dict().items())


def test_the_grid_of_samples_by_hand() -> None:
    from nightforge.samples import grid

    x = np.stack([np.full((3, 2, 48), value, dtype=np.float32) for value in (-1, 0, 1)])
    with Image.open(io.BytesIO(grid(x, 2))) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (2 * 4, 2 * 50, 3)
    assert (pixels[2:4, 2:50] == 0).all() and (pixels[2:4, 52:] == 128).all() and (pixels[6:, 2:50] == 255).all()
    assert (pixels[:2] == 0).all() and (pixels[6:, 50:] == 0).all()
