"""Fewer channels: the right ones gone, what stays made up for, and a network that is really smaller."""

import pytest
import torch
from torch.nn import functional

from nightforge.compress import _network, prune_channels
from nightforge.compress._network import Network
from tests import network_contracts as networks


def config(**values: object) -> prune_channels.Config:
    return prune_channels.Config(**prune_channels.SAMPLE.model_dump() | values)


def size(network: Network) -> int:
    return sum(p.numel() for name, p in network.model.named_parameters() if "discriminator" not in name)


def block(norm: str = "batch") -> _network.Inner:
    """A block of 16 inner channels, alone."""
    network = networks.dense("vae", width=16, norm=norm)
    return next(iter(_network.inner(network.model)))[1]


def test_the_blocks_of_each_family_are_found() -> None:
    found = {name: [n for n, _ in _network.inner(networks.dense(name).model)] for name in ("gan", "vae", "diffusion")}
    assert found["gan"] == ["generator.first", "generator.blocks.0", "generator.blocks.1"]
    assert found["vae"] == [f"{side}.{level}.0" for side in ("down", "up") for level in range(3)]
    assert len(found["diffusion"]) == 8 and all(name.startswith("unet.") for name in found["diffusion"])


@pytest.mark.parametrize(("family", "values"), [("gan", {"width": 16}), ("vae", {"norm": "batch"}), ("diffusion", {})])
def test_half_of_the_inner_channels_go(family: str, values: dict[str, object]) -> None:
    before, after = networks.dense(family, **values), networks.dense(family, **values)
    prune_channels.apply(after, networks.given(family, **values), config(share=0.5))
    narrowed = 0
    for (name, old), (_, new) in zip(_network.inner(before.model), _network.inner(after.model), strict=True):
        if name in after.skipped:
            assert new.first.weight.equal(old.first.weight) and "less than one" in after.skipped[name]
            continue
        narrowed += 1
        width = old.first.out_channels
        assert new.first.weight.shape[0] == new.told.weight.shape[0] == new.second.weight.shape[1] == width // 2
        assert new.norm.weight.shape == new.norm.bias.shape == (width // 2,)
    assert narrowed >= 3 and size(after) < (0.65 if family == "gan" else 0.9) * size(before)
    assert networks.sampled(after).isfinite().all() and networks.sampled(after).shape == (12, 1, 8, 8)


def test_each_group_keeps_what_adds_most() -> None:
    """Two of sixteen channels a group: the one that the second convolution multiplies by more stays."""
    one = block("group")
    one.second.weight.data[:, ::2] *= 0.01
    kept = prune_channels.chosen(one, torch.eye(16).double(), 0.5)
    assert kept.tolist() == list(range(1, 16, 2))
    activity = torch.eye(16).double()
    activity[0, 0] = 1e6  # which the weight's hundredth does not outweigh
    assert prune_channels.chosen(one, activity, 0.5).tolist() == [0, *range(3, 16, 2)]
    assert len(prune_channels.chosen(one, activity, 0.4)) == 16, "less than one of two"


def test_a_batch_norm_has_one_group() -> None:
    one = block("batch")
    one.second.weight.data[:, 3:9] = 0
    kept = prune_channels.chosen(one, torch.eye(16).double(), 6 / 16)
    assert kept.tolist() == [0, 1, 2, *range(9, 16)]


def test_channels_that_others_can_stand_for_are_made_up_for_exactly() -> None:
    """The second half of the channels are sums of the first: nothing is lost, at the edges neither."""
    rng = torch.Generator().manual_seed(2)
    new = torch.randn(5, 4, 6, 6, generator=rng)
    mixture = torch.randn(4, 4, generator=rng)
    old = torch.cat([new, torch.einsum("rchw,dc->rdhw", new, mixture)], dim=1)
    weight = torch.randn(3, 8, 3, 3, generator=rng)
    fitted = prune_channels.fitted(weight, old, new, 1e-9)
    wanted = functional.conv2d(old, weight, padding=1)
    torch.testing.assert_close(functional.conv2d(new, fitted, padding=1), wanted, rtol=1e-3, atol=1e-4)


def test_the_fit_loses_less_than_leaving_channels_out() -> None:
    network, given = networks.dense("vae", width=16), networks.given("vae", width=16)
    _, one = next(iter(_network.inner(network.model)))
    hidden = prune_channels.seen(network, given, one)
    old = functional.silu(one.norm(hidden)).detach()
    kept = prune_channels.chosen(one, prune_channels.gram(old, old), 0.5)
    weight = one.second.weight.detach().clone()
    wanted = functional.conv2d(old, weight, padding=1)
    prune_channels.narrow(one, kept)
    new = functional.silu(one.norm(hidden[:, kept])).detach()
    lost = [
        float((functional.conv2d(new, w, padding=1) - wanted).square().mean())
        for w in (prune_channels.fitted(weight, old, new, 1e-3), weight[:, kept])
    ]
    assert lost[0] < 0.7 * lost[1], lost


def test_channels_that_do_nothing_go_and_nothing_changes() -> None:
    network, given = networks.dense("vae", norm="batch"), networks.given("vae", norm="batch")
    for at, (_, one) in enumerate(_network.inner(network.model)):
        idle = (torch.arange(one.first.out_channels) + at) % 2 == 0
        one.second.weight.data[:, idle] = 0
    before = networks.sampled(network)
    prune_channels.apply(network, given, config(share=0.5, damp=1e-6))
    assert not network.skipped
    torch.testing.assert_close(networks.sampled(network), before, rtol=1e-3, atol=1e-3)
