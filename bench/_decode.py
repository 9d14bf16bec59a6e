"""Tokens a second, greedily, of several models in turns: each in a process of its own that waits for its turn.

What else the machine does falls on all alike, and ratios are medians over rounds. All compute with THREADS threads:
one, for with two on two virtual cores llama.cpp waits at its barriers (SmolLM2: 61 tokens a second, and 234 with one),
and ONNX Runtime does where there is other work.
`python -m bench._decode FOLDER` is the process of a folder that ONNX Runtime GenAI loads.
"""

import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

THREADS = 1
ROUNDS, NEW_TOKENS, PROMPT_TOKENS, SETTLE_S = 11, 64, 16, 0.2


def in_turns(arms: dict[str, list[str]], prompt: list[int]) -> dict[str, list[float]]:
    """Tokens a second of each arm in each round; a round before the first warms up.

    Args:
        arms: name → the command of a process that answers `[prompt, tokens]` with the seconds of each token.
        prompt: token ids.
    """
    asked = json.dumps([prompt[:PROMPT_TOKENS], NEW_TOKENS])
    speeds: dict[str, list[float]] = {name: [] for name in arms}
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        running = {
            name: stack.enter_context(subprocess.Popen(command, text=True, **pipes))  # type: ignore[call-overload]
            for name, command in arms.items()
        }
        for number in range(-1, ROUNDS):
            for name in sorted(running, reverse=bool(number % 2)):
                print(asked, file=running[name].stdin, flush=True)
                seconds = json.loads(running[name].stdout.readline())
                if number >= 0:
                    speeds[name].append(len(seconds) / sum(seconds))
                time.sleep(SETTLE_S)  # threads that still spin for work would slow the next
        for process in running.values():
            process.stdin.close()
    return speeds


def ratio(speeds: dict[str, list[float]], one: str, other: str) -> float:
    """The speed of one over that of the other, the median of the rounds."""
    return statistics.median(a / b for a, b in zip(speeds[one], speeds[other], strict=True))


def genai_arm(folder: Path) -> list[str]:
    """The command for a folder that ONNX Runtime GenAI loads."""
    return [sys.executable, "-m", "bench._decode", str(folder)]


def main(folder: str) -> None:
    """For each line `[prompt's ids, tokens to generate]` print the seconds of each token but the first."""
    import onnxruntime_genai as og

    config = og.Config(folder)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": THREADS}}}}))
    model = og.Model(config)
    for line in sys.stdin:
        prompt, new_tokens = json.loads(line)
        params = og.GeneratorParams(model)
        length = len(prompt) + new_tokens
        params.set_search_options(do_sample=False, min_length=length, max_length=length)
        generator, seconds = og.Generator(model, params), []
        generator.append_tokens(prompt)
        while not generator.is_done():
            begun = time.perf_counter()
            generator.generate_next_token()
            seconds.append(time.perf_counter() - begun)
        print(json.dumps(seconds[1:]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
