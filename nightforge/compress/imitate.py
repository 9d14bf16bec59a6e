"""A network that was made smaller learns to give what the dense one gives, wherever the family calls it.

Hinton et al. 2015 (*Distilling the knowledge in a neural network*, 1503.02531) on outputs that are numbers: the mean
squared error of each, as a share of how much the dense one's vary. A generator learns from the latents that it is
given, so no discriminator is needed (Aguinaldo et al. 2019, 1902.00159); a denoiser at the noise levels that scoring
and sampling pass.
"""

from operator import attrgetter
from typing import Any, NamedTuple

import torch
from pydantic import Field

from nightforge import config, graphs
from nightforge.compress import _network
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._network import Given, Network
from nightforge.compress._pass import Kind

COMPATIBLE, AFTER = _network.COMPATIBLE, _network.AFTER
KIND: Kind = "train"
LOOKED_AT = 1024
"""Rows that say how much an output varies."""


class Config(config.Config):
    """How it is trained."""

    steps: int = Field(ge=1, le=1_000_000)
    """Batches of each part that the family calls."""
    lr: float = Field(gt=0, lt=1)
    """Peak learning rate of AdamW, which falls to zero by a cosine."""
    batch_rows: int = Field(ge=1, le=65_536)
    """Rows of a batch."""
    records_max: int = Field(ge=1)
    """Records of the train split, evenly spaced, that the family works on to say what parts are called with."""
    draws: int = Field(ge=1, le=1_000)
    """Times that it does, with other draws each time: a generator sees nothing but draws."""


SAMPLE = Config(steps=20, lr=1e-3, batch_rows=32, records_max=40, draws=2)


class Lesson(NamedTuple):
    """A part of the network, in both."""

    teacher: Any
    student: Any
    inputs: list[Any]
    """Of all calls: tensors of all their rows, and what is no tensor, in the order of `names`."""
    names: tuple[str | None, ...]
    scales: list[torch.Tensor]
    """How much each output of the teacher's varies: its variance."""


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("imitate", COMPATIBLE, context)


def least_share(cfg: Config) -> float:
    """All weights stay."""
    return 1.0


def apply(network: Network, given: Given, cfg: Config) -> Network:
    """Train all parts in turns; `network` is changed in place."""
    teacher = given.dense()
    lessons = [lesson(teacher, network.model, part, path) for path, part in called(teacher, network, given, cfg)]
    generator = torch.Generator().manual_seed(given.seed)
    _network.train(network.model, cfg.steps, cfg.lr, lambda: (error(one, cfg.batch_rows, generator) for one in lessons))
    return network


def called(teacher: Any, network: Network, given: Given, cfg: Config) -> list[tuple[str, graphs.Part]]:
    """The parts that the family calls on records of the train split, with all calls."""
    rows = given.training()
    chosen = torch.linspace(0, len(rows.seeds) - 1, min(cfg.records_max, len(rows.seeds))).long()
    tensors = {name: value[chosen] for name, value in rows.tensors.items()}

    def run() -> None:
        for draw in range(cfg.draws):
            seeds = rows.seeds[chosen] ^ (given.seed + 1 + draw)
            records = rows._replace(tensors=tensors, seeds=seeds)
            _network.work(teacher, network.family, records, given.judge, given.seed + 1 + draw)

    return list(graphs.find(teacher, run).items())


@torch.no_grad()
def lesson(teacher: Any, student: Any, part: graphs.Part, path: str) -> Lesson:
    """What a part is taught with."""
    together = iter([torch.cat(one) for one in zip(*part.calls, strict=True)])
    inputs = [part.constants[i] if i in part.constants else next(together) for i in range(len(part.names))]
    teach, learn = (attrgetter(path)(model) for model in (teacher, student))
    some = _answers(teach, inputs, part.names, torch.arange(min(LOOKED_AT, sum(len(call[0]) for call in part.calls))))
    scales = [out.var().clamp_min(1e-12) for out in some]
    return Lesson(teach, learn, inputs, part.names, scales)


def error(one: Lesson, batch_rows: int, generator: torch.Generator) -> torch.Tensor:
    """Σ over a part's outputs of the squared error on some rows, as a share of how much the dense one's vary."""
    rows = torch.randint(
        len(next(x for x in one.inputs if isinstance(x, torch.Tensor))), (batch_rows,), generator=generator
    )
    with torch.no_grad():
        wanted = _answers(one.teacher, one.inputs, one.names, rows)
    got = _answers(one.student, one.inputs, one.names, rows)
    shares = [(a - b).square().mean() / scale for a, b, scale in zip(got, wanted, one.scales, strict=True)]
    return torch.stack(shares).sum()


def _answers(call: Any, inputs: list[Any], names: tuple[str | None, ...], rows: torch.Tensor) -> list[torch.Tensor]:
    given = [x[rows] if isinstance(x, torch.Tensor) else x for x in inputs]
    args = [x for x, name in zip(given, names, strict=True) if name is None]
    return graphs.flat(call(*args, **{name: x for x, name in zip(given, names, strict=True) if name is not None}))
