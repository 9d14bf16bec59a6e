"""The toxicity hook: a real model folder with random weights, and the user's own examples."""

from pathlib import Path

import pytest
import torch

from nightforge import models
from nightforge.clean import toxicity
from nightforge.clean.toxicity import Config, Examples, Folder
from nightforge.errors import AssetMissing, ConfigError
from nightforge.records import Mark, Record, Reject
from nightforge.view import View
from tests import cleaning_assets, tiny_encoder

LABELS = ["fine", "insult", "threat"]


def by(labels: list[str], score_max: float = 0.5) -> Config:
    return Config(by=Folder(model="tiny", labels=labels), score_max=score_max)


def score(text: str, cfg: Config, assets: Path) -> float:
    mark, *rejects = toxicity.judge(View(Record(id="r", text=text)), cfg, toxicity.prepare(cfg, assets))
    assert isinstance(mark, Mark) and mark.name == "toxicity"
    want = [Reject("toxic", f"{mark.value:.2f} > {cfg.score_max}")] if float(mark.value) > cfg.score_max else []
    assert rejects == want
    return float(mark.value)


def probabilities(assets: Path, text: str) -> torch.Tensor:
    model, tokenizer = models.read_transformers(assets / "tiny", "AutoModelForSequenceClassification")
    with torch.inference_mode():
        return model.eval()(**tokenizer(text, return_tensors="pt")).logits[0]


def test_a_model_folder_gives_the_probability_of_the_labels_named(tmp_path: Path) -> None:
    tiny_encoder.lay(tmp_path / "tiny", LABELS)
    p = probabilities(tmp_path, "you are so vile").softmax(0)
    assert score("you are so vile", by(["insult"]), tmp_path) == pytest.approx(float(p[1]), abs=1e-4)
    assert score("you are so vile", by(["insult", "threat"], 0), tmp_path) == pytest.approx(
        float(p[1:].sum()), abs=1e-4
    )
    assert score("you are so vile", by(LABELS, 1), tmp_path) == 1


def test_where_a_text_may_bear_several_labels_the_likeliest_counts(tmp_path: Path) -> None:
    tiny_encoder.lay(tmp_path / "tiny", LABELS, problem_type="multi_label_classification")
    p = probabilities(tmp_path, "hello").sigmoid()
    assert score("hello", by(LABELS), tmp_path) == pytest.approx(float(p.max()), abs=1e-4)


def test_of_a_long_text_the_worst_window_counts(tmp_path: Path) -> None:
    tiny_encoder.lay(tmp_path / "tiny", LABELS)
    inside = tiny_encoder.POSITIONS - 2  # the ends of a window are marked
    calm, vile = ["hello"] * inside * 10, ["vile"] * inside
    alone = [score(" ".join(words), by(["insult"]), tmp_path) for words in (calm[:inside], vile)]
    assert alone[0] != alone[1]
    assert score(" ".join(calm + vile), by(["insult"]), tmp_path) == pytest.approx(max(alone), abs=2e-4)
    assert score(" ".join(vile + calm), by(["insult"]), tmp_path) == pytest.approx(max(alone), abs=2e-4)


def test_what_is_no_classifier_or_has_no_such_label_is_refused(tmp_path: Path) -> None:
    tiny_encoder.lay(tmp_path / "tiny", LABELS)
    with pytest.raises(ConfigError, match=r"has no \['rude'\]. It has: fine, insult, threat"):
        toxicity.prepare(by(["rude", "insult"]), tmp_path)
    tiny_encoder.lay(tmp_path / "headless" / "tiny")
    with pytest.raises(ConfigError, match="got BertModel, which has no trained head"):
        toxicity.prepare(by(["insult"]), tmp_path / "headless")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    for cfg, name in ((by(["insult"]), "tiny"), (toxicity.SAMPLE, "good")):
        with pytest.raises(AssetMissing, match=rf"ingest\.assets.*\n.*name: {name}"):
            toxicity.prepare(cfg, tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(AssetMissing, match="safetensors"):
        toxicity.prepare(by(["insult"]), tmp_path)


def test_examples_serve_as_well(tmp_path: Path) -> None:
    cleaning_assets.write(tmp_path)
    cfg = Config(by=Examples(good="good", bad="bad"), score_max=0.5)
    assert score(cleaning_assets.BAD[0], cfg, tmp_path) > 0.9
    assert score(cleaning_assets.GOOD[0], cfg, tmp_path) < 0.1
