"""The executor `ray` on a cluster of two nodes on this machine."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightforge.errors import ConfigError, DataError, Transient
from tasks import shards
from tasks.executor import Executor, each
from tests.tasks.test_clean import RULES, cleaned, corpus, tree
from tests.tasks.test_executor import refuse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000}
    nodes = Cluster(initialize_head=True, head_node_args=node)
    nodes.add_node(**node)
    yield Executor(name="ray", workers=0, address=nodes.address)
    nodes.shutdown()  # type: ignore[no-untyped-call]


def node_of(folder: str) -> str:
    """Where it ran; killed the first time of all."""
    import ray

    try:
        Path(folder, "killed").touch(exist_ok=False)
    except FileExistsError:
        time.sleep(0.3)
        return str(ray.get_runtime_context().get_node_id())
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_jobs_run_on_both_nodes_and_a_killed_worker_costs_only_its_job(cluster: Executor, tmp_path: Path) -> None:
    nodes = list(each(cluster, node_of, [str(tmp_path)] * 8, "jobs"))
    assert len(nodes) == 8 and len(set(nodes)) == 2


def test_errors_are_those_of_the_local_executor(cluster: Executor) -> None:
    with pytest.raises(DataError, match=r"^no 0 wanted$"):
        list(each(cluster, refuse, [0], "refusals"))
    with pytest.raises(Transient, match="1: its Ray worker was lost 4 times"):
        list(each(cluster, die, [1], "deaths"))


def kill_one(killed: list[int], work: Path) -> None:
    """Kill the worker of some chunk when a few others are done."""
    while not killed:
        if len([*work.glob("chunks/0*")]) >= 3:
            for process in psutil.process_iter(["cmdline"]):
                if process.info["cmdline"] and process.info["cmdline"][0].startswith("ray::first"):
                    process.kill()
                    killed.append(process.pid)
                    break
        time.sleep(0.005)


def test_the_shards_are_those_of_the_local_run_also_when_a_worker_was_killed(
    cluster: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.clean_shard.ROWS_PER_CHUNK", 1_000)
    given, killed = corpus(12_000), list[int]()
    local = cleaned(tmp_path / "local", given, RULES)
    for rule in ("exact_duplicates", "near_duplicates"):
        assert local["rules"][rule]["fired"] > 1_000, "copies lie six chunks apart: deduplication crosses shards"
    killer = threading.Thread(target=kill_one, args=(killed, tmp_path / "ray/work"), daemon=True)
    killer.start()
    remote = cleaned(tmp_path / "ray", given, RULES, executor=cluster)
    assert killed, "a worker was killed midway"
    assert remote == local and tree(tmp_path / "ray") == tree(tmp_path / "local")
    assert shards.count(tmp_path / "ray/clean") == local["rows_kept"]


def test_a_cluster_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        list(each(Executor(name="ray", workers=0, address="127.0.0.1:1"), refuse, [0, 1], "none"))
