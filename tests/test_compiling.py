"""Compiling: chosen only where it repays, refused where it cannot be, and the same figures where it is."""

from typing import Any

import pytest
import torch

from nightforge import compiling
from nightforge.errors import ConfigError
from tests.training_contracts import Rows, Toy, toy_loss


def loss(net: Any) -> torch.Tensor:
    return toy_loss(net, Rows().batch([0, 1, 2]).tensors, None)[0]  # type: ignore[arg-type]


def test_not_asked_for_nothing_is_tried() -> None:
    net = Toy()
    assert compiling.choose(net, False, lambda _: 1 / 0, 10) == (net, compiling.Choice(False, {}, "as it is"))  # type: ignore[arg-type, return-value]


def test_a_short_run_does_not_repay_the_warm_up() -> None:
    net = Toy()
    chosen, choice = compiling.choose(net, "auto", loss, 10)
    assert chosen is net and not choice.compiled
    assert set(choice.seconds) == {"plain"} and "at best" in choice.why
    assert all(p.grad is None for p in net.parameters())


def test_a_network_that_is_called_by_parts_is_not_compiled() -> None:
    """The wrapper is asked for the parts of the network, which are plain."""

    def by_parts(net: Any) -> torch.Tensor:
        out: torch.Tensor = net.head(net.norm(net.table(torch.tensor([1, 2])))).sum()
        return out

    chosen, choice = compiling.choose(net := Toy(), "auto", by_parts, 10**9)
    assert chosen is net and not choice.compiled and "by parts" in choice.why
    with pytest.raises(ConfigError, match=r"train\.loop\.compile: nothing was compiled"):
        compiling.choose(Toy(), True, by_parts, 1)


@pytest.mark.slow
def test_compiled_gives_the_same_loss_and_gradients() -> None:
    net = Toy()
    compiled, choice = compiling.choose(net, True, loss, 1)
    assert choice.compiled and compiled is not net and set(choice.seconds) == {"plain", "warm_up", "compiled"}
    loss(net).backward()  # type: ignore[no-untyped-call]
    plain = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    value = loss(compiled)
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == pytest.approx(loss(net).item(), rel=1e-6)
    for a, p in zip(plain, net.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-5, atol=1e-6)
