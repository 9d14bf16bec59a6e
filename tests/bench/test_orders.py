"""The orders of bench/orders.py that a model of a few seconds' training can tell, and the benches' recipes."""

import copy
from pathlib import Path

import pytest

from bench import _halves, _ours, compress, orders
from bench._halves import Half
from nightforge import models, scoring
from nightforge.held import Held
from nightforge.methods import choose
from tests.small_lm import Small


@pytest.mark.slow
def test_what_methods_lose_is_in_the_published_order(small: Small) -> None:
    dense, lost = small.nats(small.model), {}
    for name, passes in orders.ROWS.items():
        held = small.held()
        for one in passes:
            method = choose("compress", one)
            held = method.module.apply(held, small.given, method.cfg)
        lost[name] = small.nats(held.model) - dense
    assert abs(lost["int8"]) < 1e-3 < lost["int3_rtn"]
    for method in ("magnitude", "wanda", "sparsegpt"):
        assert lost[f"2of4_{method}"] > 2 * lost[f"half_{method}"] > 0, "a pattern costs more than a free choice"
        if method != "sparsegpt":
            for kind in ("half", "2of4"):
                assert lost[f"{kind}_sparsegpt"] < 0.5 * lost[f"{kind}_{method}"], "what stays makes up for what went"
    assert lost["rank_svd_llm"] < 0.3 * min(lost["rank_svd"], lost["rank_asvd"])


@pytest.mark.slow
@pytest.mark.skipif(not (_halves.SMOLLM2 / models.CARD).is_file(), reason="no SmolLM2 here; run: make pretrained")
def test_what_methods_lose_of_smollm2_is_in_the_published_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are quick, on a part of the texts; `python -m bench.orders` measures all."""
    monkeypatch.setattr(_ours, "CALIBRATION_TOKENS", 2_048)
    half = _halves.smollm2()
    assert half
    part = half.documents[:12]
    names = ("int8", "int4_rtn", orders.CHANNEL, "int3_rtn", "half_magnitude", "half_wanda", "2of4_wanda")
    lost = orders.losses(half._replace(documents=part, tokens=int(scoring.text_tokens(part).sum())), names)
    assert abs(lost["int8"]) < orders.NOTHING < lost["int4_rtn"] < lost[orders.CHANNEL] < lost["int3_rtn"]
    assert lost["half_wanda"] < min(lost["2of4_wanda"], lost["half_magnitude"] / 2)


def test_one_scale_a_channel_leaves_sixteen_values(small: Small) -> None:
    held = Held(copy.deepcopy(small.model))
    orders.by_channel(held)
    assert len(held.grids) == 3 * 7  # layers × matrices
    for name, grid in held.grids.items():
        weight = held.model.get_submodule(name).weight
        assert grid.scales.shape == (len(weight), 1)
        assert max(len(row.unique()) for row in weight.detach()) <= 16


@pytest.mark.parametrize("recipes", [compress.recipes("own"), compress.recipes("smollm2"), orders.ROWS])
def test_the_recipes_are_what_the_product_takes(recipes: dict[str, _ours.Passes], small: Small, tmp_path: Path) -> None:
    models.save(tmp_path, copy.deepcopy(small.model), small.tokenizer, {"family": "causal_lm"})
    half = Half("own", tmp_path, tmp_path, 64, [], 0, "")
    made = _ours.compressor(half, recipes)
    assert made.inputs.cfg.recipes.keys() == recipes.keys()
    for recipe in made.inputs.cfg.recipes.values():
        made.check(recipe)
