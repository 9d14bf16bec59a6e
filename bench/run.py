"""`make bench`: run every file of this folder, and rewrite RESULTS.md with what each printed.

`python -m bench.run compress orders` runs these alone; the other sections stay as they are.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
import venv
from importlib import import_module, metadata
from pathlib import Path

from bench import AtLeast, Goals

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".venv"
RESULTS = HERE / "RESULTS.md"
VERSIONS = ("prefect", "dvc", "great-expectations", "torch", "transformers", "onnxruntime", "onnxruntime-genai")
Figures = dict[str, float]


def main(names: list[str]) -> int:
    """Run these, or all; the exit code is 1 if a bench failed or a figure missed its goal."""
    every = [file.stem for file in sorted(HERE.glob("[!_]*.py")) if file.name != "run.py"]
    if unknown := set(names) - {*every}:
        raise SystemExit(f"bench: expected names among {', '.join(every)}, got {', '.join(sorted(unknown))}.")
    found, well = sections(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}, True
    for name in names or every:
        print(f"bench.{name} …", flush=True)
        when, figures, bench = taken(), run(name), import_module(f"bench.{name}")
        goals: Goals = bench.GOALS
        well &= figures is not None and all(met(goal, figures.get(key)) for key, goal in goals.items())
        found[name] = section(name, bench.__doc__ or "", when, figures, goals)
        told = [head(), *(found[one] for one in every if one in found)]
        RESULTS.write_text("\n\n".join(told) + "\n", encoding="utf-8")
    print(f"{'all goals met' if well else 'not all goals met'}: {RESULTS.relative_to(HERE.parent)}")
    return 0 if well else 1


def run(name: str) -> Figures | None:
    """The JSON object on the last line of a bench, or None if it failed; its output is shown as it comes."""
    command = [sys.executable, "-m", f"bench.{name}"]
    done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    if done.returncode or not done.stdout.strip():
        return None
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def head() -> str:
    """Title, machine and versions."""
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `make bench`; do not edit.",
            "",
            f"- Machine: {machine()}",
            f"- Versions: Python {platform.python_version()}, "
            + ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONS),
        ]
    )


def machine() -> str:
    """Processor, cores and memory; nothing that would name the machine."""
    import psutil

    from tasks.doctor_machine import cpu_model, usable_cores

    memory_gb = psutil.virtual_memory().total / 1e9
    return f"{cpu_model()}, {usable_cores()} cores, {memory_gb:.0f} GB memory, {platform.system()}"


def taken() -> str:
    """The date and the load as a bench begins."""
    load = f"{os.getloadavg()[0]:.1f}"
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, load {load} as it began (other work makes figures worse)."


def sections(text: str) -> dict[str, str]:
    """Name → section of RESULTS.md."""
    return {part.split("\n", 1)[0]: f"## {part.rstrip()}" for part in text.split("\n## ")[1:]}


def section(name: str, doc: str, when: str, figures: Figures | None, goals: Goals) -> str:
    """One bench: what it compares, when, a table of goals and figures, then the figures without a goal."""
    lines = [f"## {name}", "", doc.strip().split("\n\n")[0].replace("\n", " "), "", when, ""]
    if figures is None:
        return "\n".join([*lines, f"**Failed.** Run `python -m bench.{name}` to see why."])
    lines += ["| figure | measured | goal | met | what it is |", "| --- | ---: | ---: | --- | --- |"]
    for key, goal in goals.items():
        value, (limit, what) = figures.get(key), goal
        bound, said = "≥" if isinstance(goal, AtLeast) else "≤", "yes" if met(goal, value) else "**no**"
        lines.append(f"| `{key}` | {value} | {bound} {limit} | {said} | {what} |")
    lines += [f"| `{key}` | {value} |  |  |  |" for key, value in sorted(figures.items()) if key not in goals]
    return "\n".join(lines)


def met(goal: tuple[float, str] | AtLeast, value: float | None) -> bool:
    """Whether a figure was measured and is on the right side of its goal."""
    if value is None:
        return False
    return value >= goal[0] if isinstance(goal, AtLeast) else value <= goal[0]


def peers(requirements: list[str]) -> Path:
    """The Python of bench/.venv with these peers installed: they never constrain the versions of the product."""
    python = PEERS / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        venv.create(PEERS, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-qq", *requirements], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
