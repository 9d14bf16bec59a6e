"""Scaled normal: what is drawn how wide."""

import pytest
import torch

from nightforge.initialise import scaled_normal


class Blocks(torch.nn.Module):
    """A table, two blocks that read and write 400 wide, and a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(500, 400)
        self.read = torch.nn.ModuleList([torch.nn.Linear(400, 300) for _ in range(2)])
        self.o_proj = torch.nn.Linear(300, 400)
        self.down_proj = torch.nn.Linear(300, 400)
        self.kernel = torch.nn.Conv2d(50, 60, 3)


@pytest.mark.parametrize("std", [0.02, None])
def test_widths(std: float | None) -> None:
    model = Blocks()
    torch.manual_seed(0)
    scaled_normal.fill(model, scaled_normal.Config(std=std, residual=["o_proj.weight", "down_proj.weight"]))
    drawn = {name: p.std().item() for name, p in model.named_parameters() if p.ndim > 1}
    assert drawn["table.weight"] == pytest.approx(std or 400**-0.5, rel=0.02)
    assert drawn["read.1.weight"] == pytest.approx(std or 400**-0.5, rel=0.02)
    assert drawn["kernel.weight"] == pytest.approx(std or (50 * 9) ** -0.5, rel=0.02)
    assert drawn["o_proj.weight"] == pytest.approx((std or 300**-0.5) / 2**0.5, rel=0.02)  # two of them write


def test_nothing_writes_to_a_residual_stream() -> None:
    model = Blocks()
    torch.manual_seed(0)
    scaled_normal.fill(model, scaled_normal.Config(std=0.5, residual=[]))
    assert model.o_proj.weight.std().item() == pytest.approx(0.5, rel=0.02)
