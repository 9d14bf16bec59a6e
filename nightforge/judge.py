"""The judge: a small convolutional classifier of the real training set, by which what a model makes is read.

Accuracy on made samples (Ravuri & Vinyals 2019, arXiv 1905.10887, turned round: the classifier sees real data alone),
and features for the kernel distance (Bińkowski et al. 2018, arXiv 1801.01401). Where the data has one class or none,
nothing can be learnt from labels: the same network stays as it was drawn, and its features are called random
(Naeem et al. 2020, arXiv 2002.09797, §5, find that they rank models as trained ones do).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.levels import Levels, from_levels
from nightforge.stats import DRAWS_PER_CHUNK, Bootstrap, Interval

Floats = NDArray[np.float64]
CLASSIFIER, RANDOM_FEATURES = "classifier", "random features"
BITS = "judge_bits"
"""What a score by the judge's reading of labels is called."""
NARROWEST, WIDEST = 4, 4
"""A picture is halved until its shorter side is so many values; width doubles until it is so many times `width`."""


class Config(BaseConfig):
    """The network, and how it is trained."""

    width: int = Field(ge=8, le=512, multiple_of=8)
    """Channels of the first layer."""
    steps: int = Field(ge=1, le=1_000_000)
    """Batches that it is trained on."""
    batch_size: int = Field(ge=2, le=65_536)
    """Pictures of a batch."""
    lr: float = Field(gt=0, lt=1)
    """Peak learning rate of AdamW, which falls to zero in a straight line."""


SAMPLE = Config(width=8, steps=150, batch_size=32, lr=0.01)


class Judge(torch.nn.Module):
    """Convolutions with group norm, so that a row's verdict depends on no other row."""

    def __init__(self, cfg: Config, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, *sides = shape
        halvings = max(1, (min(sides) // NARROWEST).bit_length() - 1)
        widths = [min(2**i, WIDEST) * cfg.width for i in range(halvings + 1)]
        self.blocks = torch.nn.ModuleList([_block(channels, widths[0], 1)])
        for before, after in pairwise(widths):
            self.blocks.append(_block(before, after, 2))
        self.head = torch.nn.Linear(4 * widths[-1], max(1, classes))

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What each layer makes of pictures (rows, channels, height, width): (rows, width, height', width') each."""
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The last layer, averaged over each quarter of the picture: (rows, d)."""
        return torch.nn.functional.adaptive_avg_pool2d(self.maps(x)[-1], 2).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits: (rows, classes)."""
        logits: torch.Tensor = self.head(self.features(x))
        return logits


def _block(before: int, after: int, stride: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(before, after, 3, stride, padding=1),
        torch.nn.GroupNorm(8, after),
        torch.nn.SiLU(),
        torch.nn.Conv2d(after, after, 3, padding=1),
        torch.nn.GroupNorm(8, after),
        torch.nn.SiLU(),
    )


def build(cfg: Config, shape: tuple[int, int, int], classes: int) -> Judge:
    """An untrained judge, drawn from torch's generator as the caller seeded it; shape is (channels, height, width)."""
    return Judge(cfg, shape, classes)


def fit(model: Judge, levels: Levels, labels: NDArray[np.int64], cfg: Config, seed: int) -> None:
    """Train on pictures as levels (rows, channels, height, width) and their labels (rows,); the same for one seed."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=0.01)
    device = model.head.weight.device
    model.train()
    for step in range(cfg.steps):
        for group in optimizer.param_groups:
            group["lr"] = cfg.lr * (1 - step / cfg.steps)
        rows = rng.integers(0, len(labels), cfg.batch_size)
        x, y = from_levels(levels[rows]).to(device), torch.from_numpy(labels[rows]).to(device)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()


class Reading(NamedTuple):
    """What the judge makes of pictures."""

    logits: NDArray[np.float32]
    """(rows, classes); of no meaning where its kind is RANDOM_FEATURES."""
    features: NDArray[np.float32]
    """(rows, d)"""


@torch.inference_mode()
def read(model: Judge, x: torch.Tensor, at_once: int = 256) -> Reading:
    """Logits and features of pictures (rows, channels, height, width) in −1 … 1, so many rows at once."""
    parts = [x[begin : begin + at_once] for begin in range(0, len(x), at_once)]
    features = [model.features(part.to(model.head.weight.device)) for part in parts]
    logits = torch.cat([model.head(part) for part in features])
    return Reading(logits.cpu().numpy(), torch.cat(features).cpu().numpy())


def kernel_distance(real: NDArray[np.float32], made: NDArray[np.float32]) -> float:
    """KID: the unbiased squared maximum mean discrepancy of features (rows, d) under the kernel (x·y/d + 1)³.

    Zero in expectation where both are draws of one distribution, so it can fall a little below.
    """
    x, y = real.astype(np.float64), made.astype(np.float64)
    within = sum((_kernel(a, a).sum() - _kernel(a, a).trace()) / (len(a) * (len(a) - 1)) for a in (x, y))
    return float(within - 2 * _kernel(x, y).mean())


def distance_rise(
    real: NDArray[np.float32], made: NDArray[np.float32], dense: NDArray[np.float32], boot: Bootstrap, seed: int
) -> Interval:
    """By how much the kernel distance of what a model made is above that of what the dense one made.

    Args:
        real: features of records, (records, d).
        made: features of samples, (samples, d).
        dense: of the dense model's samples, of the same labels and draws in the same order.
        boot: records are drawn again, and samples of both models together, so the interval is a paired one. A row that
            is drawn twice is never held against itself.
        seed: of the bootstrap.
    """
    x, new, old = (features.astype(np.float64) for features in (real, made, dense))
    across, within = _kernel(new, x) - _kernel(old, x), _kernel(new, new) - _kernel(old, old)
    np.fill_diagonal(within, 0)
    rng = np.random.default_rng(seed)
    sizes = (len(new), len(x))

    def rise(of_made: Floats, of_real: Floats) -> Floats:
        pairs = 1 - np.square(of_made).sum(axis=1)
        found: Floats = (of_made @ within * of_made).sum(axis=1) / pairs - 2 * (of_made @ across * of_real).sum(axis=1)
        return found

    tail = (1 - boot.level) / 2
    rows = max(1, DRAWS_PER_CHUNK // max(sizes))
    parts = [min(rows, boot.resamples - start) for start in range(0, boot.resamples, rows)]
    drawn = [rise(*(rng.multinomial(n, np.full(n, 1 / n), part) / n for n in sizes)) for part in parts]
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Interval(float(rise(*(np.full((1, n), 1 / n) for n in sizes))[0]), float(low), float(high))


def _kernel(x: Floats, y: Floats) -> Floats:
    kernel: Floats = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel
