"""Runs one function over many jobs: in processes of this machine, or on a Ray cluster. The results are the same.

`executor` in params.yaml says where. It is no param of any stage in dvc.yaml, for it cannot change what is made.
"""

import logging
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from nightforge.config import Config
from nightforge.errors import AssetMissing, ConfigError, Transient
from tasks.progress import report

J = TypeVar("J")
R = TypeVar("R")

CODE_ROOT = Path(__file__).resolve().parent.parent
ANSWER_S = 10
RETRIES = 3
"""Times that Ray takes a job up again after the worker that had it died."""


class Executor(Config):
    """Where the shards of a data stage are worked on."""

    name: Literal["local", "ray"]
    """`local`: processes of this machine. `ray`: a Ray cluster that sees the same files."""
    workers: int = Field(ge=0)
    """Processes at once; 0 is one a core that this process may use, or all that the cluster has."""
    address: str | None
    """Of the Ray cluster, such as `10.0.0.1:6379`, `ray://head:10001` or `auto`; null starts one on this machine."""


def each(executor: Executor, function: Callable[[J], R], jobs: Sequence[J], what: str) -> Iterator[R]:
    """The results of `function` in the order of the jobs, shown as progress on `what`.

    `function` is at the top of a module, and jobs and results are small and picklable: data crosses as files. A job's
    `str` is its name in errors.

    Raises:
        Transient: a worker was killed; the message names its job. What the other workers finished stays.
        AssetMissing: Ray is asked for and not installed.
        ConfigError: there is no Ray cluster at the address.
    """
    if not jobs:
        return
    run = _ray if executor.name == "ray" else _local
    for done, result in enumerate(run(executor, function, jobs), 1):
        yield result
        report(done, len(jobs), what)


def _local(executor: Executor, function: Callable[[J], R], jobs: Sequence[J]) -> Iterator[R]:
    workers = min(executor.workers or len(os.sched_getaffinity(0)), len(jobs))
    if workers == 1:
        yield from map(function, jobs)
        return
    before = multiprocessing.active_children()
    # One server loads the code once, and every worker of every call begins as a copy of it: a new interpreter takes a
    # second, and a fork of this process would copy the threads' locks of the libraries that it uses.
    # Pyarrow loads pandas with its first array.
    servers = multiprocessing.get_context("forkserver")
    servers.set_forkserver_preload([function.__module__, "pandas"])
    pool = ProcessPoolExecutor(workers, servers, _end_with_parent)
    futures = [pool.submit(function, job) for job in jobs]
    try:
        for future in futures:
            yield future.result()
    except BrokenProcessPool:
        at_work = [str(j) for j, f in zip(jobs, futures, strict=True) if f.exception() is not None][:workers]
        raise Transient(
            f"a worker was killed while these were worked on: {'; '.join(at_work)}. Was memory short? Run again "
            "to go on from here, with fewer workers (`executor` in params.yaml) if it happens again."
        ) from None
    except BaseException:  # Ctrl-C, a failed job, or a caller that wants no more: nothing may run on
        for process in set(multiprocessing.active_children()) - set(before):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """A worker whose stage was killed must not live on, waiting for work."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _ray(executor: Executor, function: Callable[[J], R], jobs: Sequence[J]) -> Iterator[R]:
    with _cluster(executor) as ray:
        task = ray.remote(max_retries=RETRIES, num_cpus=1)(function)
        limit = executor.workers or len(jobs)
        given = [task.remote(job) for job in jobs[:limit]]
        for at, job in enumerate(jobs):
            try:
                yield ray.get(given[at])
            except ray.exceptions.RayTaskError as e:
                raise e.cause from None
            except ray.exceptions.RayError as e:
                raise Transient(
                    f"{job}: its Ray worker was lost {RETRIES + 1} times: {e}. Run again to go on."
                ) from None
            given[at] = None
            given += [task.remote(job) for job in jobs[len(given) : len(given) + 1]]


def _answers(address: str | None) -> None:
    """Ask first: Ray itself knocks for minutes where nobody is."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host:
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        except (OSError, ValueError) as e:
            raise ConfigError(f"executor: no Ray cluster answers at {address!r}: {e}") from None


@contextmanager
def _cluster(executor: Executor) -> Iterator[Any]:
    """The Ray cluster at the address, or one of this machine alone for as long as it is needed; nothing phones home."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    os.environ.update({name: os.environ.get(name, value) for name, value in quiet.items()})
    try:
        import ray
    except ImportError:
        raise AssetMissing("executor: ray needs Ray, which is not installed: pip install nightforge[ray]") from None
    own = not ray.is_initialized()
    if own:
        _answers(executor.address)
        here: dict[str, Any] = {
            "include_dashboard": False,
            "num_cpus": executor.workers or None,
            "_node_ip_address": "127.0.0.1",
        }
        try:
            ray.init(
                address=executor.address,
                runtime_env={"env_vars": {"PYTHONPATH": str(CODE_ROOT), **quiet}},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if executor.address else here),
            )
        except (ConnectionError, ValueError, RuntimeError) as e:
            raise ConfigError(f"executor: no Ray cluster answers at {executor.address!r}: {e}") from None
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()
