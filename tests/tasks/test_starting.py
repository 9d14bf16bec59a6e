"""What training starts from: it fits, it is finite, its vocabulary grows, and an adapter goes on last."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nightforge import methods, models, tokenizer
from nightforge.errors import ConfigError, DataError
from nightforge.train import causal_lm, masked_lm, seq2seq
from nightforge.vocabulary import Expand
from tasks import starting
from tests import tiny_encoder
from tests.test_train_evaluate import config

OLD = ["an older corpus of other words, tall and small"]
NEW = ["chloroplasts of a tree", "photosynthesis in chloroplasts", "chloroplasts"] * 3
LORA = {"name": "lora", "rank": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"], "dora": False}


def worth(model: Any, words: Any) -> dict[str, float]:
    """Tokens of the new texts."""
    return {"tokens": float(sum(map(len, words(NEW)["input_ids"])))}


def lay(folder: Path, **changes: Any) -> Any:
    """A starting model and its tokenizer; returns the model."""
    words = tokenizer.train(OLD, ["plant"], 300, 64)
    torch.manual_seed(1)
    model = causal_lm.build(causal_lm.SAMPLE.model_copy(update={"vocab": len(words)}), words)
    for name, value in changes.items():
        model.get_parameter(name).data[0] = value
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model


def started(changes: dict[str, Any], labels: set[str]) -> starting.Started:
    cfg = config().model_copy(update={"model": "base"} | changes)
    return starting.start(cfg, lambda: iter(NEW), labels, None, worth)


def test_labels_then_new_tokens_then_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = lay(tmp_path / "base").get_input_embeddings().num_embeddings
    chosen = methods.choose("adapt", LORA)
    got = started({"expand": Expand(tokens=8, min_count=3), "adapter": chosen}, {"plant", "animal"})
    assert tokenizer.prompt(got.words, "animal") == [known] and len(got.words) == known + 1 + 8
    assert got.expansion["tokens"] == 8
    assert got.expansion["after"]["tokens"] == worth(None, got.words)["tokens"] < got.expansion["before"]["tokens"]
    trained = {name: tuple(p.shape) for name, p in got.model.named_parameters() if p.requires_grad}
    (rows,) = [shape for name, shape in trained.items() if "lora" not in name]
    assert rows == (9, causal_lm.SAMPLE.hidden), "of the embeddings, those of new tokens alone"
    assert len(trained) == 1 + 2 * causal_lm.SAMPLE.layers
    assert got.model.merge_and_unload().get_input_embeddings().num_embeddings == len(got.words)
    assert started({}, {"plant"}).expansion == {}


@pytest.mark.parametrize(("ability", "value"), [("adapter", LORA), ("expand", {"tokens": 1, "min_count": 2})])
def test_from_scratch_there_is_nothing_to_adapt_or_expand(ability: str, value: dict[str, Any]) -> None:
    cfg = type(config()).model_validate(config().model_dump() | {ability: value})
    with pytest.raises(ConfigError, match=rf"train\.{ability}: expected null with train\.model: scratch"):
        starting.start(cfg, lambda: iter(NEW), set(), None, worth)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay(tmp_path / "base")
    tokenizer.train(NEW + OLD, ["plant"], 400, 64).save_pretrained(tmp_path / "base")
    with pytest.raises(
        DataError, match=r"base: expected a tokenizer that fits the model's \d+ embeddings, got token ids"
    ):
        started({}, set())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay(tmp_path / "base", **{"model.layers.1.mlp.up_proj.weight": bad})
    with pytest.raises(DataError, match=r"found NaN or infinity in model\.layers\.1\.mlp\.up_proj\.weight"):
        started({}, set())


def test_a_folder_that_is_read_back_is_the_one_that_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grown, adapted, merged, saved: transformers and we read the same model again."""
    monkeypatch.chdir(tmp_path)
    lay(tmp_path / "base")
    got = started({"expand": Expand(tokens=8, min_count=3), "adapter": methods.choose("adapt", LORA)}, {"animal"})
    ids = torch.tensor([got.words(NEW[0])["input_ids"]])
    with torch.inference_mode():
        before = got.model.eval()(ids).logits
    models.save(tmp_path / "out", got.model.merge_and_unload(), got.words, {"family": "causal_lm"})
    loaded = models.load(tmp_path / "out")
    assert loaded.tokenizer(NEW)["input_ids"] == got.words(NEW)["input_ids"]
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(ids).logits, before, rtol=1e-5, atol=1e-5)


def test_what_cannot_be_compressed_is_refused_where_it_is_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From scratch too; a project that ends at evaluation may train anything."""
    monkeypatch.chdir(tmp_path)
    shape = {"name": "hf_config", "config": {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2},
             "vocab": 300, "context": 64, "label_smoothing": 0.0}  # fmt: skip
    cfg = type(config()).model_validate(config().model_dump() | {"family": shape})
    starting.start(cfg, lambda: iter(OLD), set(), None, worth)
    (tmp_path / "dvc.yaml").write_text("stages: {train: {}, evaluate: {}}")
    starting.start(cfg, lambda: iter(OLD), set(), None, worth)
    (tmp_path / "dvc.yaml").write_text("stages: {train: {}, compress: {}}")
    with pytest.raises(
        ConfigError, match=r"LlamaForCausalLM.*got GPT2LMHeadModel.*take the stages from `compress` on out"
    ):
        starting.start(cfg, lambda: iter(OLD), set(), None, worth)
    starting.start(config(), lambda: iter(OLD), set(), None, worth)
    for value, complaint in (
        ({"window": 8}, r"a sliding window of 8 tokens.*train\.family\.window: null"),
        ({"rope_theta": None}, r"train\.family\.rope_theta: expected positions"),
    ):
        changed = config().model_dump()
        changed["family"] |= value
        with pytest.raises(ConfigError, match=complaint):
            starting.start(type(config()).model_validate(changed), lambda: iter(OLD), set(), None, worth)


def test_an_encoder_decoder_goes_on_to_compress_and_a_masked_model_ends_with_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs, masked = (
        config().model_copy(update={"family": methods.Method("train", name, module, module.SAMPLE)})
        for name, module in (("seq2seq", seq2seq), ("masked_lm", masked_lm))
    )
    (tmp_path / "dvc.yaml").write_text("stages: {train: {}, evaluate: {}, compress: {}}")
    assert (
        type(starting.start(pairs, lambda: iter(OLD), set(), None, worth).model).__name__
        in models.ARCHITECTURES[models.SEQ2SEQ]
    )
    with pytest.raises(ConfigError, match=r"ends with the stage `train`.*stages from `evaluate` on out of dvc\.yaml"):
        starting.start(masked, lambda: iter(OLD), set(), None, worth)
    (tmp_path / "dvc.yaml").write_text("stages: {train: {}}")
    assert starting.start(masked, lambda: iter(OLD), set(), None, worth).words.mask_token_id is not None


def test_a_masked_model_needs_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_encoder.lay(tmp_path / "base")
    masked = methods.Method("train", "masked_lm", masked_lm, masked_lm.SAMPLE)
    with pytest.raises(ConfigError, match="base: expected a tokenizer with a mask_token"):
        started({"family": masked}, set())
