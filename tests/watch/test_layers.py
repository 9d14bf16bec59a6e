"""Norms by layer, by hand."""

import math

import torch

from nightforge.training import Turn
from nightforge.watch import layers
from nightforge.watch._names import layer
from tests import training_contracts


def test_what_a_layer_is_called() -> None:
    assert layer("model.layers.3.mlp.up_proj.weight", 1) == "model.layers.3"
    assert layer("model.layers.3.mlp.up_proj.weight", 2) == "model.layers.3.mlp"
    assert layer("model.layers.3.mlp.up_proj.weight", 9) == "model.layers.3.mlp.up_proj"
    assert layer("model.embed_tokens.weight", 1) == "model.embed_tokens"
    assert layer("lm_head.weight", 1) == "lm_head"
    assert layer("scale", 1) == "scale"
    assert layer("down.0.resnets.1.conv.bias", 1) == "down.0.resnets.1"


def test_norms_of_a_block_by_hand() -> None:
    """3, 4 → 5 over the tensors of a block; the weights of another do not move, and one of zeros has no ratio."""
    net = torch.nn.Module()
    net.blocks = torch.nn.ModuleList([torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)])
    for p, value in zip(net.parameters(), (3.0, 4.0, 0.0, 0.0), strict=True):
        p.data.fill_(value)
        p.grad = torch.full_like(p, value / 10)
    watcher = layers.start(net, layers.Config(depth=1))
    watcher.before()
    watcher.graded(list(net.parameters()))
    with torch.no_grad():
        net.blocks[0].weight += 0.3
        net.blocks[0].bias -= 0.4
        net.blocks[1].weight += 1.0
    got = watcher.read()
    assert {k: round(v, 6) for k, v in got.items()} == {
        "grad_norm/blocks.0": 0.5, "weight_norm/blocks.0": 5.0, "update_ratio/blocks.0": 0.1,
        "grad_norm/blocks.1": 0.0, "weight_norm/blocks.1": 0.0, "update_ratio/blocks.1": 0.0,
    }  # fmt: skip
    assert watcher.read() == {}, "a look is over when it was read"


def test_with_two_players_each_layer_is_seen_in_the_turn_that_moves_it() -> None:
    """The second player's loss also leaves gradients in the first's weights, which it does not move."""

    def first(model, tensors, at):  # type: ignore[no-untyped-def]
        return model.table(tensors["ids"]).square().sum(), {}

    run = training_contracts.toy_run(watch={"every": 1, "watchers": [{"name": "layers", "depth": 1}]})
    turns = [Turn("a", "table", first), Turn("", "layers", training_contracts.toy_loss, times=2)]
    run = training_contracts.loop.start(run.model, turns, run.settings, 3, "fp32")
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    events = training_contracts.loop.steps(run, training_contracts.Rows(), lambda _: 1.0)
    figures = next(event.figures for event in events if type(event).__name__ == "Watched")
    after = run.model.state_dict()
    assert {name.split("/")[1] for name in figures} == {"table", "layers.0", "layers.1"}
    for name, keys in (("table", ["table.weight"]), ("layers.0", ["layers.0.weight", "layers.0.bias"])):
        moved = math.hypot(*(float((after[k] - before[k]).norm()) for k in keys))
        norm = math.hypot(*(float(before[k].norm()) for k in keys))
        assert math.isclose(figures[f"update_ratio/{name}"], moved / norm, rel_tol=1e-4) and moved > 0
