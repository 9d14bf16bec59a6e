"""Weights, gradients and states are shared out: the same weights as one process, and checkpoints of parts."""

from typing import Any

import pytest

from tests.parallel import two

NAME = "fsdp"


@pytest.mark.slow
@pytest.mark.parametrize("case", ["tied", "untied"])
def test_two_processes_are_one(found: dict[str, Any], case: str) -> None:
    """AdamW, accumulation, clipping, L1, EMA and watchers, in float64: weights, losses, norms and what was watched."""
    assert found[f"{NAME}/{case}"]["weights"] < 1e-12
    assert found[f"{NAME}/{case}"]["figures"] < 1e-12


@pytest.mark.slow
def test_in_float32_too(found: dict[str, Any]) -> None:
    """By SGD: Adam divides a gradient by its own size, and so makes rounding of small ones large."""
    assert found[f"{NAME}/fp32"]["weights"] < 1e-6


@pytest.mark.slow
def test_resumed_is_uninterrupted_bit_for_bit(found: dict[str, Any]) -> None:
    assert found[f"{NAME}/resumed"]["weights"] == 0


@pytest.mark.slow
def test_a_checkpoint_is_read_by_another_number_of_processes(found: dict[str, Any]) -> None:
    """One process's by two, and two processes' by one."""
    assert found[f"{NAME}/from one process"]["weights"] < 1e-12
    run = two.restored(two.text_run(two.alone), found["folder"] / NAME)
    whole = two.ended(two.text_run(two.alone), two.Texts(), two.evaluate)
    assert two.apart(whole, two.ended(run, two.Texts(), two.evaluate))["weights"] < 1e-12


@pytest.mark.slow
def test_players_whose_losses_call_parts_of_the_network(found: dict[str, Any]) -> None:
    assert found[f"{NAME}/two players"]["weights"] < 1e-12
    assert found[f"{NAME}/two players"]["figures"] < 1e-12
