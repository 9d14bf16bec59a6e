"""OpenVINO computes from our integers what the model in memory does, with a past and without."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from nightforge.export import _decoder, openvino
from nightforge.grids import Spec
from nightforge.held import Factored
from tests import held_models
from tests.small_lm import Small

pytest.importorskip("openvino", reason="the extra `openvino`")
SPECS = {
    "*.down_proj": Spec(8, 64, True),
    "*.q_proj": Spec(4, 16, False),
    "*.k_proj": Spec(3, 256, True),
    "*.o_proj": Spec(6, 32, False),
    "*.up_proj": Spec(4, 128, True),
    "model.layers.*": Spec(4, 32, True),
    "lm_head": Spec(8, 32, False),
}


def test_every_grid_and_a_low_rank_are_what_they_are_in_memory(small: Small, tmp_path: Path) -> None:
    held = held_models.shallow(held_models.rounded(small, SPECS))
    factored = Factored(torch.nn.Linear(64, 16, bias=False), torch.nn.Linear(16, 128, bias=False))
    held.model.model.layers[0].mlp.gate_proj = factored
    del held.grids["model.layers.0.mlp.gate_proj"]
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    assert openvino.convert(held, plain, tmp_path / "out", openvino.SAMPLE) == []
    expected = held_models.logits(held.model)
    assert held_models.apart(held_models.reread(openvino, tmp_path / "out"), expected) < 1e-4
    fast = openvino.running(tmp_path / "out")[0](held_models.IDS, held_models.IDS)
    assert held_models.apart(fast, expected) < 0.5
    weights = sum(p.numel() for p in held.model.parameters())
    assert (tmp_path / "out/model.bin").stat().st_size < 1.3 * weights, "integers are integers on disk"
    told = iter(
        _decoder.greedy(openvino.stepping(tmp_path / "out", True), _decoder.empty(tmp_path / "out", 1), [4, 30, 31])
    )
    made = list(islice(told, 6))
    again = held.model.generate(torch.tensor([[4, 30, 31]]), max_new_tokens=6, do_sample=False, eos_token_id=-1)
    assert made == again[0, 3:].tolist()


def test_a_table_of_embeddings_of_its_own_is_of_integers(small: Small, tmp_path: Path) -> None:
    held = held_models.untied(held_models.shallow(held_models.rounded(small, SPECS)), Spec(8, 32, False))
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    assert openvino.convert(held, plain, tmp_path / "out", openvino.SAMPLE) == []
    expected = held_models.logits(held.model)
    assert held_models.apart(held_models.reread(openvino, tmp_path / "out"), expected) < 1e-4
    weights = sum(p.numel() for p in held.model.parameters())
    assert (tmp_path / "out/model.bin").stat().st_size < 1.3 * weights


def test_blocks_that_do_not_divide_and_halves_are_told(small: Small, tmp_path: Path) -> None:
    held = held_models.shallow(
        held_models.rounded(small, {"*.down_proj": Spec(4, 256, True), "*.up_proj": Spec(4, 32, True)})
    )
    grid = held.grids["model.layers.0.mlp.up_proj"]
    uneven = type(grid)(Spec(4, 48, True), grid.ints, grid.scales, grid.zeros)
    held.grids["model.layers.0.mlp.up_proj"] = uneven
    held.model.model.layers[0].mlp.up_proj.weight.data = uneven.values()
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    said = openvino.convert(held, plain, tmp_path / "out", openvino.Config(tolerance=0.05, rest="f16"))
    assert said == [
        "scales and all that is no integer are rounded to fp16",
        "model.layers.0.mlp.up_proj: blocks that do not divide its inputs: held as f16",
    ]
    assert 0 < held_models.apart(held_models.reread(openvino, tmp_path / "out"), held_models.logits(held.model)) < 0.05


def test_four_bits_share_a_byte() -> None:
    import openvino as ov

    four = openvino._constant(np.array([[-8, 7, 1]], np.int16), ov.Type.i4, 4)
    assert four.data.view(np.uint8).tolist() == [0x78, 0x01]
    assert openvino._constant(np.array([200], np.int16), ov.Type.u8, 8).data.tolist() == [200]
