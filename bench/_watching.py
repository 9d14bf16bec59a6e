"""What watching adds to a step of the sample project's network: two runs on the same batches in turns, one unwatched.

Watched is what the sample project watches: layers, the clock, TensorBoard and the lines of progress, every 20 steps.
The share is the median, over stretches of 20 steps, of the watched run's time over the other's, less one.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch

from bench import _train_arm
from nightforge import loop, methods, throughput, tokenizer
from nightforge.corpus import corpus
from nightforge.scoring import TEXT, Encoded
from nightforge.train import causal_lm
from nightforge.training import Event, Stepped, Turn
from tasks.trackers import opened
from tasks.train_boards import shown

EVERY, STRETCHES, ROWS, TOKENS = 20, 24, 2_000, (8, 60)
SAMPLE_PROJECT = ({"name": "layers", "depth": 1},)


def watchers_overhead(watchers: Sequence[dict[str, Any]] = SAMPLE_PROJECT) -> float:
    """The share of a step that they add."""
    torch.set_num_threads(_train_arm.THREADS)
    rng = np.random.default_rng(1)
    sizes = rng.integers(*TOKENS, ROWS)
    rows = corpus((Encoded(rng.integers(5, 4000, size).tolist(), [TEXT] * size) for size in sizes), 256)
    turn = Turn("", "", lambda net, tensors, at: causal_lm.loss(net, tensors, _train_arm.SHAPE, at))
    steps = EVERY * (STRETCHES + 1)
    with tempfile.TemporaryDirectory() as folder, chdir(folder), redirect_stdout(StringIO()):
        bare = started(turn, steps, steps + 1, [])
        run = started(turn, steps, EVERY, watchers)
        goal = throughput.work(run.model, [turn], rows.batch([0, 1]), 1.0, steps, "fp32")
        with opened([], "bench", {}) as boards:
            seen = shown(loop.steps(run, rows, lambda _: 1.0), boards, goal, steps)
            ratios = list(stretches(seen, loop.steps(bare, rows, lambda _: 1.0)))
    return statistics.median(ratios[1:]) - 1


def started(turn: Turn, steps: int, every: int, watchers: Sequence[dict[str, Any]]) -> loop.Run:
    """A run at step zero."""
    words = tokenizer.train(["a tall tree of the tropics"], [], 300, 64)
    torch.manual_seed(_train_arm.SEED)
    model = causal_lm.build(_train_arm.SHAPE, words)
    watch = {"every": every, "watchers": list(watchers)}
    settings = _train_arm.settings(steps, every).model_dump() | {"watch": watch}
    return loop.start(model, [turn], type(_train_arm.settings(1, 1))(**settings), _train_arm.SEED, "fp32")


def stretches(watched: Iterator[Event], bare: Iterator[Event]) -> Iterator[float]:
    """Seconds of each stretch of the one over those of the other, which begins every second time."""
    for number in range(STRETCHES + 1):
        both = [(watched, 0), (bare, 1)]
        seconds = [0.0, 0.0]
        for events, at in both if number % 2 else reversed(both):
            begun = time.perf_counter()
            made = 0
            for event in events:
                # a look comes after its step, and so at the beginning of the next stretch
                made += isinstance(event, Stepped)
                if made == EVERY:
                    break
            seconds[at] = time.perf_counter() - begun
        yield seconds[0] / seconds[1]


def main() -> None:
    """The sample project's watchers, or with `all` every one there is."""
    names = methods.names("watch") if "all" in sys.argv else []
    every = [{"name": name, **methods.load("watch", name).SAMPLE.model_dump()} for name in names]
    print(json.dumps({"watchers_overhead": watchers_overhead(every or SAMPLE_PROJECT)}))


if __name__ == "__main__":
    main()
