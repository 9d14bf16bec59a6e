"""What every part of `nightforge doctor` answers with."""

from typing import Literal, NamedTuple


class Check(NamedTuple):
    """One thing looked at: how it stands, what was found, and where it is not well the way out."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    way_out: str = ""


class Size(NamedTuple):
    """How large the model is, measured on one batch of the real size; 0 where the batch did not get so far."""

    parameters: int = 0
    peak_bytes: int = 0
    """Most memory of the process at once, its libraries included."""
    peak_gpu_bytes: int = 0
    """Most memory of tensors on the GPU at once."""
