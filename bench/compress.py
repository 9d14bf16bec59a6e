"""Compressed models side by side with Olive, ONNX Runtime GenAI's model builder and llama.cpp: quality, bytes, speed.

On SmolLM2-135M (`make pretrained`) and on the model that `make run` trained here (bench/_halves.py says on what texts).
Every artifact is judged in its own runtime, on the same tokens; a ratio of perplexities is that to the dense model in
PyTorch. Bytes are those of the weights and the graph, without the tokenizer. Tokens a second are taken in turns, one
thread each (bench/_decode.py). SmolLM2 comes out of a 4-bit file whose blocks of 32 have an offset: with such a grid
we would find its numbers again and prove nothing, so ours have an offset in longer blocks only, and Olive's none.

`python -m bench.compress [OWN [PRETRAINED]]` takes other folders than models/dense and models/pretrained/….
"""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from bench import AtLeast, Goals, _decode, _halves, _peers
from bench._halves import Half
from bench._ours import Passes, compressor, ours
from nightforge import models, onnx_models, scoring
from nightforge.scoring import LogitsFn

THREADS = 2
EVERY = ["model.layers.*", "lm_head"]
GRID8 = {
    "smollm2": {"bits": 8, "block_size": 64, "symmetric": True},
    "own": {"bits": 8, "block_size": 128, "symmetric": True},
}
"""Blocks of 64 divide the widths of SmolLM2, those of 128 ours."""
CHOICES = {
    "smollm2": [
        {"bits": 4, "block_size": 64, "symmetric": True},
        {"bits": 4, "block_size": 64, "symmetric": False},
        GRID8["smollm2"],
    ],
    "own": [
        {"bits": 4, "block_size": 128, "symmetric": False},
        {"bits": 4, "block_size": 64, "symmetric": False},
        {"bits": 4, "block_size": 32, "symmetric": False},
        {"bits": 4, "block_size": 32, "symmetric": True},
        GRID8["own"],
        GRID8["smollm2"],
    ],
}
"""Integers that `mixed` chooses among; longer blocks are faster than shorter ones."""
BITS = {"smollm2": 4.6, "own": 4.95}
"""A weight, a scale included, where the builder takes 5. 8 bits are read half as fast as 4, which counts in SmolLM2
alone; and a graph of unlike bits has more nodes, which counts in a model of ours, of a megabyte."""
LOOP = {
    "accumulate": 1,
    "schedule": {"name": "cosine", "warmup_share": 0.05, "floor": 0.0},
    "clip": 1.0,
    "l1": 0.0,
    "ema": None,
    "patience": 100,
    "precision": "fp32",
    "compile": False,
    "recompute": False,
    "threads": THREADS,
    "watch": {"every": 1_000, "watchers": []},
}
RECOVERY = {"smollm2": ("scales", 0.005, 60, 1_024), "own": ("all", 0.001, 300, 2_048)}
"""What recovery trains, its learning rate, steps, and tokens of each. The weights of SmolLM2 would take hours."""
BUILDER_BEST = {"algo_config": "k_quant"}
"""Of the model builder's own ways to 4 bits; with an offset."""
GGUF = "Q4_0"

GOALS: Goals = {
    "int8_ppl_ratio_smollm2": (1.003, "perplexity of our 8-bit model over the dense one's"),
    "int8_ppl_ratio_own": (1.003, "the same, on the model trained here"),
    "int8_size_ratio_smollm2": (0.27, "its bytes over those of fp32"),
    "int8_size_ratio_own": (0.27, "the same, on the model trained here"),
    "int4_ppl_ratio_smollm2": (1.08, "perplexity of our 4-bit model over the dense one's"),
    "int4_ppl_ratio_own": (1.08, "the same, on the model trained here"),
    "int4_recovered_ppl_ratio_smollm2": (1.03, "with recovery"),
    "int4_recovered_ppl_ratio_own": (1.03, "the same, on the model trained here"),
    "int4_recovered_share_smollm2": AtLeast(0.39, "what recovery regains of the nats that our 4-bit model loses"),
    "int4_recovered_share_own": AtLeast(0.39, "the same, on the model trained here"),
    "int4_loss_vs_builder_own": (0.5, "nats that it loses over those that the builder's int4 loses"),
    "int4_size_vs_builder_smollm2": (1.0, "bytes of our 4-bit model over those of the builder's int4"),
    "int4_size_vs_builder_own": (1.0, "the same, on the model trained here"),
    "int4_decode_vs_builder_smollm2": AtLeast(1.0, "tokens per second over the builder's int4"),
    "int4_decode_vs_builder_own": AtLeast(1.0, "the same, on the model trained here"),
    "decode_vs_llamacpp_smollm2": AtLeast(0.9, f"tokens per second over llama.cpp's {GGUF}"),
    "decode_vs_llamacpp_own": AtLeast(0.9, "the same, on the model trained here"),
    "int4_ppl_vs_olive_smollm2": (1.0, "perplexity of our 4-bit model over that of Olive's GPTQ"),
    "int4_ppl_vs_olive_own": (1.0, "the same, on the model trained here"),
}


class Artifact(NamedTuple):
    """What somebody made of a model."""

    nats: float
    """A token, in its runtime."""
    mb: float
    """Weights and graph, in MB (10⁶ bytes)."""
    arm: list[str]
    """The command of its process for bench/_decode.py."""


def recipes(name: str) -> dict[str, Passes]:
    """Ours, for the model of this name."""
    trains, rate, steps, tokens = RECOVERY[name]
    optimizer = {"name": "adamw", "lr": rate, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.0}
    each = {"steps": steps, "batch_size": tokens, "eval_every": steps // 6, "save_every": steps}
    teacher = {"alpha": 1.0, "temperature": 1.0, "hidden": 0.0, "texts": None}
    loop = LOOP | {"optimizer": optimizer} | each
    int8: Passes = [
        {"name": "smoothquant", "layers": ["model.layers.*"], "alpha": 0.5},  # activations are rounded to 8 bits too
        {"name": "rtn", "layers": EVERY, **GRID8[name], "search": False},
    ]
    int4: Passes = [
        {
            "name": "mixed",
            "layers": EVERY,
            "choices": CHOICES[name],
            "bits_a_weight": BITS[name],
            "others_mb": 0,
            "rows": 64,
            "damp": 0.01,
            "act_order": True,
            "rounds": 3,
        }
    ]
    recovery = {"name": "distill", "trains": trains, "rank": None, **teacher, "loop": loop}
    return {"int8": int8, "int4": int4, "int4_recovered": [*int4, recovery]}


def main(own: Path = _halves.OWN, pretrained: Path = _halves.SMOLLM2) -> None:
    """Measure the halves that there are, and print the figures."""
    torch.set_num_threads(THREADS)
    figures: dict[str, float] = {}
    for half in (_halves.smollm2(pretrained), _halves.own(own)):
        if half:
            figures |= {f"{key}_{half.name}": value for key, value in measured(half).items()}
    print(json.dumps({key: round(value, 4) for key, value in sorted(figures.items())}))


def measured(half: Half) -> dict[str, float]:
    """The figures of one model, without its ending."""
    todo = makers(half)
    dense = nats(half, models.logits_fn(models.load(half.dense).model))
    dense_mb = (half.dense / "model.safetensors").stat().st_size / 1e6
    print(f"[{half.name}] dense: perplexity {math.exp(dense):.3f} on {half.tokens:,} tokens, {dense_mb:.1f} MB")
    found: dict[str, Artifact] = {}
    for name, make in todo.items():
        begun = time.perf_counter()
        found[name] = make()
        took, lost = time.perf_counter() - begun, found[name].nats - dense
        told = f"perplexity × {math.exp(lost):.4f}, {lost:.4f} nats lost, {found[name].mb:.2f} MB"
        print(f"[{half.name}] {name}: {told} ({took:.0f} s)", flush=True)
    speeds = _decode.in_turns({name: one.arm for name, one in found.items()}, half.documents[0].ids)
    figures = ratios(found, dense, dense_mb)
    figures |= {f"{name}_tokens_per_s": sorted(speeds[name])[len(speeds[name]) // 2] for name in speeds}
    for figure, peer in (("int4_decode_vs_builder", "builder_int4"), ("decode_vs_llamacpp", "llamacpp")):
        if peer in speeds:
            figures[figure] = _decode.ratio(speeds, "int4", peer)
    return figures


def ratios(found: dict[str, Artifact], dense: float, dense_mb: float) -> dict[str, float]:
    """Of perplexities, nats and bytes; the clock is not in it."""
    lost = {name: one.nats - dense for name, one in found.items()}
    figures = {f"{name}_ppl_ratio": math.exp(nats) for name, nats in lost.items()}
    figures |= {f"{name}_size_ratio": one.mb / dense_mb for name, one in found.items()}
    figures["int4_loss_vs_builder"] = lost["int4"] / lost["builder_int4"]
    figures["int4_size_vs_builder"] = found["int4"].mb / found["builder_int4"].mb
    figures["int4_recovered_share"] = 1 - lost["int4_recovered"] / lost["int4"]
    figures["int4_ppl_vs_olive"] = math.exp(lost["int4"] - lost["olive"])
    return figures


def makers(half: Half) -> dict[str, Callable[[], Artifact]]:
    """Name → who makes it, in the order in which they are made."""
    each = recipes(half.name)
    compressor(half, each)  # a recipe that cannot be is refused before any work

    def recipe(name: str) -> Callable[[], Artifact]:
        return lambda: genai(half, ours(half, each, name))

    found: dict[str, Callable[[], Artifact]] = {
        "builder_int4": lambda: genai(half, _peers.builder(half, "int4", {})),
        "builder_best": lambda: genai(half, _peers.builder(half, "int4", BUILDER_BEST)),
        "olive": lambda: genai(half, _peers.olive(half)),
        "llamacpp": lambda: llamacpp(half, _peers.llamacpp(half, GGUF)),
    }
    return found | {name: recipe(name) for name in each}


def genai(half: Half, folder: Path) -> Artifact:
    """A folder that ONNX Runtime GenAI loads, judged."""
    mb = sum(file.stat().st_size for file in folder.glob("model.onnx*")) / 1e6
    return Artifact(nats(half, onnx_models.logits_fn(folder, THREADS)), mb, _decode.genai_arm(folder))


def llamacpp(half: Half, file: Path) -> Artifact:
    """A GGUF file, judged by llama.cpp."""
    arm = _peers.llamacpp_arm("decode", str(file), str(_decode.THREADS))
    return Artifact(_peers.llamacpp_nats(half, file), file.stat().st_size / 1e6, arm)


def nats(half: Half, logits: LogitsFn) -> float:
    """A token of the acceptance split."""
    return float(scoring.document_nats(logits, half.documents, 1_024, half.context).sum()) / half.tokens


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
