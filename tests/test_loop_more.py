"""The loop beyond one turn and fp32: accumulation, L1, clipping, EMA, fp16, several players."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from nightforge import loop
from nightforge.batching import Batch, order
from nightforge.errors import ConfigError
from nightforge.ranks import Ranks
from nightforge.training import At, Due, Evaluated, NotFinite, Stepped, Turn
from tests.training_contracts import Rows, Toy, constant, settings, toy_loss

SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
PLAIN: dict[str, Any] = {"optimizer": SGD, "schedule": constant(), "clip": None, "eval_every": 100, "save_every": 100}


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


class Uneven:
    """Rows that count 1 to 5 units each: a mean of means would be another gradient."""

    sizes = np.ones(12, dtype=np.int64)

    def batch(self, rows: Any) -> Batch:
        """`x`, and `weight`, which is also what a row counts."""
        counts = [1 + row % 5 for row in rows]
        x = torch.tensor([[math.sin(row), math.cos(row), row / 12] for row in rows], dtype=torch.float64)
        return Batch({"x": x, "weight": torch.tensor(counts, dtype=torch.float64)}, sum(counts))


def uneven_loss(model: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    each = (model(tensors["x"]).squeeze(1) - tensors["x"].sum(1).square()).square()
    summed = (tensors["weight"] * each).sum()
    return summed, {"twice": 2 * float(summed)}


def uneven_run(batch_size: int, accumulate: int) -> tuple[Any, list[Stepped]]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    changes = {**PLAIN, "steps": 6, "batch_size": batch_size, "accumulate": accumulate, "clip": 1.0}
    run = loop.start(net, [Turn("", "", uneven_loss)], settings(**changes), 3, "fp32")
    events = loop.steps(run, Uneven(), lambda _: 1.0)
    return net, [e for e in events if isinstance(e, Stepped)]


def test_accumulated_equals_the_full_batch() -> None:
    """Every step sees all twelve rows, whole or in parts; in float64 only the order of sums differs."""
    net, whole = uneven_run(12, 1)
    for size, parts in ((4, 3), (3, 4), (1, 12)):
        other, steps = uneven_run(size, parts)
        for a, b in zip(net.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        assert [s.units for s in steps] == [s.units for s in whole]
        assert [s.loss for s in steps] == pytest.approx([s.loss for s in whole], rel=1e-12)
        assert [s.grad_norm for s in steps] == pytest.approx([s.grad_norm for s in whole], rel=1e-12)
        assert [s.logged["twice"] for s in steps] == pytest.approx([2 * s.loss for s in whole], rel=1e-12)


def test_micro_batches_must_go_round() -> None:
    with pytest.raises(ConfigError, match=r"multiple of the 2 processes .* got 3"):
        loop.start(Toy(), [Turn("", "", toy_loss)], settings(accumulate=3), 3, "fp32", Ranks(0, 2))


def test_l1_pulls_matrices_to_zero_and_leaves_the_rest() -> None:
    """Where the loss does not ask for anything, a step moves each weight of a matrix by lr · l1 towards zero."""
    net = Toy()
    before = weights(net)

    def nothing(model: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
        return torch.stack([p.sum() * 0.0 for p in model.parameters()]).sum(), {}

    run = loop.start(net, [Turn("", "", nothing)], settings(**PLAIN, steps=1, l1=0.01), 3, "fp32")
    stepped = next(e for e in loop.steps(run, Rows(), lambda _: 1.0) if isinstance(e, Stepped))
    for name, value in weights(net).items():
        pulled = before[name] - 0.001 * before[name].sign() * (before[name].ndim > 1)
        torch.testing.assert_close(value, pulled, rtol=0, atol=1e-7)
    matrices = sum(v.numel() for v in before.values() if v.ndim > 1)
    assert stepped.grad_norm == pytest.approx(0.01 * matrices**0.5, rel=1e-4)


def test_clipping_bounds_the_move_and_the_norm_said_is_from_before() -> None:
    moved = []
    for clip in (None, 0.01):
        net = Toy()
        before = weights(net)
        run = loop.start(net, [Turn("", "", toy_loss)], settings(**PLAIN | {"clip": clip}, steps=1), 3, "fp32")
        stepped = next(e for e in loop.steps(run, Rows(), lambda _: 1.0) if isinstance(e, Stepped))
        distance = math.sqrt(sum(float((before[k] - v).square().sum()) for k, v in weights(net).items()))
        moved.append((distance, stepped.grad_norm))
    assert moved[0][0] == pytest.approx(0.1 * moved[0][1], rel=1e-4)
    assert moved[1][0] == pytest.approx(0.1 * 0.01, rel=1e-3) and moved[1][1] == moved[0][1]


def ema_run(**changes: Any) -> loop.Run:
    values = {**PLAIN, "steps": 9, "eval_every": 3, "save_every": 3, "ema": 0.8, "patience": 9}
    return loop.start(Toy(), [Turn("", "", toy_loss)], settings(**values | changes), 3, "fp32")


def test_ema_by_hand_is_what_is_evaluated_and_kept() -> None:
    run = ema_run()
    expected, seen = weights(run.model), []

    def evaluate(model: Any) -> float:
        assert not model.training
        seen.append(weights(model))
        return [3.0, 1.0, 2.0][len(seen) - 1]

    averaged = []
    for event in loop.steps(run, Rows(), evaluate):
        if isinstance(event, Stepped):
            expected = {k: 0.8 * v + 0.2 * run.model.state_dict()[k] for k, v in expected.items()}
        elif isinstance(event, Evaluated):
            averaged.append(expected)
            assert run.model.training
            assert any(not torch.equal(v, seen[-1][k]) for k, v in run.model.state_dict().items())  # its own are back
    for by_hand, found in zip(averaged, seen, strict=True):
        for name, value in found.items():
            torch.testing.assert_close(value, by_hand[name], rtol=1e-6, atol=1e-7)
    assert run.best_step == 6
    assert_same(weights(run.model), seen[1])


def test_a_resumed_ema_run_is_the_uninterrupted_one() -> None:
    def evaluate(model: Any) -> float:
        return float(sum(v.abs().sum() for v in model.state_dict().values()))

    whole = ema_run()
    events = [e for e in loop.steps(whole, Rows(), evaluate) if isinstance(e, Stepped | Evaluated)]
    first, before, saved = ema_run(), [], {}
    for event in loop.steps(first, Rows(), evaluate):
        if isinstance(event, Stepped | Evaluated):
            before.append(event)
        elif isinstance(event, Due) and event.step == 3:
            saved = copy.deepcopy(loop.state(first))
            break
    second = ema_run()
    loop.restore(second, saved)
    after = [e for e in loop.steps(second, Rows(), evaluate) if isinstance(e, Stepped | Evaluated)]
    assert [*before, *after] == events
    assert_same(second.ema, whole.ema)
    assert_same(weights(second.model), weights(whole.model))


def overflowing(times: int, turn: str = "") -> Any:
    """A loss whose gradients overflow float16 at its first so many calls, though it is finite itself."""
    calls = [0]

    def loss(model: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
        calls[0] += 1
        nats, logged = toy_loss(model, tensors, at)
        if calls[0] <= times:
            nats.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]
        return nats, logged

    return loss


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adamw", "lr": 3e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1},
        {"name": "muon", "lr": 3e-3, "momentum": 0.9, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1},
        SGD,
    ],
    ids=lambda o: o["name"],
)
def test_fp16_skips_a_step_that_overflows_and_says_so(optimizer: dict[str, Any]) -> None:
    net = Toy()
    before = weights(net)
    changes = {**PLAIN, "optimizer": optimizer, "steps": 4, "clip": 1.0}
    run = loop.start(net, [Turn("", "", overflowing(2))], settings(**changes), 3, "fp16")
    events, scales = [], [run.scaler.get_scale()]
    for event in loop.steps(run, Rows(), lambda _: 1.0):
        if isinstance(event, Stepped):
            events.append(event)
            scales.append(run.scaler.get_scale())
            assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()) == (event.step <= 2)
    assert [e.logged.get("skipped", 0.0) for e in events] == [1.0, 1.0, 0.0, 0.0]
    assert [s / scales[0] for s in scales] == [1.0, 0.5, 0.25, 0.25, 0.25]
    assert all(math.isfinite(e.loss) for e in events) and not math.isfinite(events[0].grad_norm)
    assert all(torch.isfinite(v).all() for v in weights(net).values())


def test_twenty_skipped_in_a_row_are_an_error() -> None:
    run = loop.start(Toy(), [Turn("", "", overflowing(19))], settings(**PLAIN, steps=25), 3, "fp16")
    events = [e for e in loop.steps(run, Rows(), lambda _: 1.0) if isinstance(e, Stepped)]
    assert sum(e.logged.get("skipped", 0.0) for e in events) == 19 and run.skipped == 0
    run = loop.start(Toy(), [Turn("", "", overflowing(99))], settings(**PLAIN, steps=25), 3, "fp16")
    seen: list[Any] = []
    with pytest.raises(NotFinite, match=r"step 20 .* fp16 overflowed in 20 steps"):
        for event in loop.steps(run, Rows(), lambda _: 1.0):
            seen.append(event)
    assert seen[-1].step == 20 and seen[-1].units == 0  # the last is shown too


def test_a_resumed_fp16_run_is_the_uninterrupted_one() -> None:
    def fresh() -> loop.Run:
        changes = {**PLAIN, "steps": 8, "save_every": 4}
        return loop.start(Toy(), [Turn("", "", toy_loss)], settings(**changes), 3, "fp16")

    whole = fresh()
    list(loop.steps(whole, Rows(), lambda _: 1.0))
    first, saved = fresh(), {}
    for event in loop.steps(first, Rows(), lambda _: 1.0):
        if isinstance(event, Due) and event.step == 4:
            first.skipped = 3
            saved = copy.deepcopy(loop.state(first))
            break
    second = fresh()
    loop.restore(second, saved)
    assert second.skipped == 3 and second.scaler.state_dict() == first.scaler.state_dict()
    list(loop.steps(second, Rows(), lambda _: 1.0))
    assert_same(weights(second.model), weights(whole.model))


class Players(torch.nn.Module):
    """A generator of numbers and a critic."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.generator = torch.nn.Linear(2, 1)
        self.critic = torch.nn.Linear(1, 1)


def critic_loss(model: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    noise = torch.randn(len(tensors["ids"]), 2)
    fake = model.generator(noise).detach()
    real = tensors["ids"].float().unsqueeze(1)
    summed = (model.critic(fake) - model.critic(real) + 0.1 * model.critic(real).square()).sum()
    return summed, {"real": float(real.sum())}


def generator_loss(model: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    return -model.critic(model.generator(torch.randn(len(tensors["ids"]), 2))).sum(), {}


def players_run(times: int = 2, **changes: Any) -> loop.Run:
    players = [Turn("critic", "critic", critic_loss, 0.5, times), Turn("generator", "generator", generator_loss)]
    values = {**PLAIN, "steps": 6, "save_every": 3}
    return loop.start(Players(), players, settings(**values | changes), 3, "fp32")


def test_each_player_moves_only_its_own_part_as_often_and_as_far_as_it_is_told() -> None:
    """By hand: two moves of the critic at half the rate, then one of the generator, each with draws of its own."""
    run = players_run(steps=1)
    by_hand = Players()
    events = list(loop.steps(run, Rows(), lambda _: 1.0))
    rows = next(iter(order(Rows.sizes, 4, 3)))
    tensors = Rows().batch(rows).tensors
    losses = []
    for part, loss, moves, lr in (("critic", critic_loss, 2, 0.05), ("generator", generator_loss, 1, 0.1)):
        for again in range(moves):
            by_hand.zero_grad()
            loop._reseed(torch.device("cpu"), 3, 0, int(part == "generator"), again, 0)
            value = loss(by_hand, tensors, At(0, 1))[0] / 4
            losses.append(float(value))
            value.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for p in by_hand.get_submodule(part).parameters():
                    p.add_(p.grad, alpha=-lr)  # type: ignore[arg-type]
    for a, b in zip(run.model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    assert isinstance(events[0], Stepped)
    assert events[0].lr == 0.1 and events[0].loss == pytest.approx(losses[2], rel=1e-6)
    assert events[0].logged["critic_loss"] == pytest.approx(losses[1], rel=1e-6)
    assert events[0].logged["critic_grad_norm"] > 0
    assert events[0].logged["real"] == pytest.approx(float(tensors["ids"].sum()) / 4)


def test_each_player_has_its_own_optimizer_and_a_resumed_run_is_the_uninterrupted_one() -> None:
    adam = {"name": "adamw", "lr": 1e-2, "beta1": 0.5, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.0}
    whole = players_run(optimizer=adam)
    assert [[len(m.param_groups) for m in several] for several in whole.movers] == [[2], [2]]
    events = [e for e in loop.steps(whole, Rows(), lambda _: 1.0) if isinstance(e, Stepped)]
    steps_made = [next(iter(several[0].state.values()))["step"].item() for several in whole.movers]
    assert steps_made == [12, 6]
    first, before, saved = players_run(optimizer=adam), [], {}
    for event in loop.steps(first, Rows(), lambda _: 1.0):
        if isinstance(event, Stepped):
            before.append(event)
        elif isinstance(event, Due) and event.step == 3:
            saved = copy.deepcopy(loop.state(first))
            break
    second = players_run(optimizer=adam)
    loop.restore(second, saved)
    after = [e for e in loop.steps(second, Rows(), lambda _: 1.0) if isinstance(e, Stepped)]
    assert [*before, *after] == events
    assert_same(weights(second.model), weights(whole.model))


def test_a_player_that_is_not_finite_is_not_hidden_by_the_next() -> None:
    def bad(model: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
        return critic_loss(model, tensors, at)[0] * (math.nan if at.step == 1 else 1.0), {}

    players = [Turn("critic", "critic", bad), Turn("generator", "generator", generator_loss)]
    run = loop.start(Players(), players, settings(**PLAIN, steps=3), 3, "fp32")
    with pytest.raises(NotFinite, match="step 2 has loss nan"):
        list(loop.steps(run, Rows(), lambda _: 1.0))


def test_a_plateau_in_the_run_cuts_the_learning_rate() -> None:
    plateau = {"name": "plateau", "warmup_share": 0.0, "patience": 1, "cut": 0.5, "floor": 0.1}
    changes = {**PLAIN, "schedule": plateau, "steps": 8, "eval_every": 2, "patience": 9}
    run = loop.start(Toy(), [Turn("", "", toy_loss)], settings(**changes), 3, "fp32")
    lrs = [e.lr for e in loop.steps(run, Rows(), lambda _: 1.0) if isinstance(e, Stepped)]
    assert lrs == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
