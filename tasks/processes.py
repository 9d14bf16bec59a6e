"""Several processes that run one stage under torchrun: only the first writes, and all of them end together.

torchrun sets RANK, WORLD_SIZE and LOCAL_RANK. Where a stage's section of params.yaml asks for processes (`parallel`),
and none of these is set, the stage becomes torchrun for its own command.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

from nightforge.errors import ConfigError, NightforgeError

T = TypeVar("T")
WATCH_S = 0.1
"""Between two looks whether torchrun is still there."""


def launched() -> bool:
    """Whether torchrun has started this process."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def first() -> bool:
    """Whether this is the process that writes; the only one where there is one."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, only the first process prints; and a process whose torchrun is killed ends too."""
    if not launched():
        yield
        return
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(sys.stdout if first() else nowhere):
        yield


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


def start(name: str, processes: int, restarts: int) -> None:
    """Run a stage in several processes of this machine, by torchrun.

    Raises:
        NightforgeError: one of them failed; of the kind that its exit code tells.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the stage sets its own number; unset, torchrun warns
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")  # or those that restart find dead ones' addresses
    if "lo" in (interface for _, interface in socket.if_nameindex()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host's name need not resolve
    here = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--local-addr", "localhost"]
    numbers = ["--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    try:
        run.main([*here, *numbers, "-m", "tasks", name])
    except ChildFailedError as e:
        rank, failure = e.get_first_failure()
        kinds = {kind.exit_code: kind for kind in NightforgeError.__subclasses__()}
        raise kinds.get(failure.exitcode, NightforgeError)(
            f"process {rank} of {processes} ended with {failure.exitcode}; what it said stands above. Run again: the "
            "stage goes on from its last checkpoint."
        ) from None


@contextmanager
def joined(parallel: Any) -> Iterator[None]:
    """Inside, the processes that torchrun has started can talk to each other: gloo on CPUs, NCCL between GPUs.

    Args:
        parallel: what params.yaml says of several processes; None for one.

    Raises:
        ConfigError: there are several and params.yaml knows of one, or the other way round.
    """
    if launched() != (parallel is not None):
        raise ConfigError(
            "train.parallel: expected a way to share the work, such as {name: ddp, processes: 2, restarts: 0}, of "
            "those that torchrun has started, got null."
            if launched()
            else "train.parallel: expected to be run by `python -m tasks train` or by torchrun, which start processes."
        )
    if not launched():
        yield
        return
    import torch

    if cuda := torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    yield
    torch.distributed.destroy_process_group()


def same(value: T) -> T:
    """The first process's value, in all of them."""
    if not launched():
        return value
    import torch

    box = [value]
    torch.distributed.broadcast_object_list(box)
    return box[0]


def wait() -> None:
    """Until all processes are here."""
    same(None)
