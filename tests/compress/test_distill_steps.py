"""Several steps learnt as one: the arithmetic of a step against diffusers, samples come nearer, the score stays."""

from typing import Any

import pytest
import torch

from nightforge import denoising
from nightforge.compress import distill_steps, fewer_steps
from nightforge.compress._context import Context
from nightforge.errors import ConfigError
from tests import network_contracts as networks

MANY = {"sample_steps": 10, "guidance": 2.0}


def many() -> Any:
    """A denoiser that says more than one as drawn does."""
    network = networks.dense("diffusion", **MANY)
    for weight in network.model.parameters():
        weight.data *= 1.5
    return network


def given() -> Any:
    """Of the same network."""
    return networks.given("diffusion", **MANY)._replace(dense=lambda: many().model)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_steps_to_the_end_are_what_diffusers_samples(prediction: str) -> None:
    network = networks.dense("diffusion", prediction=prediction, **MANY)
    cfg: Any = network.family.cfg
    noise = torch.randn(5, *networks.SHAPE, generator=torch.Generator().manual_seed(1))
    denoise = network.model.told(torch.arange(5) % networks.CLASSES)
    with torch.no_grad():
        wanted = denoising.sample(denoise, noise, cfg, distill_steps.LIMIT)
        x = noise
        for start, end in denoising.levels(cfg).tolist():
            x = distill_steps.gone(denoise, x, torch.full((5,), start), torch.full((5,), end), 1, cfg)
    torch.testing.assert_close(x, wanted, atol=1e-4, rtol=1e-4)


def test_one_step_by_what_is_learnt_ends_where_the_steps_ended() -> None:
    cfg: Any = networks.dense("diffusion", **MANY).family.cfg
    levels = denoising.levels(cfg.model_copy(update={"sample_steps": 2}))
    assert levels.tolist() == [[49, 24], [24, -1]]
    x = torch.rand(2, *networks.SHAPE) - 0.5
    noisy = denoising.noised(x, torch.randn(x.shape), levels[:, 0], cfg)
    ahead = denoising.noised(x, torch.randn(x.shape), levels[:, 1], cfg)
    torch.testing.assert_close(ahead[1], x[1])  # −1 is data without noise
    led = denoising.leading(noisy, ahead, *levels.T, cfg)
    as_data = cfg.model_copy(update={"prediction": "sample"})
    torch.testing.assert_close(denoising.ddim(led, noisy, *levels.T, as_data, 1e9), ahead, atol=1e-4, rtol=1e-4)


def test_samples_of_few_steps_come_nearer_to_those_of_many_and_the_score_stays() -> None:
    wanted, fewer = networks.sampled(many()), many()
    fewer_steps.apply(fewer, given(), fewer_steps.Config(sample_steps=1))
    before = float((networks.sampled(fewer) - wanted).square().mean())
    learnt = distill_steps.apply(
        many(), given(), distill_steps.Config(sample_steps=1, steps=80, lr=2e-3, batch_rows=32)
    )
    after = float((networks.sampled(learnt) - wanted).square().mean())
    assert after < 0.7 * before, (before, after)
    cfg: Any = learnt.family.cfg
    assert (cfg.sample_steps, cfg.guidance) == (1, 1.0)

    rows = given().calibration

    def score(network: Any) -> float:
        found = network.family.module.score(network.model, network.family.cfg, rows.tensors, rows.seeds, None)
        return float(found.sum())

    assert score(learnt) == pytest.approx(
        score(many()), rel=0.15
    )  # of 50 levels the one that is learnt is felt by others
    assert moved(learnt, rows.tensors) < 0.4, "0.8 where a batch learns nothing but steps"


def moved(network: Any, tensors: Any) -> float:
    """How far the predictions at levels that no step starts from are from the dense model's, as a share of theirs."""
    dense, x, y, cfg = many().model, tensors["x"], tensors["y"], network.family.cfg
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    shares = []
    for level in range(0, 45, 5):
        step = torch.full((len(x),), level)
        noisy = denoising.noised(x, noise, step, cfg)
        with torch.no_grad():
            wanted, found = dense(noisy, step, y), network.model(noisy, step, y)
        shares.append(float((found - wanted).square().mean() / wanted.var()))
    return sum(shares) / len(shares)


def test_the_network_is_called_once_a_step() -> None:
    network = distill_steps.apply(networks.dense("diffusion", **MANY), given(), distill_steps.SAMPLE)
    calls: list[int] = []
    network.model.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    networks.sampled(network)
    assert len(calls) == 2


def test_no_fewer_steps_are_refused_before_work() -> None:
    context = Context("diffusion", "array", False, {}, {"sample_steps": 2})
    with pytest.raises(ConfigError, match="distill_steps: expected fewer than the dense model's 2, got 2"):
        distill_steps.check(context, distill_steps.SAMPLE)
