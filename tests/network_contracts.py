"""Small networks of images for passes to work on, and what every such pass must keep."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from nightforge import judge, methods
from nightforge.array_models import Rows, row_seeds
from nightforge.compress._context import Context
from nightforge.compress._network import Given, Network
from nightforge.errors import ConfigError
from tests.contracts import twice

SHAPE, CLASSES = (1, 8, 8), 3
SEED = 3


def dense(name: str, **values: object) -> Network:
    """A network of a family, its weights as drawn, but for norms that are no longer the identity."""
    spec = methods.load("train", name).SAMPLE.model_dump(mode="json") | values
    family = methods.choose("train", {"name": name, **spec})
    torch.manual_seed(5)
    model = family.module.build(family.cfg, SHAPE, CLASSES)
    for key, tensor in model.state_dict().items():
        if "norm" in key and tensor.is_floating_point():
            tensor.add_(0.2 * torch.rand(tensor.shape))
    return Network(model.eval(), family)


def rows(count: int, seed: int) -> Rows:
    """Smooth pictures with labels."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 2, 2, generator=rng) * 2 - 1
    x = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    x = ((x + 1) * 127.5).round() / 127.5 - 1
    labels = torch.arange(count) % CLASSES
    return Rows({"x": x, "y": labels}, row_seeds([f"{seed}-{i}" for i in range(count)]))


def given(name: str, **values: object) -> Given:
    """Of the same network."""
    torch.manual_seed(1)
    reader = judge.build(judge.SAMPLE, SHAPE, CLASSES).eval()
    return Given(rows(24, 1), lambda: rows(40, 2), reader, lambda: dense(name, **values).model, SEED)


def weights(model: Any) -> dict[str, Any]:
    """As arrays."""
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def sampled(network: Network) -> torch.Tensor:
    """Pictures of each label, of one seed."""
    made: torch.Tensor = network.family.module.sample(network.model, network.family.cfg, torch.arange(12) % CLASSES, 9)
    return made


def check_pass(module: ModuleType) -> None:
    """KIND and AFTER, least_share; apply changes a network the same twice, to no more than it says."""
    for key in ("family", "loader", "runtime"):
        assert module.COMPATIBLE.get(key), f"COMPATIBLE must name each {key} that the pass works on"
    with pytest.raises(ConfigError):
        module.check(Context("no such family", "array", False, {}), module.SAMPLE)
    family = max(module.COMPATIBLE["family"])
    may_ask = given(family)
    module.check(Context(family, "array", False, {}, dense(family).family.cfg.model_dump(mode="json")), module.SAMPLE)

    def changed() -> Network:
        """Another than the dense one, from which there is something to learn."""
        network = dense(family)
        for weight in network.model.parameters():
            weight.data *= 0.9
        return network

    def made() -> Network:
        network = module.apply(changed(), may_ask, module.SAMPLE)
        assert isinstance(network, Network) and not network.model.training
        return network

    one, before = made(), changed()
    twice(lambda: {name: value.tolist() for name, value in weights(made().model).items()})
    count = [sum(p.numel() for p in network.model.parameters()) for network in (before, one)]
    assert module.least_share(module.SAMPLE) * count[0] <= count[1] <= count[0], count
    assert not np.array_equal(sampled(one).numpy(), sampled(before).numpy()), "no effect"
