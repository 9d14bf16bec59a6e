"""Our training loop against a bare PyTorch loop, Accelerate and transformers' Trainer: same network, batches, steps.

Each arm is a process of its own (bench/_train_arm.py), in turns, several rounds; the figures are medians of the ratios
within a round. Losses must agree, or what is compared is not the same. Seconds to a target loss count from the start
of the loop to the first step at which the mean loss of twenty steps lies below what the bare loop reached at three
quarters of its run. The error of `nightforge estimate` is that of the stage train, made short (bench/_estimate.py).
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import AtLeast, Goals, _estimate, _train_arm, _watching

ROUNDS, STEPS, LOSSES_MEAN = 3, 150, 20
ROOT = Path(__file__).resolve().parent.parent

GOALS: Goals = {
    "tokens_vs_bare_loop": AtLeast(0.97, "tokens per second over a loop written by hand; ours is watched"),
    "tokens_vs_hf_trainer": AtLeast(1.0, "tokens per second over transformers' Trainer"),
    "memory_vs_hf_trainer": (1.0, "peak memory over that of transformers' Trainer"),
    "watchers_overhead": (0.03, "share that all watchers together add to a step"),
    "estimate_error": (0.25, "of `nightforge estimate`: how far the seconds of the stage are from those foretold"),
}


def main() -> None:
    """Measure, and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _train_arm.prepare(folder)
        rounds = [{arm: measured(arm, folder) for arm in _train_arm.ARMS} for _ in range(ROUNDS)]
    figures = {
        "losses_differ_at_most": max(differ(r[arm]["losses"], r["bare"]["losses"]) for r in rounds for arm in r),
        "tokens_per_s": statistics.median(r["ours"]["tokens_per_s"] for r in rounds),
        "tokens_vs_bare_loop": ratio(rounds, "tokens_per_s", "bare"),
        "tokens_vs_hf_trainer": ratio(rounds, "tokens_per_s", "hf_trainer"),
        "tokens_vs_accelerate": ratio(rounds, "tokens_per_s", "accelerate"),
        "memory_vs_hf_trainer": ratio(rounds, "peak_memory_mb", "hf_trainer"),
        "memory_vs_bare_loop": ratio(rounds, "peak_memory_mb", "bare"),
        "start_vs_hf_trainer": ratio(rounds, "start_s", "hf_trainer"),
        "seconds_to_loss_vs_hf_trainer": statistics.median(
            to_loss(r, "ours") / to_loss(r, "hf_trainer") for r in rounds
        ),
        "watchers_overhead": _watching.watchers_overhead(),
        **_estimate.errors(),
    }
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}))


def measured(arm: str, folder: Path) -> dict[str, Any]:
    """One arm, once."""
    command = [sys.executable, "-m", "bench._train_arm", arm, str(STEPS), str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"[{arm}] {figures['tokens_per_s']:,.0f} tokens/s, {figures['peak_memory_mb']:.0f} MB", flush=True)
    return figures


def ratio(rounds: list[dict[str, Any]], figure: str, peer: str) -> float:
    """Ours over the peer's, the median of the rounds."""
    return statistics.median(r["ours"][figure] / r[peer][figure] for r in rounds)


def differ(one: list[float], other: list[float]) -> float:
    """The largest difference between two curves."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def to_loss(arms: dict[str, Any], arm: str) -> float:
    """Seconds to the target loss."""

    def smoothed(losses: list[float], at: int) -> float:
        return statistics.mean(losses[at - LOSSES_MEAN : at])

    target = smoothed(arms["bare"]["losses"], STEPS * 3 // 4)
    losses, seconds = arms[arm]["losses"], arms[arm]["seconds"]
    return next(seconds[at - 1] for at in range(LOSSES_MEAN, STEPS + 1) if smoothed(losses, at) <= target + 1e-3)


if __name__ == "__main__":
    main()
