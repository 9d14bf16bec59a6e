"""Memory: what a process may still take and has taken, and an error that says what to lower where it ran out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nightforge.errors import ConfigError

SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
"""In the RuntimeErrors of allocators that have no error of their own; torch's of a CPU says `can't allocate memory`."""


def lacked(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    import torch  # here and below: a process that measures a model of another runtime goes without

    told = isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or told


@contextmanager
def explained(batch_size: int, accumulate: int) -> Iterator[None]:
    """Turn errors of allocators inside into one that names the values to change.

    Raises:
        ConfigError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as e:
        if not lacked(e):
            raise
        first_line = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise ConfigError(
            f"training ran out of memory with train.loop.batch_size {batch_size} and accumulate {accumulate} "
            f"({first_line[:160]}). The same steps take less "
            f"with batch_size {max(1, batch_size // 2)} and accumulate {2 * accumulate}, or with recompute: true; "
            "`nightforge tune` finds a size that fits. Otherwise make train.family smaller."
        ) from e


def peak_bytes(device: str) -> int:
    """The most that this process has held at once: on an accelerator as torch counts it, else resident memory."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":  # there `ru_maxrss` begins at what the parent had
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def free_bytes(device: str) -> int:
    """What is still to be had without swapping."""
    if device == "cuda":
        import torch

        return torch.cuda.mem_get_info()[0]
    import psutil

    return int(psutil.virtual_memory().available)
