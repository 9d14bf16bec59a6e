"""Diffusion: its bound by an independent sum, its weights and targets by hand, guidance, and that it learns."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from nightforge import denoising, levels
from nightforge.train import diffusion
from nightforge.training import At
from tests.test_judge import arrays

SHAPE = (1, 8, 8)
CPU = torch.device("cpu")


def changed(**changes: Any) -> denoising.Config:
    return diffusion.Config(**diffusion.SAMPLE.model_dump() | changes)


def built(shape: tuple[int, int, int] = SHAPE, **changes: Any) -> tuple[Any, denoising.Config]:
    cfg = changed(**changes)
    torch.manual_seed(1)
    return diffusion.build(cfg, shape, 10).eval(), cfg


def test_what_cannot_be_is_refused() -> None:
    for wrong in (
        {"zero_snr": True, "prediction": "epsilon"},
        {"label_dropout": 0.0, "guidance": 2.0},
        {"sample_steps": 51},
    ):
        with pytest.raises(ValidationError, match="expected"):
            changed(**wrong)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_prediction_costs_nothing_and_says_the_data(prediction: str) -> None:
    cfg = changed(prediction=prediction)
    x, noise = torch.randn(5, 2, 3, 3), torch.randn(5, 2, 3, 3)
    step = torch.tensor([0, 5, 20, 40, 45])
    share = denoising.signal(cfg, CPU)[step].view(-1, 1, 1, 1).float()
    noisy = share.sqrt() * x + (1 - share).sqrt() * noise
    said = {"epsilon": noise, "v_prediction": share.sqrt() * noise - (1 - share).sqrt() * x, "sample": x}[prediction]
    torch.testing.assert_close(denoising.data_of(said, noisy, step, cfg), x, atol=2e-3, rtol=1e-3)

    def knows(noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        share = denoising.signal(cfg, CPU)[step].view(-1, 1, 1, 1).float()
        noise = (noisy - share.sqrt() * x) / (1 - share).sqrt()
        return {"epsilon": noise, "v_prediction": share.sqrt() * noise - (1 - share).sqrt() * x, "sample": x}[
            prediction
        ]

    assert float(denoising.loss(knows, x, cfg)) == pytest.approx(0, abs=1e-6)


def test_weights_are_min_snr_of_the_error_in_the_data() -> None:
    step = torch.arange(50)
    share = denoising.signal(changed(), CPU)
    snr = share / (1 - share)
    for prediction, factor in (("sample", 1), ("epsilon", 1 / snr), ("v_prediction", 1 / (snr + 1))):
        found = denoising.weights(changed(prediction=prediction, min_snr=5.0), step)
        np.testing.assert_allclose(found, np.minimum(snr, 5) * factor, rtol=1e-5)
    assert denoising.weights(changed(min_snr=None), step).tolist() == [1] * 50


def test_zero_snr_ends_in_noise_alone() -> None:
    assert denoising.signal(changed(zero_snr=True), CPU)[-1] == 0 < denoising.signal(changed(), CPU)[-1]


def whole_bound(x: torch.Tensor, cfg: denoising.Config, guess: float, draws: int) -> float:
    """Every step of the bound by its own KL of two normals, of a network that always says `guess` of the data."""
    share = denoising.signal(cfg, CPU)
    torch.manual_seed(0)
    total = 0.0
    for t in range(1, cfg.noise_steps):
        a, before = share[t], share[t - 1]
        beta = 1 - a / before
        variance = beta * (1 - before) / (1 - a)
        to_data = before.sqrt() * beta / (1 - a)  # of the mean of q(x_{t-1} | x_t, x)
        total += float((to_data * (x - guess)).square().sum() / (2 * variance))
    noisy = share[0].sqrt() * x + (1 - share[0]).sqrt() * torch.randn(draws, *x.shape)
    grid = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    p = torch.exp(-0.5 * (noisy[..., None] - share[0].sqrt() * grid).square() / (1 - share[0]))
    p = p / p.sum(-1, keepdim=True)
    index = ((x + 1) * 127.5).round().long().expand(draws, *x.shape)
    total += float(-p.gather(-1, index[..., None]).log().sum() / draws)
    end = torch.distributions.Normal(share[-1].sqrt() * x, (1 - share[-1]).sqrt().expand_as(x))
    return total + float(torch.distributions.kl_divergence(end, torch.distributions.Normal(0.0, 1.0)).sum())


@pytest.mark.parametrize("zero_snr", [False, True])
def test_the_bound_is_the_sum_of_its_steps(zero_snr: bool) -> None:
    cfg = changed(prediction="sample", noise_steps=20, sample_steps=4, zero_snr=zero_snr)
    x = torch.tensor([[[[-1.0, 51 / 127.5 - 1]]]])
    by_hand = whole_bound(x[0].double(), cfg, 0.25, 4000)
    rows = 3000
    found = denoising.bound(
        lambda noisy, step: torch.full_like(noisy, 0.25),
        x.expand(rows, 1, 1, 2),
        torch.arange(rows),
        cfg,
        denoising.of_levels,
        1.0,
    )
    error = float(found.std() / math.sqrt(rows))
    assert float(found.mean()) == pytest.approx(by_hand, abs=4 * error + 0.02) and error < 0.02 * by_hand


def test_the_chance_of_levels_sums_to_one() -> None:
    alpha, sigma = torch.tensor([[0.99]]), torch.tensor([[0.1]])
    grid = (torch.arange(256) / 127.5 - 1)[:, None]
    nats = denoising.of_levels(grid, torch.full((256, 1), 0.3), alpha, sigma)
    assert float((-nats).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_numbers_are_normal_around_the_noisy_ones() -> None:
    x, noisy = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.4, 1.2]])
    alpha, sigma = torch.tensor([[0.8]]), torch.tensor([[0.6]])
    by_hand = -torch.distributions.Normal(noisy / 0.8, 0.6 / 0.8).log_prob(x).sum()
    assert float(denoising.of_numbers(x, noisy, alpha, sigma)) == pytest.approx(float(by_hand), rel=1e-6)


def test_sampling_ends_where_the_network_points() -> None:
    x = torch.rand(2, *SHAPE) * 1.6 - 0.8
    for cfg in (changed(prediction="sample"), changed(prediction="sample", zero_snr=True, sample_steps=1)):
        made = denoising.sample(lambda noisy, step: x, torch.randn(2, *SHAPE), cfg, 1.0)
        torch.testing.assert_close(made, x, atol=1e-2, rtol=0)
    made = denoising.sample(
        lambda noisy, step: 3 * x / x.abs(), torch.randn(2, *SHAPE), changed(prediction="sample"), 1.0
    )
    assert made.abs().max() <= 1.001


def test_guidance_goes_beyond_what_is_told() -> None:
    x, step = torch.zeros(1, 1), torch.zeros(1)

    def one(x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, 2.0)

    def none(x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, 0.5)

    assert float(denoising.guided(one, none, changed(guidance=3.0))(x, step)) == 0.5 + 3 * 1.5
    assert denoising.guided(one, none, changed(guidance=1.0)) is one


def test_labels_are_dropped_at_the_rate_that_is_asked() -> None:
    torch.manual_seed(0)
    y = torch.arange(4000) % 10
    found = diffusion.dropped(y, 0.25, 10)
    assert float((found == 10).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert (found[found != 10] == y[found != 10]).all() and (diffusion.dropped(y, 0.0, 10) == y).all()


@pytest.mark.parametrize("shape", [(3, 9, 7), (1, 16, 24)])
def test_any_shape(shape: tuple[int, int, int]) -> None:
    model, cfg = built(shape, halvings=2)
    x = torch.randint(0, 256, (2, *shape)) / 127.5 - 1
    tensors = {"x": x, "y": torch.tensor([0, 10])}
    assert diffusion.loss(model, tensors, cfg, At(0, 1))[0].isfinite()
    assert diffusion.sample(model, cfg, tensors["y"], 3).shape == x.shape
    assert diffusion.score(model, cfg, tensors, torch.tensor([1, 2]), None).isfinite().all()


def test_the_bound_falls_as_it_learns() -> None:
    stored, labels = arrays(240)
    x, y = levels.from_levels(stored), torch.from_numpy(labels)
    model, cfg = built(width=16)
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    held, seeds = {"x": x[200:], "y": y[200:]}, torch.arange(40)
    before = diffusion.score(model, cfg, held, seeds, None).mean()
    torch.manual_seed(2)
    for step in range(40):
        rows = torch.randint(0, 200, (32,))
        optimizer.zero_grad()
        diffusion.loss(model, {"x": x[rows], "y": y[rows]}, cfg, At(step, 40))[0].div(32).backward()
        optimizer.step()
    after = diffusion.score(model, cfg, held, seeds, None).mean()
    assert after < 0.87 * before
