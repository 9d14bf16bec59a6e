"""The adversarial network: both losses, the gradient penalty and the spectral norm by hand; only who moves moves."""

from typing import Any

import pytest
import torch

from nightforge import loop
from nightforge.batching import Batch
from nightforge.methods import choose
from nightforge.train import gan
from nightforge.training import At, turns
from tests.training_contracts import settings

SHAPE = (1, 8, 8)


def built(shape: tuple[int, int, int] = SHAPE, **changes: Any) -> tuple[gan.Gan, gan.Config]:
    cfg = gan.Config(**gan.SAMPLE.model_dump() | changes)
    torch.manual_seed(1)
    return gan.build(cfg, shape, 3), cfg


def test_what_verdicts_cost_by_hand() -> None:
    real, made = torch.tensor([0.5, 2.0]), torch.tensor([-3.0, 0.25])
    assert float(gan.costs("hinge", real, made)) == pytest.approx(0.5 + 0 + 0 + 1.25)
    by_hand = -torch.sigmoid(real).log().sum() - (1 - torch.sigmoid(made)).log().sum()
    torch.testing.assert_close(gan.costs("non_saturating", real, made), by_hand)


@pytest.mark.parametrize(
    ("kind", "by_hand"), [("hinge", lambda v: -v), ("non_saturating", lambda v: -v.sigmoid().log())]
)
def test_the_generator_is_told_what_the_discriminator_says_of_its_pictures(kind: str, by_hand: Any) -> None:
    model, cfg = built(loss=kind)
    model.eval()
    y = torch.tensor([0, 2, 3])
    torch.manual_seed(4)
    loss, _ = gan.turns(cfg)[1].loss(model, {"x": torch.zeros(3, *SHAPE), "y": y}, At(0, 1))
    torch.manual_seed(4)
    verdict = model.discriminator(model.generator(torch.randn(3, cfg.latent), y), y)
    torch.testing.assert_close(loss, by_hand(verdict).sum())


def test_the_gradient_penalty_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [0.0, -3.0]], requires_grad=True)
    weight = torch.tensor([2.0, 0.5], requires_grad=True)
    penalty = gan.gradient_penalty((weight * x.square()).sum(1), x)  # gradient 2·w·x
    assert float(penalty) == pytest.approx(0.5 * ((4.0**2 + 2.0**2) + (0 + 3.0**2)))
    penalty.backward()
    assert weight.grad is not None  # d/dw of ½ Σ (2·w·x)² = 4·w·Σ x²
    torch.testing.assert_close(weight.grad, 4 * weight.detach() * x.detach().square().sum(0))


def test_the_penalty_is_part_of_the_discriminators_loss() -> None:
    tensors = {"x": torch.rand(4, *SHAPE) * 2 - 1, "y": torch.tensor([0, 1, 2, 3])}
    found = []
    for weight in (0.0, 3.0):
        model, cfg = built(r1=weight, spectral_norm=False)
        torch.manual_seed(4)
        found.append(gan.turns(cfg)[0].loss(model, tensors, At(0, 1)))
    (plain, _), (more, logged) = found
    assert logged["r1"] > 0 and float(more - plain) == pytest.approx(3 * logged["r1"], rel=1e-3)


def test_no_layer_of_the_discriminator_stretches_anything() -> None:
    model, _ = built(spectral_norm=True)
    with torch.no_grad():
        for parameter in model.discriminator.parameters():
            parameter.mul_(7)
        for _ in range(200):  # a power iteration each
            model.discriminator(torch.rand(2, *SHAPE), torch.tensor([0, 1]))
    model.eval()
    layers = [
        m
        for m in model.discriminator.modules()
        if isinstance(m, torch.nn.Conv2d | torch.nn.Linear | torch.nn.Embedding)
    ]
    assert len(layers) == 7
    for layer in layers:
        largest = float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2))
        assert largest == pytest.approx(1, abs=0.01)
    free, _ = built(spectral_norm=False)
    assert not any("parametrizations" in name for name, _ in free.named_parameters())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 10, 7), (1, 20, 33)])
def test_any_shape(shape: tuple[int, int, int]) -> None:
    model, cfg = built(shape)
    x = torch.rand(3, *shape) * 2 - 1
    made = gan.sample(model, cfg, torch.tensor([0, 1, 3]), 5)
    assert made.shape == x.shape and made.abs().max() <= 1
    assert model.discriminator(x, torch.tensor([0, 1, 3])).shape == (3,)


def test_a_label_is_scored_by_the_judges_nats_of_it() -> None:
    model, cfg = built()
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    tensors = {"x": torch.zeros(3, *SHAPE), "y": torch.tensor([0, 2, 3])}
    nats = gan.score(model, cfg, tensors, torch.arange(3), lambda x: logits.expand(len(x), 3))
    by_hand = -logits.log_softmax(1)[0]
    torch.testing.assert_close(nats, torch.stack([by_hand[0], by_hand[2], by_hand[2]]))
    assert gan.units(SHAPE) == 1


class Noise:
    """Pictures of nothing."""

    import numpy as np

    sizes = np.ones(32, dtype=np.int64)

    def batch(self, rows: Any) -> Batch:
        x = torch.stack([torch.randn(SHAPE, generator=torch.Generator().manual_seed(int(r))).tanh() for r in rows])
        return Batch({"x": x, "y": torch.tensor([int(r) % 3 for r in rows])}, len(rows))


def test_each_player_moves_in_its_own_turn_at_its_own_rate() -> None:
    model, cfg = built(discriminator_moves=2, discriminator_lr_scale=3.0)
    family = choose("train", {"name": "gan", **cfg.model_dump()})
    run = loop.start(model, turns(family), settings(steps=2, eval_every=2, ema=0.5), 3, "fp32")
    peaks = [group["peak_lr"] for several in run.movers for mover in several for group in mover.param_groups]
    assert max(peaks) == pytest.approx(3 * min(peaks))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    verdicts = []

    def look(_: Any) -> float:
        verdicts.append(all(not torch.equal(p, before[name]) for name, p in model.named_parameters()))
        return 1.0

    events = [event for event in loop.steps(run, Noise(), look) if type(event).__name__ == "Stepped"]
    assert "discriminator_loss" in events[0].logged and "r1" in events[0].logged
    assert {group["lr"] for mover in run.movers[1] for group in mover.param_groups} == {events[-1].lr}
    moved = [
        mover.state[p]["step"].item() for several in run.movers for mover in several for p in list(mover.state)[:1]
    ]
    assert moved == [4, 2]
