"""AWQ: the search against its definition, and what rounding loses after it."""

import pytest
import torch

from nightforge import blocks, grids
from nightforge.compress import awq, rtn
from nightforge.compress._fold import Fold
from nightforge.grids import Spec
from tests.small_lm import Small

SPEC = Spec(3, 32, True)


def case(large: float) -> tuple[Fold, dict[str, blocks.Moments], torch.Tensor]:
    """Two layers of one norm, whose inputs 3 and 40 are larger than the others; the inputs too."""
    rng = torch.Generator().manual_seed(2)
    targets = {name: torch.nn.Linear(64, 24, bias=False) for name in ("a", "b")}
    for layer in targets.values():
        layer.weight.data = torch.randn(24, 64, generator=rng)
    x = torch.randn(500, 64, generator=rng)
    x[:, [3, 40]] *= large
    return Fold(torch.nn.RMSNorm(64), targets, 64, 1), dict.fromkeys(targets, blocks.moments(x)), x


def out_of(fold: Fold, x: torch.Tensor, scales: torch.Tensor) -> float:
    """‖(W − Ŵ)X‖² with the tokens themselves."""
    total = 0.0
    for layer in fold.targets.values():
        scaled = layer.weight.detach() * scales
        rounded = grids.encode(scaled, SPEC, *grids.fit(scaled, SPEC)).values()
        total += float((x @ layer.weight.detach().T - (x / scales) @ rounded.T).square().sum())
    return total


def test_it_takes_the_best_of_what_it_tries() -> None:
    fold, seen, x = case(20)
    found = awq.best(fold, seen, SPEC, 10)
    large = seen["a"].mean_abs
    tried = [large ** (i / 10) for i in range(11)]
    errors = [out_of(fold, x, one) for one in tried]
    assert out_of(fold, x, found) <= min(errors) * 1.001
    assert out_of(fold, x, found) < 0.5 * errors[0], "inputs twenty times as large were worth a larger scale"
    assert sum(awq.lost(fold, seen, SPEC, found)) == pytest.approx(out_of(fold, x, found), rel=1e-3)


def test_where_nothing_is_better_nothing_is_moved() -> None:
    fold, seen, _ = case(1)
    for layer in fold.targets.values():
        layer.weight.data = torch.where(layer.weight.data > 0, 0.5, -1.0)  # on the grid
    assert awq.best(fold, seen, SPEC, 5).equal(torch.ones(64))


def test_inputs_that_never_come() -> None:
    fold, _, x = case(5)
    assert awq.best(fold, dict.fromkeys("ab", blocks.moments(x * 0)), SPEC, 5).equal(torch.ones(64))
    x[:, 7] = 0
    found = awq.best(fold, dict.fromkeys("ab", blocks.moments(x)), SPEC, 5)
    assert found.isfinite().all() and (found > 0).all()


def test_rounding_loses_less_after_it(small: Small) -> None:
    cfg = rtn.SAMPLE.model_copy(update={"bits": 2})
    plain = rtn.apply(small.held(), small.given, cfg)
    smoothed = awq.apply(small.held(), small.given, awq.SAMPLE.model_copy(update={"bits": 2}))
    ids = small.given.calibration[0].ids
    with torch.no_grad():
        now, dense = smoothed.model(input_ids=ids).logits, small.model(input_ids=ids).logits
    torch.testing.assert_close(now, dense, rtol=1e-3, atol=1e-3)
    rtn.apply(smoothed, small.given, cfg)
    assert small.nats(smoothed.model) < small.nats(plain.model)
