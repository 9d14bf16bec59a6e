import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nightforge.augment._models import Sampling, generate, load
from nightforge.augment.back_translation import SAMPLE, vary
from nightforge.errors import AssetMissing
from nightforge.records import Record

TEXT = "  A tall tree with showy flowers. It costs $3.50 here.\n\nThe meal is eaten at noon!\n`the meal`"


def variants(assets: Path, text: str = TEXT, seed: int = 0, **changes: Any) -> list[Record]:
    cfg = SAMPLE.model_copy(update={"sentence_share": 1.0, **changes})
    return list(vary(Record(id="r", text=text), cfg, random.Random(seed), assets))


def test_sentences_go_there_and_back_and_the_rest_stays(augment_assets: Path) -> None:
    there, back = (load(augment_assets, n, "AutoModelForSeq2SeqLM") for n in ("translate_there", "translate_back"))
    rng = random.Random(0)
    found = ["A tall tree with showy flowers.", "The meal is eaten at noon!"]
    order, seed = rng.sample([(2, found[0]), (57, found[1])], 2), rng.getrandbits(32)
    said = generate(back, generate(there, [s for _, s in order], SAMPLE.sampling, seed), SAMPLE.sampling, seed + 1)
    expected = TEXT
    for (_, before), after in zip(order, said, strict=True):
        expected = expected.replace(before, after or before)
    assert variants(augment_assets)[0].text == expected
    assert "It costs $3.50 here.\n\n" in expected and expected.endswith("\n`the meal`")


def test_what_is_drawn_hangs_on_the_seed_and_not_on_the_batch(augment_assets: Path) -> None:
    one = [v.text for v in variants(augment_assets)]
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert [v.text for v in variants(augment_assets)] == one != [v.text for v in variants(augment_assets, seed=1)]
    assert torch.equal(torch.get_rng_state(), before), "the random state of others is as it was"


def test_what_is_longer_than_the_model_stays(augment_assets: Path) -> None:
    assert variants(augment_assets, "tree " * 200) == []
    local = load(augment_assets, "translate_there", "AutoModelForSeq2SeqLM")
    said = generate(local, ["tree " * 200, "a tall tree"], Sampling(temperature=1, top_p=1, new_tokens=5, batch=1), 3)
    assert said[0] == "" and said[1]


def test_a_missing_model_is_named(tmp_path: Path, augment_assets: Path) -> None:
    shutil.copytree(augment_assets / "translate_there", tmp_path / "translate_there")
    with pytest.raises(AssetMissing, match="name: translate_back"):
        variants(tmp_path)
