"""In every way to share out the work, a run in several processes is the run in one: all processes are started once."""

from typing import Any

import pytest

from nightforge import methods
from tests.parallel import two

pytestmark = pytest.mark.slow
each_way = pytest.mark.parametrize("name", methods.names("parallel"))


@each_way
@pytest.mark.parametrize("case", ["tied", "untied"])
def test_several_processes_are_one(found: dict[str, Any], name: str, case: str) -> None:
    """AdamW, accumulation, clipping, L1, EMA and watchers, in float64: weights, losses, norms and what was watched."""
    assert found[f"{name}/{case}"]["weights"] < 1e-12
    assert found[f"{name}/{case}"]["figures"] < 1e-12


@each_way
def test_in_float32_too(found: dict[str, Any], name: str) -> None:
    """By SGD: Adam divides a gradient by its own size, and so makes rounding of small ones large."""
    assert found[f"{name}/fp32"]["weights"] < 1e-6


@each_way
def test_resumed_is_uninterrupted_bit_for_bit(found: dict[str, Any], name: str) -> None:
    assert found[f"{name}/resumed"]["weights"] == 0


@each_way
def test_a_checkpoint_is_read_by_another_number_of_processes(found: dict[str, Any], name: str) -> None:
    """One process's by several, and several processes' by one."""
    assert found[f"{name}/from one process"]["weights"] < 1e-12
    run = two.restored(two.text_run(two.alone), found["folder"] / name)
    whole = two.ended(two.text_run(two.alone), two.Texts(), two.evaluate)
    assert two.apart(whole, two.ended(run, two.Texts(), two.evaluate))["weights"] < 1e-12


@pytest.mark.parametrize("name", two.WITH_PLAYERS)
def test_players_whose_losses_call_parts_of_the_network(found: dict[str, Any], name: str) -> None:
    assert found[f"{name}/two players"]["weights"] < 1e-12
    assert found[f"{name}/two players"]["figures"] < 1e-12
