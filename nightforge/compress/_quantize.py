"""What quantizers of weights share: which layers, in which grid, and what that weighs at least."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from nightforge import config
from nightforge.blocks import EMBEDDING, HEAD
from nightforge.compress._pass import Footprint, Kind
from nightforge.grids import Spec

KIND: Kind = "quantize"
AFTER: set[Kind] = {"smooth", "prune", "shrink", "factor", "train", "quantize"}
NO_RUNTIME = "no runtime that is exported to holds weights so: the model is as large and as fast as it was"
"""Why a model with a codebook is no smaller, for the report."""


class Integers(config.Config):
    """In which integers weights are held."""

    bits: Literal[2, 3, 4, 5, 6, 8]
    """Bits of an integer. Runtimes hold 4 and 8; with others a model is as good as it says, and not as small."""
    block_size: Literal[16, 32, 64, 128, 256]
    """Weights that share a scale: smaller is closer, and larger on disk by 16/block_size bits a weight."""
    symmetric: bool
    """Integers around zero; otherwise each block has an offset too, which costs bits/block_size bits a weight."""

    @property
    def spec(self) -> Spec:
        """The grid."""
        return Spec(self.bits, self.block_size, self.symmetric)


class Rounding(Integers):
    """Which layers are held as integers, and in which."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*` or `lm_head` (with which tied embeddings go)."""


def least(footprints: Mapping[str, Footprint], cfg: Rounding) -> dict[str, Footprint]:
    """What the tensors take at least once the layers are held as integers."""
    spec = cfg.spec
    return {
        name: Footprint(one.shape, min(one.bits, spec.bits_a_weight(one.shape[-1])))
        if len(one.shape) == 2 and chosen(name, footprints, cfg.layers)
        else one
        for name, one in footprints.items()
    }


def chosen(tensor: str, tensors: Mapping[str, object], patterns: Sequence[str]) -> bool:
    """Whether a tensor is the weight of a layer that a pattern names; a tied embedding is the output's too."""
    layer = tensor.removesuffix(".weight")
    tied = f"{HEAD}.weight" not in tensors
    return any(fnmatchcase(HEAD if tied and layer == EMBEDDING else layer, pattern) for pattern in patterns)
