import random
from pathlib import Path
from typing import Any

import pytest

from nightforge.augment._models import load
from nightforge.augment.contextual import SAMPLE, _masked, _places, vary
from nightforge.errors import AssetMissing
from nightforge.records import Record
from tests import tiny_assets

TEXT = "a tall tree with showy flowers\nbeside the `river` at 3.50 and a Tall meal"


def variants(assets: Path, text: str = TEXT, **changes: Any) -> list[Record]:
    cfg = SAMPLE.model_copy(update={"word_share": 1.0, **changes})
    return list(vary(Record(id="r", text=text), cfg, random.Random(0), assets))


def test_whole_words_of_the_vocabulary_take_the_place(augment_assets: Path) -> None:
    known = {word for text in tiny_assets.TEXTS for word in text.split()}
    for variant in variants(augment_assets):
        assert {e["before"] for e in variant.meta["edits"]} == {
            "tall",
            "tree",
            "with",
            "showy",
            "flowers",
            "beside",
            "meal",
        }
        assert all(e["after"] in known and e["after"] != e["before"] for e in variant.meta["edits"])
        assert "`river` at 3.50" in variant.text and "Tall" in variant.text


def test_the_candidates_are_the_models(augment_assets: Path) -> None:
    """Against a plain call of transformers, one masked word at a time, whole text in view."""
    import torch

    local = load(augment_assets, "masked_lm", "AutoModelForMaskedLM")
    text = "a tall tree stands beside the river"
    ids = local.tokenizer(f"[CLS] {text.replace('beside', '[MASK]')} [SEP]", return_tensors="pt").input_ids
    assert _masked(local.tokenizer, text, text.index("beside"), "beside", 20)[0] == ids[0].tolist()
    with torch.inference_mode():
        order = local.model(input_ids=ids).logits[0, 5].argsort(descending=True).tolist()
    best = next(local.words[i] for i in order if local.words[i] not in {"", "beside"})
    cfg = SAMPLE.model_copy(update={"candidates": 50})
    ((at, word, names, weights),) = _places(cfg, local, text, [(text.index("beside"), "beside")])
    assert (at, word, names[0]) == (text.index("beside"), "beside", best)
    assert weights == sorted(weights, reverse=True) and 0 < sum(weights) < 1


def test_batches_and_windows_change_nothing_but_the_cost(augment_assets: Path) -> None:
    once = [v.text for v in variants(augment_assets, batch=64)]
    assert [v.text for v in variants(augment_assets, batch=2)] == once
    long = "\n".join([TEXT] * 30)  # far longer than the model's context
    assert variants(augment_assets, long, window_tokens=16, places_max=10)[0].text.count("\n") == long.count("\n")


def test_pieces_of_words_and_names_are_no_words(augment_assets: Path) -> None:
    words = load(augment_assets, "masked_lm", "AutoModelForMaskedLM").words
    assert "tree" in words and not {"##ing", "ing", "Tall", "[MASK]", "[PAD]"} & set(words)


def test_a_missing_model_is_named_and_pickled_weights_are_refused(tmp_path: Path, augment_assets: Path) -> None:
    with pytest.raises(AssetMissing, match="name: masked_lm"):
        variants(tmp_path)
    pickled = tmp_path / "masked_lm"
    pickled.mkdir()
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(AssetMissing, match="safetensors"):
        variants(tmp_path)
