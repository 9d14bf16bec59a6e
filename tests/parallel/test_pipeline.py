"""Which process has which layer, and what cannot be shared out is refused; that it trains the same: test_ways.py."""

from pathlib import Path

import pytest
import torch

from nightforge import loop
from nightforge.errors import ConfigError
from nightforge.parallel import pipeline
from nightforge.training import At, Turn
from tests import training_contracts
from tests.parallel import two


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
