import random
from pathlib import Path
from typing import Any

import pytest

from nightforge.augment._models import Sampling, generate, load
from nightforge.augment.paraphrase import SAMPLE, Config, vary
from nightforge.errors import AssetMissing
from nightforge.records import Record

TEXT = "A tall tree with showy flowers.\nThe `meal` is eaten."


def variants(assets: Path, seed: int = 0, **changes: Any) -> list[Record]:
    cfg = SAMPLE.model_copy(update={"sentence_share": 1.0, **changes})
    return list(vary(Record(id="r", text=TEXT), cfg, random.Random(seed), assets))


def test_the_model_is_asked_by_the_template_and_its_answer_alone_is_taken(augment_assets: Path) -> None:
    local = load(augment_assets, "causal_lm", "AutoModelForCausalLM")
    rng = random.Random(0)
    sentence = "A tall tree with showy flowers."
    rng.sample([(0, sentence)], 1)
    (said,) = generate(local, [SAMPLE.prompt.replace("{text}", sentence)], SAMPLE.sampling, rng.getrandbits(32))
    first = variants(augment_assets)[0]
    assert said and first.text == f"{said}\nThe `meal` is eaten."
    assert first.meta["edits"] == [{"part": "text", "at": 0, "before": sentence, "after": said}]


def test_padding_does_not_reach_a_causal_model(augment_assets: Path) -> None:
    """The likeliest answer is the same alone and beside a longer prompt."""
    local = load(augment_assets, "causal_lm", "AutoModelForCausalLM")
    greedy = Sampling(temperature=0.05, top_p=0.01, new_tokens=6, batch=2)
    alone = generate(local, ["a tall tree"], greedy, 0)[0]
    assert alone and generate(local, ["a tall tree", "the meal is eaten at noon with bread"], greedy, 0)[0] == alone


def test_a_template_needs_its_slot() -> None:
    with pytest.raises(ValueError, match=r"expected \{text\} once"):
        Config(**{**SAMPLE.model_dump(), "prompt": "Say it anew:"})


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match="name: causal_lm"):
        variants(tmp_path)
