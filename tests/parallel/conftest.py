"""A few processes are started once for all tests of this folder."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.parallel import two

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What they found, and `folder`, where their checkpoints are."""
    folder = tmp_path_factory.mktemp("two")
    two.saved_at_two(two.text_run(two.alone), folder / "one")
    shared = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if "lo" in (interface for _, interface in socket.if_nameindex()):
        shared["GLOO_SOCKET_IFNAME"] = "lo"
    command = [sys.executable, str(ROOT / "tests/parallel/two.py"), str(folder)]
    done = subprocess.run(command, env=os.environ | shared, stderr=subprocess.PIPE, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads((folder / "found.json").read_text())
    for case, differences in read.items():
        print(case, differences)
    return read | {"folder": folder}
