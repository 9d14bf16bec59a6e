"""Fewer blocks: those that do nothing are found by either measure, and what stays is a plain smaller model."""

import copy

import pytest
import torch

from nightforge.compress import prune_layers
from nightforge.compress._context import Context
from nightforge.compress._pass import Footprint
from nightforge.errors import ConfigError
from nightforge.train import causal_lm
from tests.compress import shrunk
from tests.small_lm import Small


def config(**values: object) -> prune_layers.Config:
    return prune_layers.Config(**prune_layers.SAMPLE.model_dump() | values)


@pytest.mark.parametrize("by", ["influence", "loss", "even"])
def test_a_plain_smaller_model(small: Small, by: str) -> None:
    cfg = config(by=by)
    held = prune_layers.apply(small.held(), small.given, cfg)
    again = shrunk.reloaded(held.model, small)
    assert again.config.num_hidden_layers == len(again.model.layers) == 2
    least = prune_layers.least({n: Footprint(tuple(p.shape), 32) for n, p in small.model.named_parameters()}, cfg)
    assert {n: one.shape for n, one in least.items()} == {n: tuple(p.shape) for n, p in again.named_parameters()}
    assert small.nats(small.model) < small.nats(again)


def test_evenly_spaced_with_both_ends(small: Small) -> None:
    assert prune_layers.evenly(12, 6) == [0, 2, 4, 7, 9, 11]
    assert prune_layers.evenly(5, 1) == [0]
    for there in range(2, 40):
        for wanted in range(1, there):
            kept = prune_layers.evenly(there, wanted)
            assert len(set(kept)) == wanted and kept == sorted(kept) and kept[0] == 0
            assert wanted == 1 or kept[-1] == there - 1
    held = prune_layers.apply(small.held(), small.given, config(by="even"))
    for block, old in zip(held.model.model.layers, (0, 2), strict=True):
        assert block.mlp.up_proj.weight.equal(small.model.model.layers[old].mlp.up_proj.weight)


@pytest.mark.parametrize("idle", [0, 1, 2])
def test_a_block_that_does_nothing_goes_and_nothing_is_lost(small: Small, idle: int) -> None:
    held = small.held()
    block = held.model.model.layers[idle]
    block.self_attn.o_proj.weight.data.zero_()
    block.mlp.down_proj.weight.data.zero_()
    held.skipped = {f"model.layers.{i}.mlp.up_proj": str(i) for i in range(3)} | {"lm_head": "head"}
    with torch.no_grad():
        before = held.model(**shrunk.rows(small)).logits
        after = prune_layers.apply(held, small.given, prune_layers.SAMPLE).model(**shrunk.rows(small)).logits
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    others = [str(i) for i in range(3) if i != idle]
    assert held.skipped == {f"model.layers.{i}.mlp.up_proj": why for i, why in enumerate(others)} | {"lm_head": "head"}


def test_by_loss_takes_what_costs_least_each_time(small: Small) -> None:
    """Against trying out: of 3 blocks one goes, then of the 2 that are left one."""

    def nats(stay: list[int]) -> float:
        model = small.held().model
        model.model.layers = torch.nn.ModuleList(model.model.layers[i] for i in stay)
        model.config.num_hidden_layers = len(stay)
        total = 0.0
        with torch.no_grad():
            for rows in small.given.calibration:
                told = model(input_ids=rows.ids, use_cache=False).logits.log_softmax(-1)[:, :-1]
                each = -told.gather(-1, rows.ids[:, 1:, None])[..., 0]
                total += float(each[rows.mask[:, 1:]].sum())
        return total

    two = min(([0, 1], [0, 2], [1, 2]), key=nats)
    [one] = min(([i] for i in two), key=nats)
    own = [block.mlp.up_proj.weight for block in small.model.model.layers]
    for remove, stay in ((1, two), (2, [one])):
        held = prune_layers.apply(small.held(), small.given, config(by="loss", remove=remove))
        assert all(
            block.mlp.up_proj.weight.equal(own[i]) for block, i in zip(held.model.model.layers, stay, strict=True)
        )


def test_influence_by_hand(small: Small) -> None:
    """1 − cosine of a block's input and output: of one that only doubles it, 0; over all real tokens."""
    held = small.held()
    found = prune_layers.influence(held.model, small.given.calibration)
    total, count = torch.zeros(2), 0
    with torch.no_grad():
        for rows in small.given.calibration:
            states = held.model.model(input_ids=rows.ids, output_hidden_states=True).hidden_states
            for i in range(2):  # the last state is normalised
                near = torch.nn.functional.cosine_similarity(states[i], states[i + 1], dim=-1)
                total[i] += (1 - near[rows.mask]).sum()
            count += int(rows.mask.sum())
    torch.testing.assert_close(found[:2].float(), total / count, rtol=1e-3, atol=1e-5)


def test_what_the_config_says_of_each_block_goes_with_it(small: Small) -> None:
    """SmolLM3: of four blocks the last has no positions in its config; without the second it is the third."""
    torch.manual_seed(1)
    shape = causal_lm.SAMPLE.model_copy(update={"vocab": 400, "layers": 4, "rope_theta": None})
    held = small.held()
    held.model = causal_lm.build(shape, small.tokenizer).eval()
    held.model.config.no_rope_layers = [1, 1, 1, 0]
    for block, rope in zip(held.model.model.layers, [1, 1, 1, 0], strict=True):
        block.self_attn.use_rope = rope
    held.model.model.layers[1].self_attn.o_proj.weight.data.zero_()
    held.model.model.layers[1].mlp.down_proj.weight.data.zero_()
    for by in ("influence", "loss"):
        own = small.held()
        own.model = held.model if by == "loss" else copy.deepcopy(held.model)
        again = shrunk.reloaded(prune_layers.apply(own, small.given, config(by=by)).model, small)
        assert again.config.no_rope_layers == [1, 1, 0] and len(again.config.layer_types) == 3


def test_too_few_blocks_are_refused(small: Small) -> None:
    shapes = {name: tuple(p.shape) for name, p in small.model.named_parameters()}
    context = Context("causal_lm", "transformers", True, shapes)
    prune_layers.check(context, config(remove=2))
    with pytest.raises(ConfigError, match="fewer than the 3 blocks"):
        prune_layers.check(context, config(remove=3))
