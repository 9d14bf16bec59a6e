"""What the machine offers: versions, devices, disk and memory against what the work will need."""

import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from tasks.doctor_check import Check, Size
from tasks.stage import CODE_ROOT

GB = 1e9
BYTES_PER_PARAMETER = 16
"""Training in fp32 with Adam holds weights, gradients and two moments, four bytes each."""
WHY = {
    "fastapi": "the API server of Prefect 3.8 does not start with fastapi 0.155 or later",
    "sqlalchemy": "with SQLAlchemy 2.1 the scheduler of Prefect 3.8 creates no runs, and says nothing of it",
}
"""Clashes that pip does not see, or that show only at run time."""
SETUP = "make setup (or rm -r .venv first, to have it all anew)"
GC = (
    "when it fills: dvc gc --workspace --all-branches --all-tags (commit dvc.lock first: it deletes every version that "
    "no branch, no tag and not this workspace records, and the last accepted model may be one)"
)
CUDA_SETUP = 'make setup TORCH="torch==2.13.0 --index-url $INDEX" (docs/gpu.md)'


def python() -> Check:
    """Python against the bounds of pyproject.toml."""
    wanted = Requirement(f"python{_pyproject()['requires-python']}").specifier
    found = f"{platform.python_version()} in {'a' if sys.prefix != sys.base_prefix else 'no'} virtual environment"
    if platform.python_version() in wanted:
        return Check("python", "ok", found)
    return Check("python", "fail", f"{found}; expected {wanted}", "make setup PYTHON=<one within these bounds>")


def packages(lock: Path) -> Iterator[Check]:
    """Installed packages against requirements.lock, and against what each asks of the others."""
    if not lock.exists():
        yield Check("packages", "fail", f"no {lock.name}", "make lock, or git checkout requirements.lock")
        return
    pins = dict(_pins(lock))
    have = {name: version for name in pins if (version := _installed(name))}
    if missing := sorted(set(pins) - set(have)):
        yield Check("packages", "fail", f"not installed: {_some(missing)}", SETUP)
    older = [f"{n} {have[n]} (lock: {pins[n]})" for n in have if Version(have[n]) < Version(pins[n])]
    newer = [f"{n} {have[n]} (lock: {pins[n]})" for n in have if Version(have[n]).public > Version(pins[n]).public]
    newer = [line for line in newer if line not in older]
    if older:
        yield Check("packages", "warn", f"outdated: {_some(older)}", SETUP)
    if newer:
        yield Check("packages", "warn", f"newer than the lock: {_some(newer)}", f"{SETUP}, or make lock to pin them")
    clashing = sorted(set(clashes([*have])))
    if clashing:
        yield Check("packages", "fail", _some(clashing), SETUP)
    if not (missing or older or newer or clashing):
        yield Check("packages", "ok", f"{len(have)} as {lock.name} pins them, none clashing")


def clashes(names: list[str]) -> Iterator[str]:
    """Each installed version that pyproject.toml, or another installed package, does not accept."""
    asked = [("nightforge", line) for line in _pyproject()["dependencies"]]
    asked += [(name, line) for name in names for line in metadata.requires(name) or []]
    for asking, line in asked:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        found = _installed(wanted.name)
        if found and not wanted.specifier.contains(found, prereleases=True):
            why = WHY.get(wanted.name.lower())
            reason = f": {why}" if why else ""
            yield f"{wanted.name} {found} clashes with {asking}, which asks for {wanted.specifier}{reason}"


def devices() -> Iterator[Check]:
    """The devices that torch can use here; TPU and FPGA are refused, with the reason."""
    import torch

    yield Check(
        "CPU", "ok", f"{cpu_model()}, {usable_cores()} cores; torch {torch.__version__} on {torch.get_num_threads()}"
    )
    rocm = torch.version.hip is not None
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    named = ", ".join(f"{c.name} ({c.total_memory / GB:.0f} GB)" for c in cards)
    yield _gpu("CUDA", named if not rocm else "", torch.version.cuda, nvidia_driver())
    yield _gpu(
        "ROCm", named if rocm else "", torch.version.hip, "amdgpu (/dev/kfd)" if Path("/dev/kfd").exists() else ""
    )
    mps = torch.backends.mps.is_available()
    yield Check(
        "MPS", "ok", "Apple GPU, shares the machine's memory" if mps else "none: no Apple GPU that torch can use"
    )
    yield _refused(
        "TPU",
        [*Path("/dev").glob("accel[0-9]*")],
        "training and scoring run in eager torch, which a TPU does not offer, and ONNX Runtime has no provider for one",
    )
    yield _refused(
        "FPGA",
        [*Path("/sys/class/fpga_manager").glob("*")],
        "neither torch nor ONNX Runtime GenAI runs on one; each card wants its vendor's own compiler",
    )


def _gpu(kind: str, cards: str, build: str | None, driver: str) -> Check:
    if cards:
        return Check(kind, "ok", f"{cards}; torch built for {build}, driver {driver or 'unknown'}")
    if not driver:
        return Check(kind, "ok", "none: no driver on this machine")
    if build:
        return Check(kind, "warn", f"driver {driver}, and torch (built for {build}) finds no card", "docs/gpu.md")
    return Check(kind, "warn", f"driver {driver}, and this torch is built without {kind}", CUDA_SETUP)


def _refused(kind: str, seen: list[Path], reason: str) -> Check:
    here = f" (seen here: {seen[0]})" if seen else ""
    return Check(kind, "warn" if seen else "ok", f"not supported{here}: {reason}", "use a CPU or a GPU" if seen else "")


def nvidia_driver() -> str:
    """Version of the NVIDIA kernel driver, or nothing."""
    file = Path("/proc/driver/nvidia/version")
    words = file.read_text(encoding="utf-8").split() if file.exists() else []
    return next((w for w in words if w.replace(".", "").isdigit() and "." in w), "present" if words else "")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor by the name it gives itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def disk(folder: Path, source_bytes: int, parameters: int) -> Check:
    """Free space where the DVC cache lies against an estimate of one run.

    Text is written raw, clean, split and balanced, and cached each time: 10 × the source bounds it. Weights (4 bytes a
    parameter) lie in the dense model, with moments in two checkpoints, at most twice in the exports, and in the cache.
    """
    needed = (10 * source_bytes + 12 * 4 * parameters) / GB + 0.2
    at = next(p for p in [folder, *folder.parents] if p.exists())
    free = shutil.disk_usage(at).free / GB
    found = f"{free:.1f} GB free, a run is estimated at {needed:.1f} GB"
    if free < needed:
        return Check("disk", "fail", found, "free some space, or move the cache: dvc cache dir --local <folder>")
    if free < 3 * needed:
        return Check("disk", "warn", f"{found}; past runs are kept too", GC)
    return Check("disk", "ok", found)


def memory(size: Size) -> Iterator[Check]:
    """Memory free against what training holds, on the CPU and on the GPU where torch has one."""
    import psutil
    import torch

    states = BYTES_PER_PARAMETER * size.parameters
    what = (
        f"training {size.parameters / 1e6:.1f} M parameters holds {states / GB:.2f} GB "
        "(weights, gradients, two moments); one batch peaked at"
    )
    on_gpu = torch.cuda.is_available()
    here = size.peak_bytes if on_gpu else max(states, size.peak_bytes)
    yield _room("memory", psutil.virtual_memory().available, here, f"{what} {size.peak_bytes / GB:.2f} GB in all")
    if on_gpu:
        free, _ = torch.cuda.mem_get_info()
        peak = size.peak_gpu_bytes
        yield _room("GPU memory", free, max(states, peak), f"{what} {peak / GB:.2f} GB")


def _room(name: str, free: int, needed: int, what: str) -> Check:
    found = f"{free / GB:.1f} GB available; {what}"
    if free < needed:
        return Check(name, "fail", found, "a smaller batch or model in params.yaml, or a larger machine")
    if free < 1.5 * needed:
        return Check(name, "warn", found, "end other work on this machine first")
    return Check(name, "ok", found)


def _pyproject() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((CODE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _pins(lock: Path) -> Iterator[tuple[str, str]]:
    for line in lock.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("#")[0].partition(";")[0].partition("==")
        if version:
            yield name.strip(), version.strip()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _some(items: list[str], most: int = 4) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more
