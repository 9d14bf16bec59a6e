"""Run an exporter's builder in a fresh process, in a temporary working directory that goes with it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nightforge.errors import NightforgeError
from nightforge.methods import Method

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
NO_GIT = {"GIT_DIR": os.devnull}
"""The builder stamps a model with the commit of the checkout that .venv lies in: each commit would give other bytes."""


class ExportFailed(NightforgeError):
    """The builder of an exporter failed."""


def in_fresh_process(exporter: Method, dense: Path, out: Path, precision: str, options: Mapping[str, str]) -> None:
    """Export the dense folder into `out`.

    Raises:
        ExportFailed: the builder failed or took too long; with the last lines that it printed.
        DataError: it ended well and left a file out.
    """
    with tempfile.TemporaryDirectory(prefix="nightforge-export-") as name:
        folder = Path(name)
        arguments = exporter.module.arguments(
            dense, folder / "built", folder / "cache", precision, options, exporter.cfg
        )
        try:
            done = subprocess.run(
                [sys.executable, "-m", *arguments],
                cwd=folder,
                env=os.environ | OFFLINE | NO_GIT | {"TMPDIR": name},
                capture_output=True,
                text=True,
                timeout=exporter.cfg.model_dump()["timeout_s"],
                check=False,
            )
        except subprocess.TimeoutExpired as e:
            raise ExportFailed(f"not done after {e.timeout:g} s; raise compress.export.timeout_s") from None
        if done.returncode:
            said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise ExportFailed(f"the model builder exited with {done.returncode}: {' | '.join(said[-2:])[-400:]}")
        exporter.module.write(folder / "built", dense, out)
