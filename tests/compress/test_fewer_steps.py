"""Fewer steps: the network is called as often as they are, and the dense model's own number is refused."""

import pytest
import torch

from nightforge.compress import fewer_steps
from nightforge.compress._context import Context
from nightforge.errors import ConfigError
from tests import network_contracts as networks


def test_the_network_is_called_so_often_and_stays_as_it_is() -> None:
    network, given = networks.dense("diffusion", guidance=1.0), networks.given("diffusion", guidance=1.0)
    before = networks.weights(network.model)
    calls: list[int] = []
    network.model.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    networks.sampled(network)
    assert len(calls) == 4
    calls.clear()
    network = fewer_steps.apply(network, given, fewer_steps.Config(sample_steps=3))
    networks.sampled(network)
    assert len(calls) == 3 and network.family.cfg.sample_steps == 3  # type: ignore[attr-defined]
    after = networks.weights(network.model)
    assert all((after[name] == before[name]).all() for name in before)
    other = {k: v for k, v in network.family.cfg.model_dump().items() if k != "sample_steps"}
    assert other.items() <= networks.dense("diffusion", guidance=1.0).family.cfg.model_dump().items()


@pytest.mark.parametrize("steps", [20, 30])
def test_no_fewer_steps_are_refused_before_work(steps: int) -> None:
    context = Context("diffusion", "array", False, {}, {"sample_steps": 20})
    with pytest.raises(ConfigError, match=f"fewer than the dense model's 20, got {steps}"):
        fewer_steps.check(context, fewer_steps.Config(sample_steps=steps))


def test_the_score_takes_no_steps() -> None:
    network, given = networks.dense("diffusion"), networks.given("diffusion")

    def score() -> torch.Tensor:
        rows = given.calibration
        found: torch.Tensor = network.family.module.score(
            network.model, network.family.cfg, rows.tensors, rows.seeds, given.judge
        )
        return found

    before = score()
    network = fewer_steps.apply(network, given, fewer_steps.SAMPLE)
    assert score().equal(before)
