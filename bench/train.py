"""Our training loop against a bare PyTorch loop, Accelerate and transformers' Trainer: same network, batches, steps.

Speed: all arms live in one process and train in turns, ten steps each, so that what else the machine does falls on all
alike; the figures are medians over the turns. Memory, start-up and losses: each arm in a process of its own
(bench/_train_arm.py). Losses must agree, or what is compared is not the same. Seconds to a target loss count from the
start of the loop to the first step at which the mean loss of twenty steps lies below what the bare loop reached at
three quarters of its run. The error of `nightforge estimate` is that of the stage train, made short
(bench/_estimate.py).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any

from bench import AtLeast, Goals, _estimate, _train_arm, _watching

STEPS, LOSSES_MEAN, TURN_STEPS, WARM_TURNS = 150, 20, 10, 2
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
        alone = {arm: measured(arm, folder) for arm in _train_arm.ARMS}
        turns = in_turns(folder)
    ours = alone["ours"]
    figures = {
        "losses_differ_at_most": max(differ(alone[arm]["losses"], alone["bare"]["losses"]) for arm in alone),
        "tokens_per_s": ours["tokens_per_s"],
        "tokens_vs_bare_loop": faster(turns, "bare"),
        "tokens_vs_hf_trainer": faster(turns, "hf_trainer"),
        "tokens_vs_accelerate": faster(turns, "accelerate"),
        "memory_vs_hf_trainer": ours["peak_memory_mb"] / alone["hf_trainer"]["peak_memory_mb"],
        "memory_vs_bare_loop": ours["peak_memory_mb"] / alone["bare"]["peak_memory_mb"],
        "start_vs_hf_trainer": ours["start_s"] / alone["hf_trainer"]["start_s"],
        "seconds_to_loss_vs_hf_trainer": to_loss(alone, "ours") / to_loss(alone, "hf_trainer"),
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


def in_turns(folder: Path) -> dict[str, list[float]]:
    """Seconds of each turn of each arm: each is a thread, and one at a time goes on for ten steps."""
    words, rows = _train_arm.laid(folder)
    go, done = {arm: Semaphore(0) for arm in _train_arm.ARMS}, Semaphore(0)
    seconds: dict[str, list[float]] = {arm: [] for arm in _train_arm.ARMS}

    def train(arm: str) -> None:
        go[arm].acquire()
        model, made, begun = _train_arm.network(words), 0, time.perf_counter()

        def mark(tokens: int, loss: float) -> None:
            nonlocal made, begun
            made += 1
            if made % TURN_STEPS == 0:
                seconds[arm].append(time.perf_counter() - begun)
                done.release()
                go[arm].acquire()
                begun = time.perf_counter()

        _train_arm.ARMS[arm](model, rows, STEPS, mark)

    for arm in _train_arm.ARMS:
        Thread(target=train, args=(arm,), daemon=True).start()
    for turn in range(STEPS // TURN_STEPS):
        for arm in sorted(go, reverse=bool(turn % 2)):
            go[arm].release()
            done.acquire()
    return seconds


def faster(turns: dict[str, list[float]], peer: str) -> float:
    """The speed of ours over the peer's, the median of the turns."""
    pairs = zip(turns["ours"], turns[peer], strict=True)
    return statistics.median([theirs / ours for ours, theirs in pairs][WARM_TURNS:])


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
