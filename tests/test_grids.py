"""What a weight in blocks weighs, by hand."""

import pytest
import torch

from nightforge import grids
from nightforge.grids import Spec


@pytest.mark.parametrize(
    ("spec", "inputs", "bits"),
    [
        (Spec(4, 64, True), 576, 4.25),  # 16 bits of scale for 64 weights
        (Spec(8, 64, False), 576, 8.375),  # and 8 of offset
        (Spec(4, 128, True), 576, 5 * (128 * 4 + 16) / 576),  # four blocks and a half are five: 4.58
        (Spec(8, 256, True), 64, 4 * 8 + 16 / 64),  # a block four times as long as the row
    ],
)
def test_bits_a_weight(spec: Spec, inputs: int, bits: float) -> None:
    assert spec.bits_a_weight(inputs) == bits
    weight = torch.randn(3, inputs, generator=torch.Generator().manual_seed(0))
    assert grids.encode(weight, spec, *grids.fit(weight, spec)).size_bits == pytest.approx(3 * inputs * bits)
