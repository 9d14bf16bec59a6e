"""Out of memory: recognised by its words, explained with the values to change; all else passes as it is."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from nightforge import memory
from nightforge.errors import ConfigError


def test_an_allocators_error_becomes_one_that_says_what_to_lower() -> None:
    """A real one: torch asks the CPU's allocator for an exabyte."""
    said = r"batch_size 512 and accumulate 2 .*batch_size 256 and accumulate 4"
    with pytest.raises(ConfigError, match=said), memory.explained(512, 2):
        torch.empty(2**58)


def test_pythons_own_error_counts_too() -> None:
    with pytest.raises(ConfigError, match="recompute: true"), memory.explained(1, 1):
        np.empty(2**58)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 cannot be multiplied"), ValueError("out of memory")])
def test_another_error_is_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), memory.explained(1, 1):
        raise error


def test_an_accelerators_error_is_known() -> None:
    assert memory.lacked(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert memory.lacked(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))


def test_figures_are_bytes() -> None:
    before = memory.peak_bytes("cpu")
    assert 10e6 < before < 1e12
    held = torch.ones(before // 4 + 25_000_000)  # 4 bytes each
    assert memory.peak_bytes("cpu") - before > 50e6
    assert memory.free_bytes("cpu") > 10e6 and held.numel()


def test_a_model_of_another_runtime_is_measured_without_torch() -> None:
    """It would count as memory that the model takes."""
    script = "import sys; from tasks import probe, probe_genai; probe.memory.peak_bytes('cpu'); print(*sys.modules)"
    assert "torch" not in subprocess.check_output([sys.executable, "-c", script], text=True).split()
