"""The autoencoder: its likelihood sums to one, its divergence and free bits by hand, every option, every shape."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge import draws as drawing
from nightforge import judge, levels
from nightforge.errors import ConfigError
from nightforge.train import vae
from nightforge.train._likelihood import logistic_nats
from nightforge.training import At
from tests.test_judge import arrays

LATE = At(9, 10)
ALL_LEVELS = torch.arange(256) / 127.5 - 1


def built(shape: tuple[int, int, int] = (1, 8, 8), **changes: Any) -> tuple[Any, vae.Config]:
    cfg = vae.Config(**vae.SAMPLE.model_dump() | changes)
    torch.manual_seed(1)
    return vae.build(cfg, shape, 10).eval(), cfg


def batch(rows: int, shape: tuple[int, int, int] = (1, 8, 8)) -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    x = torch.randint(0, 256, (rows, *shape)) / 127.5 - 1
    return {"x": x, "y": torch.arange(rows) % 10}


@settings(max_examples=60, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(*vae.LOG_SCALES))
def test_the_shares_of_the_256_levels_sum_to_one(mean: float, log_scale: float) -> None:
    x = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    nats = logistic_nats(x, torch.full_like(x, mean), torch.full_like(x, log_scale))
    assert float((-nats).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_the_share_of_a_level_by_hand_and_its_gradient_far_out() -> None:
    mean, scale = torch.tensor(0.1), torch.tensor(0.2)
    x = ALL_LEVELS[130]
    by_hand = torch.sigmoid((x + 1 / 255 - mean) / scale) - torch.sigmoid((x - 1 / 255 - mean) / scale)
    assert float(logistic_nats(x, mean, scale.log())) == pytest.approx(-math.log(by_hand), rel=1e-4)
    far = torch.tensor([-1.0, 1.0, 0.0], requires_grad=True)
    nats = logistic_nats(torch.tensor([1.0, -1.0, 1.0]), far, torch.full((3,), -7.0))
    nats.sum().backward()
    assert nats.isfinite().all() and far.grad is not None and far.grad.isfinite().all() and far.grad.abs().min() > 1


def test_the_divergence_by_hand() -> None:
    mean, log_var = torch.tensor([0.0, 1.0, -0.5]), torch.tensor([0.0, 0.0, math.log(4)])
    torch.testing.assert_close(vae.kl(mean, log_var), torch.tensor([0.0, 0.5, 0.5 * (0.25 + 4 - 1 - math.log(4))]))
    ours = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_var).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(vae.kl(mean, log_var), ours)


def test_the_loss_is_reconstruction_and_annealed_divergence_above_the_free_bits() -> None:
    model, cfg = built(free_bits=0.25, anneal_share=0.4)
    tensors = batch(3)
    mean, log_var, _ = model.encode(tensors["x"], tensors["y"])
    each = vae.kl(mean, log_var).flatten()
    assert (each < 0.25 * math.log(2)).any(), "some number must be below its free bits for the test to say anything"
    free = sum(max(float(one), 0.25 * math.log(2)) for one in each)
    for step, weight in ((0, 0.0), (2, 0.5), (4, 1.0), (9, 1.0)):
        torch.manual_seed(5)
        total, logged = vae.loss(model, tensors, cfg, At(step, 10))
        assert logged["kl_nats"] == pytest.approx(float(each.sum()), rel=1e-4)
        assert float(total) == pytest.approx(logged["reconstruction_nats"] + weight * free, rel=1e-5)


def test_the_score_is_the_bound_whatever_the_loss_weighs() -> None:
    tensors, seeds = batch(2), torch.tensor([3, 4])
    model, cfg = built()
    other = cfg.model_copy(update={"kl_weight": 4.0, "free_bits": 2.0})
    nats = vae.score(model, cfg, tensors, seeds, None)
    torch.testing.assert_close(nats, vae.score(model, other, tensors, seeds, None))
    mean, log_var, _ = model.encode(tensors["x"], tensors["y"])
    draws = drawing.normal(seeds, (vae.SCORE_DRAWS, *model.latent_shape), mean.device)
    by_hand = vae.kl(mean, log_var).sum((1, 2, 3))
    for d in range(vae.SCORE_DRAWS):
        made = model.decode(mean + (0.5 * log_var).exp() * draws[:, d], tensors["y"])
        by_hand = by_hand + logistic_nats(tensors["x"], *made).sum((1, 2, 3)) / vae.SCORE_DRAWS
    torch.testing.assert_close(nats, by_hand.detach())


def test_skip_connections_are_for_training_alone() -> None:
    model, cfg = built(skip_share=0.9)
    tensors = batch(4)
    mean, _, layers = model.encode(tensors["x"], tensors["y"])
    blind, seeing = model.decode(mean, tensors["y"])[0], model.decode(mean, tensors["y"], layers)[0]
    assert not torch.allclose(blind, seeing)
    seeds = torch.arange(4)
    before = vae.score(model, cfg, tensors, seeds, None), vae.sample(model, cfg, tensors["y"], 3)
    torch.nn.init.normal_(model.skips[0].weight)
    after = vae.score(model, cfg, tensors, seeds, None), vae.sample(model, cfg, tensors["y"], 3)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    vae.loss(model, tensors, cfg, LATE)[0].backward()
    assert model.skips[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 10, 7), (1, 40, 63)])
@pytest.mark.parametrize("upsample", ["nearest", "transposed"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_any_shape_comes_out_as_it_went_in(shape: tuple[int, int, int], upsample: str, norm: str) -> None:
    model, cfg = built(shape, upsample=upsample, norm=norm, skip_share=0.5)
    tensors = batch(3, shape)
    model.train()
    total, _ = vae.loss(model, tensors, cfg, LATE)
    total.backward()
    assert total.isfinite() and all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    assert vae.sample(model, cfg, tensors["y"], 3).shape == (3, *shape)
    assert vae.units(shape) == math.prod(shape)


def test_the_perceptual_part_looks_through_any_extractor_and_trains_none() -> None:
    model, cfg = built(perceptual=2.0)
    tensors = batch(3)
    with pytest.raises(ConfigError, match="got none; set it to 0"):
        vae.loss(model, tensors, cfg, LATE)
    watching = judge.build(judge.SAMPLE, (1, 8, 8), 10)
    names = {name for name, _ in model.named_parameters()}
    vae.attend(model, watching)
    assert {name for name, _ in model.named_parameters()} == names
    vae.loss(model, tensors, cfg, LATE)[0].backward()
    assert all(p.grad is None for p in watching.parameters())
    model.extractor = lambda x: [x]
    torch.manual_seed(5)
    with_pixels, logged = vae.loss(model, tensors, cfg, LATE)
    torch.manual_seed(5)
    plain, _ = vae.loss(model, tensors, cfg.model_copy(update={"perceptual": 0.0}), LATE)
    torch.manual_seed(5)
    mean, log_var, _ = model.encode(tensors["x"], tensors["y"])
    made = model.decode(mean + (0.5 * log_var).exp() * torch.randn_like(mean), tensors["y"])[0]
    assert logged["perceptual"] == pytest.approx(2 * float((made - tensors["x"]).square().sum()), rel=1e-4)
    assert float(with_pixels - plain) == pytest.approx(logged["perceptual"], rel=1e-3)


def test_it_learns_digits_and_the_label_says_which() -> None:
    stored, labels = arrays(300)
    x, y = levels.from_levels(stored), torch.from_numpy(labels)
    model, cfg = built(width=16, latent=8)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    seeds, held = torch.arange(60), {"x": x[240:], "y": y[240:]}
    before = vae.score(model, cfg, held, seeds, None).mean()
    model.train()
    for step in range(80):
        rows = torch.randint(0, 240, (48,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        vae.loss(model, {"x": x[rows], "y": y[rows]}, cfg, At(step, 80))[0].div(48).backward()
        optimizer.step()
    model.eval()
    assert vae.score(model, cfg, held, seeds, None).mean() < 0.8 * before
    zeros, ones = (vae.sample(model, cfg, torch.full((20,), digit), 3).mean(0)[0] for digit in (0, 1))
    assert zeros[4, 3:5].mean() < ones[4, 3:5].mean(), "a nought is dark in the middle, a one is bright"
