"""Watchers on a run of the loop: they change no bit, and a step that fails is told with what it was."""

import math
from typing import Any

import pytest
import torch
from torch.overrides import _get_current_function_mode_stack

from nightforge import loop, methods
from nightforge.errors import DataError
from nightforge.training import At, Stepped, Timed, Turn, Watched
from tests import test_loop, training_contracts

EVERY = {
    "every": 3,
    "watchers": [{"name": n, **methods.load("watch", n).SAMPLE.model_dump()} for n in methods.names("watch")],
}


def test_all_watchers_together_change_no_bit_of_a_language_model() -> None:
    whole, _ = test_loop.trained(test_loop.SETTINGS)
    watched, events = test_loop.trained(
        training_contracts.settings(**test_loop.SETTINGS.model_dump() | {"watch": EVERY})
    )
    test_loop.assert_same(test_loop.weights(whole), test_loop.weights(watched))
    looks = [event for event in events if isinstance(event, Watched)]
    assert [look.step for look in looks] == [3, 6, 9, 12]
    assert all(look.figures.keys() == looks[0].figures.keys() for look in looks)
    kinds = {name.split("/")[0] for name in looks[0].figures}
    assert kinds == {
        *("grad_norm", "weight_norm", "update_ratio", "dead_share", "saturated_share", "weight", "gradient"),
        *("attention_entropy", "attention_entropy_share", "logit_std", "logit_max"),
    }
    assert all(math.isfinite(value) for look in looks for value in look.figures.values())
    steps = {event.step: event for event in events if isinstance(event, Stepped)}
    for look in looks:  # clipped at 1
        norms = [v for k, v in look.figures.items() if k.startswith("grad_norm/")]
        assert math.hypot(*norms) == pytest.approx(min(1.0, steps[look.step].grad_norm), rel=1e-3)


def test_the_parts_of_the_clock_fill_the_time_and_units_are_counted() -> None:
    _, events = test_loop.trained(test_loop.SETTINGS.model_copy(update={"watch": watching(2)}))
    timed = [event for event in events if isinstance(event, Timed)]
    parts = {"data", "forward", "backward", "optimizer", "communication", "driver"}
    assert all(parts <= t.seconds.keys() for t in timed)
    for t in timed:
        assert 0 < sum(t.seconds[part] for part in parts) <= t.seconds["wall"] and t.seconds["cpu"] > 0
    assert "saving" in timed[2].seconds, "after the evaluation of step 4"
    made = [event.units for event in events if isinstance(event, Stepped)]
    assert [t.units for t in timed] == [sum(made[at : at + 2]) for at in range(0, 12, 2)]


def watching(every: int) -> Any:
    return training_contracts.settings(watch={"every": every, "watchers": []}).watch


def test_a_failing_step_names_the_gradients_and_leaves_nothing_behind() -> None:
    """Clipping by a norm that is no number would leave every gradient so."""

    def breaks(net: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
        if at.step == 2:
            net.layers[1].weight.register_hook(lambda grad: grad * math.inf)
        return training_contracts.toy_loss(net, tensors, at)

    run = training_contracts.toy_run(watch=EVERY)
    run = loop.start(run.model, [Turn("", "", breaks)], run.settings, 3, "fp32")
    seen: list[Any] = []
    with pytest.raises(
        DataError, match=r"step 3 .*Of 8 gradients 1 are not finite, from layers.1.weight to layers.1.w"
    ):
        for event in loop.steps(run, training_contracts.Rows(), lambda _: 1.0):
            seen.append(event)
    assert isinstance(seen[-1], Stepped) and seen[-1].step == 3 and math.isnan(seen[-1].grad_norm)
    assert not _get_current_function_mode_stack()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in run.model.modules())


def test_a_step_that_fp16_skips_is_told() -> None:
    run = training_contracts.toy_run()
    run = loop.start(run.model, run.turns, run.settings, 3, "fp16")
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)
    steps = [e for e in loop.steps(run, training_contracts.Rows(), lambda _: 1.0) if isinstance(e, Stepped)]
    assert steps[0].logged == {"skipped": 1.0} and not math.isfinite(steps[0].grad_norm)
