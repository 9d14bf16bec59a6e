"""A fifth less feed-forward width in stock transformers: bytes, and the speed of a prefill and of a decoded token.

SmolLM2-135M, dense and pruned. Both are read back by transformers from what save_pretrained wrote, in one process, and
take turns; medians of the turns' ratios are told, so that what else the machine does meets both alike. Quality is not
told: random rows calibrate. `python -m bench.shrink [FOLDER [THREADS]]` takes another model.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from bench import AtLeast, Goals, _halves
from nightforge import models
from nightforge.blocks import Rows
from nightforge.compress import prune_ffn
from nightforge.compress._pass import Given, made_at_once
from nightforge.held import Held

BATCH, PROMPT, NEW, TURNS, SEED = 4, 128, 24, 15, 17
GOALS: Goals = {
    "ffn_size_ratio": (0.9, "bytes on disk of four fifths of the feed-forward width, over the dense model's"),
    "ffn_prefill_speed_up": AtLeast(1.1, f"seconds of a prefill of {BATCH} × {PROMPT} tokens, dense over pruned"),
    "ffn_decode_speed_up": AtLeast(1.1, f"the same of a decoded token of {BATCH} rows"),
}
CFG = prune_ffn.SAMPLE.model_copy(update={"share": 0.2, "multiple": 32})


def main(folder: Path = _halves.SMOLLM2, threads: int = 2) -> dict[str, float]:
    """The figures."""
    if not (folder / models.CARD).is_file():
        raise SystemExit(f"bench: no model in {folder}. Run: make pretrained")
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        dense = Path(scratch) / "dense"
        pruned = Path(scratch) / "pruned"
        model, _ = models.read_transformers(folder)
        model.eval().save_pretrained(dense)
        _prune(model).save_pretrained(pruned)
        sizes = [sum(f.stat().st_size for f in one.glob("*.safetensors")) for one in (dense, pruned)]
        both = [AutoModelForCausalLM.from_pretrained(one, local_files_only=True).eval() for one in (dense, pruned)]
    ids = torch.randint(5, model.config.vocab_size, (BATCH, PROMPT), generator=torch.Generator().manual_seed(SEED))
    found = {"ffn_width_share": both[1].config.intermediate_size / both[0].config.intermediate_size}
    found["ffn_size_ratio"] = sizes[1] / sizes[0]
    for name, run in (("prefill", _prefill), ("decode", _decode)):
        found[f"ffn_{name}_speed_up"] = _ratio(lambda one, run=run: run(one, ids), both)  # type: ignore[misc]
    return {name: round(value, 4) for name, value in found.items()}


def _prune(model: Any) -> Any:
    rows = torch.randint(5, model.config.vocab_size, (4, 64), generator=torch.Generator().manual_seed(SEED))
    calibration = [Rows(rows, torch.ones_like(rows, dtype=torch.bool))]
    given = Given(calibration, lambda: model, lambda: [], lambda _: 0.0, None, SEED, made_at_once)  # type: ignore[arg-type, return-value]
    return prune_ffn.apply(Held(model), given, CFG).model


def _ratio(seconds: Callable[[Any], float], both: list[Any]) -> float:
    """Seconds of the first over those of the second, in turns, each as often before the other as after it."""
    ratios = []
    for turn in range(TURNS + 1):
        order = both if turn % 2 else both[::-1]
        taken = {id(one): seconds(one) for one in order}
        ratios.append(taken[id(both[0])] / taken[id(both[1])])
    return median(ratios[1:])  # the first turn warms up


@torch.inference_mode()
def _prefill(model: Any, ids: torch.Tensor) -> float:
    began = time.perf_counter()
    model(input_ids=ids, logits_to_keep=1)
    return time.perf_counter() - began


@torch.inference_mode()
def _decode(model: Any, ids: torch.Tensor) -> float:
    """Seconds for NEW tokens of each row after a prompt."""
    out = model(input_ids=ids[:, :16])
    began = time.perf_counter()
    for at in range(NEW):
        out = model(input_ids=ids[:, 16 + at : 17 + at], past_key_values=out.past_key_values)
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:2]), *map(int, sys.argv[2:3]))))
