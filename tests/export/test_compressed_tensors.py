"""Packed integers: the same logits by the package's own decompressor, and by stock transformers where it can."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

from nightforge.errors import ConfigError, DataError
from nightforge.export import compressed_tensors
from nightforge.grids import Spec
from nightforge.held import Factored, Held
from tests import held_models
from tests.small_lm import Small

FOUR, EIGHT, OFFSET = Spec(4, 32, True), Spec(8, 32, True), Spec(4, 16, False)
LAYERS = "model.layers.*"


def written(small: Small, held: Held, folder: Path, dtype: str = "float32") -> list[str]:
    plain = held_models.plain(held, small.tokenizer, folder / "plain")
    cfg = compressed_tensors.Config(tolerance=0.001, dtype=dtype)  # type: ignore[arg-type]
    return compressed_tensors.convert(held, plain, folder / "out", cfg)


@pytest.mark.parametrize("spec", [FOUR, EIGHT, OFFSET, Spec(8, 64, False), Spec(4, 256, True), Spec(4, 256, False)])
def test_each_grid_gives_the_logits_in_memory(spec: Spec, small: Small, tmp_path: Path) -> None:
    held = held_models.rounded(small, {LAYERS: spec})
    remarks = written(small, held, tmp_path)
    expected = held_models.logits(held.model)
    assert held_models.apart(held_models.reread(compressed_tensors, tmp_path / "out"), expected) < 1e-5
    # Transformers makes a model for blocks with an offset only if it undoes them while it loads.
    how = {} if spec.symmetric else {"quantization_config": CompressedTensorsConfig(dequantize=True)}
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32, **how).eval()
    assert held_models.apart(held_models.logits(stock), expected) < 1e-5
    assert bool(remarks) != spec.symmetric


def test_bits_are_mixed_by_layer_and_what_vllm_fuses_is_told(small: Small, tmp_path: Path) -> None:
    specs = {"*.down_proj": EIGHT, "*.0.self_attn.k_proj": EIGHT, "*.1.mlp.up_proj": OFFSET, LAYERS: FOUR}
    held = held_models.rounded(small, specs)
    remarks = written(small, held, tmp_path)
    assert (
        held_models.apart(held_models.reread(compressed_tensors, tmp_path / "out"), held_models.logits(held.model))
        < 1e-5
    )
    said = " | ".join(remarks)
    assert "model.layers.0.self_attn: q_proj, k_proj, v_proj are one layer" in said
    assert "model.layers.1.mlp: gate_proj, up_proj are one layer" in said
    assert "layers.2" not in said and "down_proj" not in said


def test_a_table_of_embeddings_has_its_values(small: Small, tmp_path: Path) -> None:
    held = held_models.untied(held_models.rounded(small, {LAYERS: FOUR}), EIGHT)
    (said,) = written(small, held, tmp_path)
    assert said == "the embedding has the values of its grid, held as float32: the format has none of integers"
    assert (
        held_models.apart(held_models.reread(compressed_tensors, tmp_path / "out"), held_models.logits(held.model))
        < 1e-5
    )


def test_the_file_is_as_small_as_its_integers(small: Small, tmp_path: Path) -> None:
    held = held_models.rounded(small, {LAYERS: FOUR})
    assert written(small, held, tmp_path, "float16") == ["scales and all that is no integer are rounded to float16"]
    tensors = load_file(tmp_path / "out/model.safetensors")
    q = {key.rpartition(".")[2]: t for key, t in tensors.items() if "layers.0.self_attn.q_proj" in key}
    assert {key: (tuple(t.shape), t.dtype) for key, t in q.items()} == {
        "weight_packed": ((64, 8), torch.int32),
        "weight_scale": ((64, 2), torch.float16),
        "weight_shape": ((2,), torch.int64),
    }
    first = held.grids["model.layers.0.self_attn.q_proj"].ints[0, :8].tolist()
    assert q["weight_packed"][0, 0].item() & 0xFFFFFFFF == sum(i << 4 * at for at, i in enumerate(first))
    config = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    assert config["ignore"] == ["lm_head"] and len(config["config_groups"]["group_0"]["targets"]) == 21


def test_a_tied_embedding_on_a_grid_keeps_its_values_and_this_is_told(small: Small, tmp_path: Path) -> None:
    held = held_models.rounded(small, {LAYERS: FOUR, "lm_head": EIGHT})
    assert [r for r in written(small, held, tmp_path) if "the embedding has the values" in r]
    assert (
        held_models.apart(held_models.reread(compressed_tensors, tmp_path / "out"), held_models.logits(held.model))
        < 1e-5
    )


@pytest.mark.parametrize(
    ("specs", "complaint"),
    [
        ({}, "leaves no layer as integers"),
        ({LAYERS: Spec(3, 32, True)}, "expected 4 or 8 bits, which vLLM loads, got 3"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(
    specs: dict[str, Spec], complaint: str, small: Small, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        written(small, held_models.rounded(small, specs), tmp_path)
    assert not (tmp_path / "out").exists()


def test_integers_of_a_low_rank_are_refused(small: Small, tmp_path: Path) -> None:
    held = small.held()
    held.model.model.layers[0].mlp.up_proj = Factored(
        torch.nn.Linear(64, 8, bias=False), torch.nn.Linear(8, 128, bias=False)
    )
    held.grids["model.layers.0.mlp.up_proj.down"] = held_models.rounded(small, {LAYERS: FOUR}).grids[
        "model.layers.0.mlp.up_proj"
    ]
    with pytest.raises(ConfigError, match=r"no low-rank layer.*up_proj\.down"):
        written(small, held, tmp_path)


def test_a_folder_that_lost_a_tensor_is_not_opened(small: Small, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    written(small, held_models.rounded(small, {LAYERS: FOUR}), tmp_path)
    file = tmp_path / "out/model.safetensors"
    tensors = load_file(file)
    del tensors["model.norm.weight"]
    save_file(tensors, file)
    with pytest.raises(DataError, match=r"model\.norm\.weight"):
        compressed_tensors.opened(tmp_path / "out")
