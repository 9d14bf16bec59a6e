"""Runs one function over many jobs: in processes of this machine, or on a Ray cluster. The results are the same.

`executor` in params.yaml says where. It is no param of any stage in dvc.yaml, for it cannot change what is made.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Literal, TypeVar

from pydantic import Field

from nightforge.config import Config
from tasks.progress import report

J = TypeVar("J")
R = TypeVar("R")


class Executor(Config):
    """Where the shards of a data stage are worked on."""

    name: Literal["local", "ray"]
    """`local`: processes of this machine. `ray`: a Ray cluster that sees the same files."""
    workers: int = Field(ge=0)
    """Processes at once; 0 is one a core that this process may use."""
    address: str | None
    """Of the Ray cluster, such as `ray://head:10001` or `auto`; null for local."""


def each(executor: Executor, function: Callable[[J], R], jobs: Sequence[J], what: str) -> Iterator[R]:
    """The results of `function` in the order of the jobs, shown as progress on `what`.

    `function` is at the top of a module, and jobs and results are small and picklable: data crosses as files.
    """
    workers = min(executor.workers or len(os.sched_getaffinity(0)), len(jobs))
    if workers <= 1:
        for done, job in enumerate(jobs, 1):
            yield function(job)
            report(done, len(jobs), what)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for done, result in enumerate(pool.map(function, jobs), 1):
            yield result
            report(done, len(jobs), what)
