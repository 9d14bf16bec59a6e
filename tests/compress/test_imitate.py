"""A narrower network learns what the dense one gives: the error falls, and samples come nearer."""

import torch

from nightforge.compress import imitate, prune_channels
from tests import network_contracts as networks


def test_the_error_falls_and_samples_come_nearer() -> None:
    given, wanted = networks.given("gan"), networks.sampled(networks.dense("gan"))
    network = networks.dense("gan")
    prune_channels.apply(network, given, prune_channels.Config(share=0.75, damp=1e-3))
    before = float((networks.sampled(network) - wanted).square().mean())
    imitate.apply(network, given, imitate.SAMPLE.model_copy(update={"steps": 40, "lr": 5e-3, "draws": 6}))
    after = float((networks.sampled(network) - wanted).square().mean())
    assert after < 0.7 * before, (before, after)


def test_a_network_that_is_the_dense_one_learns_nothing() -> None:
    given, network = networks.given("gan"), networks.dense("gan")
    lessons = [
        imitate.lesson(given.dense(), network.model, part, path)
        for path, part in imitate.called(given.dense(), network, given, imitate.SAMPLE)
    ]
    assert [len(one.inputs) for one in lessons] == [2] and lessons[0].inputs[0].shape == (2 * 2 * 40, 8)
    assert float(imitate.error(lessons[0], 16, torch.Generator().manual_seed(1))) == 0


def test_each_draw_gives_a_generator_other_latents() -> None:
    given, network = networks.given("gan"), networks.dense("gan")
    (_, part) = imitate.called(given.dense(), network, given, imitate.SAMPLE)[0]
    latents = torch.cat([call[0] for call in part.calls])
    assert len(set(map(tuple, latents.tolist()))) == len(latents)


def test_the_error_is_a_share_of_what_the_dense_one_varies_by() -> None:
    """One that gives the mean of all outputs loses about 1, whatever their size."""

    class Ten(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Ten times as much."""
            return 10 * x

    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(1))
    one = imitate.Lesson(Ten(), torch.zeros_like, [x], (None,), [(10 * x).var()])
    assert abs(float(imitate.error(one, 2000, torch.Generator().manual_seed(2))) - 1) < 0.1
