"""The judge: right about real digits, the same for one seed, its distances against their definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge import judge
from nightforge.levels import from_levels, to_levels
from nightforge.stats import Bootstrap
from tests.digits import records

SHAPE = (1, 8, 8)


def arrays(rows: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    from nightforge.media import image

    found = records(rows, start)
    return (
        to_levels(np.stack([image.array(r, image.SAMPLE) for r in found])),
        np.array([int(str(r.label)) for r in found]),
    )


def trained(seed: int, steps: int) -> judge.Judge:
    torch.manual_seed(seed)
    cfg = judge.SAMPLE.model_copy(update={"steps": steps})
    model = judge.build(cfg, SHAPE, 10)
    judge.fit(model, *arrays(600), cfg, seed)
    return model


def test_it_reads_digits_that_it_has_not_seen_and_one_seed_gives_one_judge() -> None:
    first, again, other = trained(3, 150), trained(3, 150), trained(4, 150)
    levels, labels = arrays(300, 900)
    read = judge.read(first, from_levels(levels))
    assert (read.logits.argmax(1) == labels).mean() > 0.9
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_a_row_is_read_alike_alone_and_among_others_on_any_shape() -> None:
    torch.manual_seed(0)
    for shape in ((1, 8, 8), (3, 17, 40), (1, 64, 128)):
        model = judge.build(judge.SAMPLE, shape, 3).eval()
        x = torch.rand(5, *shape) * 2 - 1
        together, alone = judge.read(model, x), judge.read(model, x[2:3])
        assert together.logits.shape == (5, 3)
        np.testing.assert_allclose(together.features[2:3], alone.features, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(judge.read(model, x, at_once=2).logits), model(x))


def test_the_kernel_distance_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert judge.kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * across, rel=1e-5)


def test_the_kernel_distance_is_nought_for_one_distribution_and_grows_with_the_shift() -> None:
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(400, 4)).astype(np.float32) for _ in range(2))
    same, near, far = (judge.kernel_distance(x, y + shift) for shift in (0, 0.5, 2))
    assert abs(same) < 0.1 < near < far


def test_the_rise_is_that_of_the_distance_and_its_interval_is_paired() -> None:
    rng = np.random.default_rng(2)
    x, dense, noise = (rng.normal(size=(n, 4)).astype(np.float32) for n in (150, 200, 200))
    boot = Bootstrap(resamples=400, level=0.95)
    near, far = dense + 0.02 * noise, dense + 1
    for made in (near, far):
        rise = judge.distance_rise(x, made, dense, boot, 1)
        assert rise.value == pytest.approx(judge.kernel_distance(x, made) - judge.kernel_distance(x, dense), abs=1e-5)
        assert rise.low < rise.value < rise.high
    assert tuple(judge.distance_rise(x, dense, dense, boot, 1)) == (0, 0, 0)
    one, other = judge.distance_rise(x, near, dense, boot, 1), judge.distance_rise(x, noise, dense, boot, 1)
    assert one.high - one.low < (other.high - other.low) / 5, "the samples of both models are drawn together"
    assert judge.distance_rise(x, far, dense, boot, 1).low > 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_levels_come_back(values: list[int]) -> None:
    levels = np.array(values, dtype=np.uint8).reshape(1, 1, 2, 2)
    x = from_levels(levels)
    assert x.min() >= -1 and x.max() <= 1
    assert (to_levels(x.numpy()) == levels).all()
