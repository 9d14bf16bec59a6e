"""A rounded weight brought nearer to what it stands for: scales by least squares, then integers by coordinate descent.

Both lessen ‖(W − Ŵ)X‖² and neither can raise it, but for scales rounded to halves, so they take turns. Coordinate
descent: Behdin et al. 2023 (QuantEase, 2309.01885, alg. 2); scales in the Gram metric for given integers: a linear
system for each output.
"""

import torch

from nightforge.grids import Grid, halves

BLOCK = 128
"""Columns whose changes are spread over the rest at once."""
CHUNK = 2**24
"""Numbers that are held at once where scales are solved for."""
WITHIN = 2.0
"""A scale that would change by more than this factor stays: its block's integers say nothing of it."""


def descend(weight: torch.Tensor, hessian: torch.Tensor, grid: Grid, rounds: int) -> Grid:
    """The grid after so many rounds of both.

    Args:
        weight: (outputs, inputs), what the grid stands for; its zeros (pruned) stay zeros.
        hessian: of the layer's inputs, regular: (inputs, inputs).
        grid: where it begins.
        rounds: ≥ 0.
    """
    for _ in range(rounds):
        grid = rounded_anew(weight, hessian, rescaled(weight, hessian, grid))
    return grid


def rescaled(weight: torch.Tensor, hessian: torch.Tensor, grid: Grid) -> Grid:
    """The scales of least error for the integers as they are; arguments as those of `descend`."""
    outputs, inputs = weight.shape
    blocks, width = grid.scales.shape[1], grid.spec.block_size
    short = blocks * width - inputs
    pad = torch.nn.functional.pad
    metric = pad(hessian.float(), (0, short, 0, short)).reshape(blocks, width, blocks, width)
    steps = grid.ints.float() - grid.zeros.float()[:, grid.block_of()]  # (outputs, inputs)
    steps = pad(steps, (0, short)).reshape(outputs, blocks, width)
    pulls = pad(weight @ hessian.float(), (0, short)).reshape(outputs, blocks, width)
    scales = grid.scales.clone()
    rows = max(1, CHUNK // (blocks * blocks * width))
    for start in range(0, outputs, rows):
        part = slice(start, start + rows)
        own = steps[part]
        normal = torch.einsum("rai,aibj,rbj->rab", own, metric, own).double()  # (rows, blocks, blocks)
        diagonal = normal.diagonal(dim1=1, dim2=2)
        regular = normal + torch.diag_embed(diagonal * 1e-6 + (diagonal <= 0))  # a block of zeros, which takes any
        best = torch.linalg.solve(regular, (own * pulls[part]).sum(-1).double()).float()
        ratio = best / scales[part]
        scales[part] = halves(torch.where((ratio < WITHIN) & (ratio > 1 / WITHIN), best, scales[part]))
    return Grid(grid.spec, grid.ints, scales, grid.zeros)


def rounded_anew(weight: torch.Tensor, hessian: torch.Tensor, grid: Grid) -> Grid:
    """Each integer once, from left to right, to the best for all others; arguments as those of `descend`."""
    metric, at = hessian.float(), grid.block_of().tolist()
    # A row an input from here on: what is taken out lies together.
    wanted, values = weight.T.contiguous(), grid.values().T.contiguous()
    scales, zeros = grid.scales.T.contiguous(), grid.zeros.T.float().contiguous()
    ints = grid.ints.T.contiguous()
    pull = metric @ (wanted - values)  # half the negative gradient: (inputs, outputs)
    for start in range(0, len(wanted), BLOCK):
        end = min(start + BLOCK, len(wanted))
        changes = torch.empty(end - start, wanted.shape[1])
        for i in range(start, end):
            scale, zero = scales[at[i]], zeros[at[i]]
            best = values[i] + pull[i] / metric[i, i]
            near = torch.round(best / scale + zero).clamp_(0, grid.spec.levels - 1)
            near = torch.where(wanted[i] != 0, near, zero)
            changes[i - start] = (near - zero) * scale - values[i]
            ints[i] = near.to(torch.uint8)
            pull[i + 1 : end] -= torch.outer(metric[i + 1 : end, i], changes[i - start])
        pull[end:] -= metric[end:, start:end] @ changes
    return Grid(grid.spec, ints.T.contiguous(), grid.scales, grid.zeros)
