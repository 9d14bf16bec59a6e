"""Run an exporter's builder in a fresh process, in a temporary working directory that goes with it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nightforge.blocks import Rows
from nightforge.errors import NightforgeError
from nightforge.held import Held
from nightforge.methods import Method

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
NO_GIT = {"GIT_DIR": os.devnull}
"""The builder stamps a model with the commit of the checkout that .venv lies in: each commit would give other bytes."""


class ExportFailed(NightforgeError):
    """The builder of an exporter failed."""


def write_genai(
    exporter: Method, held: Held, plain: Path, out: Path, calibration: Sequence[Rows] = ()
) -> dict[str, str]:
    """Export a model in memory into `out`, each weight as it is held.

    Args:
        exporter: onnx_genai.
        held: the model.
        plain: the same as a Hugging Face folder in fp32, low ranks multiplied out, its tokenizer beside it.
        out: made, or left alone where something fails.
        calibration: what a cache of integers is calibrated on.

    Returns:
        Layer → why its integers take more bits than they have.

    Raises:
        ExportFailed: the builder failed or took too long; with the last lines that it printed.
        ConfigError: what cannot be.
        DataError: it left a file out, or what it wrote is another model than the one in memory.
    """
    with tempfile.TemporaryDirectory(prefix="nightforge-export-") as name:
        options = exporter.module.options(held, calibration, exporter.cfg, Path(name))
        built = build(exporter, plain, Path(name), options)
        larger: dict[str, str] = exporter.module.hold(built, held, exporter.cfg)
        exporter.module.write(built, plain, out)
    return larger


def build(exporter: Method, plain: Path, folder: Path, options: Mapping[str, str]) -> Path:
    """What the builder makes of the plain folder, within a temporary folder."""
    built = folder / "built"
    try:
        done = subprocess.run(
            [sys.executable, "-m", *exporter.module.arguments(
                plain, built, folder / "cache", options, exporter.cfg
            )],
            cwd=folder,
            env=os.environ | OFFLINE | NO_GIT | {"TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=exporter.cfg.model_dump()["timeout_s"],
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise ExportFailed(f"not done after {e.timeout:g} s; raise compress.export.timeout_s") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ExportFailed(f"the model builder exited with {done.returncode}: {' | '.join(said[-2:])[-400:]}")
    return built
