import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightforge.errors import DataError, Transient
from tasks.executor import Executor, each

ROOT = Path(__file__).resolve().parents[2]
TWO = Executor(name="local", workers=2, address=None)


def square(n: int) -> tuple[int, int]:
    return n * n, os.getpid()


def die_at_three(n: int) -> int:
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def refuse(n: int) -> int:
    raise DataError(f"no {n} wanted")


def write_then_sleep(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pids: list[int]) -> bool:
    for _ in range(100):
        if not any(map(alive, pids)):
            return True
        time.sleep(0.1)
    return False


def test_results_come_in_the_order_of_the_jobs_from_more_than_one_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = list(each(TWO, square, range(20), "squares"))
    assert [r for r, _ in results] == [n * n for n in range(20)]
    assert os.getpid() not in {pid for _, pid in results}
    assert "[progress] 20/20 squares" in capsys.readouterr().out
    assert list(each(TWO, square, [], "nothing")) == []


def test_a_worker_that_dies_is_an_error_that_names_its_job() -> None:
    with pytest.raises(Transient, match=r"a worker was killed while these were worked on: .*\b3\b.*fewer workers"):
        list(each(TWO, die_at_three, range(6), "deaths"))


def test_an_error_of_a_job_comes_out_as_it_is_and_no_process_stays() -> None:
    with pytest.raises(DataError, match="no 0 wanted"):
        list(each(TWO, refuse, range(6), "refusals"))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_stage_however_it_ends(tmp_path: Path, how: signal.Signals) -> None:
    script = (
        "from tests.tasks.test_executor import *\n"
        f"if __name__ == '__main__': list(each(TWO, write_then_sleep, [{str(tmp_path)!r}] * 4, 'naps'))"
    )
    (tmp_path / "naps.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen([sys.executable, tmp_path / "naps.py"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
    for _ in range(300):
        if len(pids := [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]) == 2:
            break
        time.sleep(0.1)
    assert len(pids) == 2 and all(map(alive, pids))
    stage.send_signal(how)
    assert stage.wait(120) != 0
    assert ends(pids), "workers of an ended stage go on"
