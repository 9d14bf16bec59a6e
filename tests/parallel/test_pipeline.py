"""Each of three processes has a layer: the same weights as one process; what cannot be shared out is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nightforge import loop
from nightforge.errors import ConfigError
from nightforge.parallel import pipeline
from nightforge.training import At, Turn
from tests import training_contracts
from tests.parallel import two

NAME = "pipeline"


@pytest.mark.slow
@pytest.mark.parametrize("case", ["tied", "untied"])
def test_three_processes_are_one(found: dict[str, Any], case: str) -> None:
    """AdamW, accumulation, clipping, L1, EMA and watchers, in float64: weights, losses, norms and what was watched."""
    assert found[f"{NAME}/{case}"]["weights"] < 1e-12
    assert found[f"{NAME}/{case}"]["figures"] < 1e-12


@pytest.mark.slow
def test_in_float32_too(found: dict[str, Any]) -> None:
    """By SGD: Adam divides a gradient by its own size, and so makes rounding of small ones large."""
    assert found[f"{NAME}/fp32"]["weights"] < 1e-6


@pytest.mark.slow
def test_resumed_is_uninterrupted_bit_for_bit(found: dict[str, Any]) -> None:
    assert found[f"{NAME}/resumed"]["weights"] == 0


@pytest.mark.slow
def test_a_checkpoint_is_read_by_another_number_of_processes(found: dict[str, Any]) -> None:
    """One process's by three, and three processes' by one."""
    assert found[f"{NAME}/from one process"]["weights"] < 1e-12
    run = two.restored(two.text_run(two.alone), found["folder"] / NAME)
    whole = two.ended(two.text_run(two.alone), two.Texts(), two.evaluate)
    assert two.apart(whole, two.ended(run, two.Texts(), two.evaluate))["weights"] < 1e-12


def test_the_layers_of_each_process() -> None:
    begins = [0, 1, 3]  # three layers, two processes
    assert [pipeline._owner(f"model.layers.{i}.mlp.up_proj.weight", begins) for i in range(3)] == [0, 1, 1]
    assert pipeline._owner("model.embed_tokens.weight", begins) == 0
    assert {pipeline._owner(name, begins) for name in ("model.norm.weight", "lm_head.weight")} == {1}
    with pytest.raises(ConfigError, match=r"knows no model\.position\.weight.*fsdp"):
        pipeline._owner("model.position.weight", begins)


def test_what_cannot_be_shared_out_is_refused(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        with pytest.raises(ConfigError, match=r"at least one to each of the 1 processes; got 0 layers and 1 player"):
            pipeline.spread(training_contracts.Toy(), 1, pipeline.SAMPLE)
        model = two.text_run(two.alone).model
        with pytest.raises(ConfigError, match=r"got 3 layers and 2 player"):
            pipeline.spread(model, 2, pipeline.SAMPLE)
        ranks = pipeline.spread(model, 1, pipeline.SAMPLE)
        with pytest.raises(ConfigError, match=r"train\.loop\.compile: expected false"):
            ranks.losses(two.text_loss, object(), {}, At(0, 1))
    finally:
        torch.distributed.destroy_process_group()


def test_adafactor_is_refused_where_weights_are_another_process_s() -> None:
    model = training_contracts.Toy()
    model.head.weight.data = torch.empty(0, 8)
    chosen = {"name": "adafactor", "lr": 0.05, "beta2_decay": -0.8, "eps": 1e-3, "update_clip": 1, "weight_decay": 0}
    settings = training_contracts.settings(optimizer=chosen)
    with pytest.raises(ConfigError, match="adafactor needs whole weights"):
        loop.start(model, [Turn("", "", training_contracts.toy_loss)], settings, 3, "fp32")
