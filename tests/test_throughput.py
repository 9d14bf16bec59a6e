"""The figures of speed, by hand and against formulas of the literature."""

import pytest
import torch
from torch import nn

from nightforge import throughput
from nightforge.batching import Batch
from nightforge.train import causal_lm
from nightforge.training import Timed, Turn
from tests import tiny_model
from tests.training_contracts import Rows, Toy, toy_loss

SECONDS = {"data": 1.0, "forward": 2.0, "backward": 4.0, "optimizer": 1.0, "wall": 10.0, "cpu": 15.0}


def test_figures_by_hand() -> None:
    got = throughput.figures(Timed(20, SECONDS, 400), throughput.Work(50.0, 8000.0, 1200.0), cores=2)
    assert got["units_per_s"] == 40 and got["mfu"] == 0.25 and got["epoch_s"] == 30 and got["cpu_share"] == 0.75
    shares = {k.split("/")[1]: v for k, v in got.items() if k.startswith("time_share/")}
    assert shares == pytest.approx(
        {"data": 0.1, "forward": 0.2, "backward": 0.4, "optimizer": 0.1, "communication": 0, "saving": 0, "driver": 0}
        | {"idle": 0.2}
    )


def test_stretches_add_up() -> None:
    one, two = Timed(20, SECONDS, 400), Timed(40, {"wall": 1.0, "cpu": 1.0, "saving": 0.5}, 10)
    got = throughput.together([one, two])
    assert got is not None and got.units == 410 and got.step == 40
    assert (got.seconds["wall"], got.seconds["saving"], got.seconds["data"]) == (11, 0.5, 1)
    assert throughput.together([]) is None


def test_operations_of_a_perceptron_by_hand() -> None:
    """A product of (5, 8) and (8, 3) is 2·5·8·3; its backward has two of them, or one where the input needs none."""
    net = nn.Sequential(nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 3, bias=False))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    turn = Turn("", "", lambda model, tensors, at: (model(tensors["x"]).sum(), {}))
    batch = Batch({"x": torch.randn(5, 8)}, 5)
    expected = 2 * (2 * 5 * 8 * 8) + 3 * (2 * 5 * 8 * 3)
    assert throughput.operations(net, [turn], batch, 10, "fp32") == expected
    assert throughput.operations(net, [turn, turn._replace(times=2)], batch, 10, "fp32") == 3 * expected
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items()), "running means moved"
    assert all(p.grad is None for p in net.parameters())


def test_operations_of_a_transformer_are_six_a_weight_and_token_and_attention() -> None:
    """Kaplan et al. 2020: 6 N a token; attention as in PaLM, 12 · layers · heads · width · length."""
    words = tiny_model.subject().loaded.tokenizer
    shape = causal_lm.SAMPLE
    net = causal_lm.build(shape, words)
    ids = torch.randint(3, 300, (4, 33))
    turn = Turn("", "", lambda m, t, at: causal_lm.loss(m, t, shape, at))
    got = throughput.operations(net, [turn], Batch({"ids": ids, "targets": ids}, 128), 10, "fp32")
    matrices = sum(p.numel() for p in net.parameters() if p.ndim > 1)  # tied, and the embedding's own use is a look-up
    expected = 128 * (6 * matrices + 12 * shape.layers * shape.hidden * 32)
    assert got == pytest.approx(expected, rel=0.02)


def test_work_is_by_unit_and_the_peak_above_zero() -> None:
    work = throughput.work(Toy(), [Turn("", "", toy_loss)], Rows().batch(range(7)), 2.0, 10, "fp32")
    # the first layer's input has a gradient too, for the table before it
    assert work.flops_per_unit == 3 * 2 * (8 * 8 + 8 * 8 + 8 * 7) and work.units_per_epoch == 14
    assert work.peak_flops_per_s > 1e8
