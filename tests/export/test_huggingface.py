"""What stock transformers loads: the same numbers, of models that are smaller than before too."""

import copy
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from nightforge.errors import AssetMissing, ConfigError
from nightforge.export import huggingface
from nightforge.grids import Spec
from nightforge.held import Factored, Held
from tests import held_models
from tests.small_lm import Small

HALF = {name: huggingface.Config(tolerance=0.1, dtype=name) for name in ("bfloat16", "float16")}


def test_a_shrunk_model_with_integers_and_low_ranks_is_the_same_in_transformers(small: Small, tmp_path: Path) -> None:
    held = held_models.rounded(small, {"model.layers.*.mlp.*": Spec(4, 32, True)})
    held.model.model.layers = held.model.model.layers[:2]
    held.model.config.num_hidden_layers = 2
    q = held.model.model.layers[0].self_attn.q_proj
    up, values, down = torch.linalg.svd(q.weight.detach())
    factored = Factored(torch.nn.Linear(64, 16, bias=False), torch.nn.Linear(16, 64, bias=False))
    factored.down.weight.data, factored.up.weight.data = values[:16, None] * down[:16], up[:, :16].contiguous()
    held.model.model.layers[0].self_attn.q_proj = factored
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    assert huggingface.convert(held, plain, tmp_path / "out", huggingface.SAMPLE) == []
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert len(loaded.model.layers) == 2
    assert held_models.apart(held_models.logits(loaded), held_models.logits(held.model)) < 1e-4
    assert loaded.model.layers[1].mlp.up_proj.weight.equal(held.model.model.layers[1].mlp.up_proj.weight)


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_halves_the_file_and_says_so(dtype: str, small: Small, tmp_path: Path) -> None:
    held = small.held()
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    assert huggingface.convert(held, plain, tmp_path / "out", HALF[dtype]) == [f"every number is rounded to {dtype}"]
    full, half = ((folder / "model.safetensors").stat().st_size for folder in (plain, tmp_path / "out"))
    assert half == pytest.approx(full / 2, rel=0.03)
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == dtype
    found = held_models.reread(huggingface, tmp_path / "out")
    assert 0 < held_models.apart(found, held_models.logits(held.model)) < HALF[dtype].tolerance


def test_a_number_too_large_for_half_precision_is_refused(small: Small, tmp_path: Path) -> None:
    held = Held(copy.deepcopy(small.model))
    held.model.model.layers[0].mlp.up_proj.weight.data[0, 0] = 1e5
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    with pytest.raises(ConfigError, match=r"float16 cannot hold all numbers of model\.layers\.0\.mlp\.up_proj"):
        huggingface.convert(held, plain, tmp_path / "out", HALF["float16"])
    assert not (tmp_path / "out").exists()
    huggingface.convert(held, plain, tmp_path / "out", HALF["bfloat16"])


def test_a_folder_without_weights_is_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match="found none"):
        huggingface.convert(small.held(), tmp_path, tmp_path / "out", huggingface.SAMPLE)
