"""The published orders of compression methods: what each loses, in PyTorch, on SmolLM2-135M and the model trained here.

Nats a token that a method loses to the dense model on the acceptance split (bench/_halves.py), weights rounded, pruned
or factored in memory. Where the orders come from: GPTQ (2210.17323), AWQ (2306.00978), SparseGPT (2301.00774), Wanda
(2306.11695), ASVD (2312.05821), SVD-LLM (2403.07378). All grids are symmetric: the file that SmolLM2 comes out of has
blocks of 32 with an offset, which such a grid would find again. A model as small as ours hardly tells methods apart:
its figures are without goals. What recovery regains is measured by bench/compress.py.

`python -m bench.orders [OWN [PRETRAINED]]` takes other folders, as bench.compress does.
"""

import copy
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from bench import AtLeast, Goals, _halves
from bench._halves import Half
from bench._ours import Passes, compressor
from bench.compress import nats
from nightforge import blocks, grids, models
from nightforge.grids import Spec
from nightforge.held import Held, put
from tasks import recipes

THREADS = 2
BODY = {"layers": ["model.layers.*"]}
G128 = {**BODY, "block_size": 128, "symmetric": True}
RTN4 = {"name": "rtn", **G128, "bits": 4, "search": False}
KEPT_SHARE = 0.8
ROWS: dict[str, Passes] = {
    "int8": [{**RTN4, "bits": 8}],
    "int4_gptq": [{"name": "gptq", **G128, "bits": 4, "damp": 0.01, "act_order": True, "rounds": 0}],
    "int4_awq": [{"name": "awq", **G128, "bits": 4, "tries": 10}, RTN4],
    "int4_rtn": [RTN4],
    "int3_rtn": [{**RTN4, "bits": 3}],
    "half_magnitude": [{"name": "magnitude", **BODY, "sparsity": 0.5, "threshold": None, "scope": "layer"}],
    "half_wanda": [{"name": "wanda", **BODY, "sparsity": 0.5}],
    "half_sparsegpt": [{"name": "sparsegpt", **BODY, "sparsity": 0.5, "damp": 0.01}],
    "2of4_magnitude": [{"name": "magnitude", **BODY, "sparsity": "2 of 4", "threshold": None, "scope": "layer"}],
    "2of4_wanda": [{"name": "wanda", **BODY, "sparsity": "2 of 4"}],
    "2of4_sparsegpt": [{"name": "sparsegpt", **BODY, "sparsity": "2 of 4", "damp": 0.01}],
    "rank_svd": [{"name": "svd", **BODY, "parameter_share": KEPT_SHARE}],
    "rank_asvd": [{"name": "asvd", **BODY, "parameter_share": KEPT_SHARE, "alpha": 0.5}],
    "rank_svd_llm": [{"name": "svd_llm", **BODY, "parameter_share": KEPT_SHARE, "damp": 0.01}],
}
CHANNEL = "int4_rtn_channel"
"""One scale for each output, which no runtime's blocks are as long as: made here and not by a pass."""
NOTHING = 0.01
"""Nats a token that an 8-bit model may lose, and be called equal."""

GOALS: Goals = {
    "int8_nats_smollm2": (NOTHING, "nats a token that 8-bit weights lose: none to speak of"),
    "gptq_vs_rtn_smollm2": (1.0, "what 4-bit GPTQ loses over what rounding to nearest does, blocks of 128"),
    "awq_vs_rtn_smollm2": (1.0, "the same of AWQ"),
    "rtn_vs_channel_smollm2": (1.0, "rounding to nearest in blocks of 128 over one scale a channel"),
    "channel_vs_int3_smollm2": (1.0, "4 bits, one scale a channel, over 3 bits in blocks of 128"),
    "magnitude_vs_wanda_smollm2": AtLeast(2.0, "half the weights zero: what magnitude loses over what Wanda does"),
    "magnitude_vs_sparsegpt_smollm2": AtLeast(2.0, "the same of SparseGPT"),
    "wanda_vs_2of4_smollm2": (1.0, "Wanda, any half of the weights, over 2 of each 4"),
    "sparsegpt_vs_2of4_smollm2": (1.0, "the same of SparseGPT"),
    "svd_llm_vs_asvd_smollm2": (1.0, "80% of the parameters in low ranks: SVD-LLM over ASVD"),
    "asvd_vs_svd_smollm2": (1.0, "the same, ASVD over plain SVD"),
}
PAIRS = {
    "gptq_vs_rtn": ("int4_gptq", "int4_rtn"),
    "awq_vs_rtn": ("int4_awq", "int4_rtn"),
    "rtn_vs_channel": ("int4_rtn", CHANNEL),
    "channel_vs_int3": (CHANNEL, "int3_rtn"),
    "magnitude_vs_wanda": ("half_magnitude", "half_wanda"),
    "magnitude_vs_sparsegpt": ("half_magnitude", "half_sparsegpt"),
    "wanda_vs_2of4": ("half_wanda", "2of4_wanda"),
    "sparsegpt_vs_2of4": ("half_sparsegpt", "2of4_sparsegpt"),
    "svd_llm_vs_asvd": ("rank_svd_llm", "rank_asvd"),
    "asvd_vs_svd": ("rank_asvd", "rank_svd"),
}


def main(own: Path = _halves.OWN, pretrained: Path = _halves.SMOLLM2) -> None:
    """Measure the halves that there are, and print the figures."""
    torch.set_num_threads(THREADS)
    figures: dict[str, float] = {}
    for half in (_halves.own(own), _halves.smollm2(pretrained)):
        if half:
            lost = losses(half)
            figures |= {f"{name}_nats_{half.name}": value for name, value in lost.items()}
            figures |= {f"{name}_{half.name}": lost[one] / lost[other] for name, (one, other) in PAIRS.items()}
    print(json.dumps({key: round(value, 4) for key, value in sorted(figures.items())}))


def losses(half: Half, names: Sequence[str] = (*ROWS, CHANNEL)) -> dict[str, float]:
    """Name of a method → nats a token that it loses."""
    loaded = models.load(half.dense)
    made = compressor(half, ROWS)
    dense = nats(half, models.logits_fn(loaded.model))
    given = recipes.given(made.inputs, loaded.tokenizer, loaded.context, None)
    lost: dict[str, float] = {}
    for name in names:
        begun, held = time.perf_counter(), Held(copy.deepcopy(loaded.model))
        if name == CHANNEL:
            by_channel(held)
        else:
            with tempfile.TemporaryDirectory() as folder:
                held = recipes.applied(made.inputs.cfg.recipes[name], held, given, Path(folder))
        lost[name] = nats(half, models.logits_fn(held.model)) - dense
        print(f"[{half.name}] {name}: {lost[name]:.4f} nats lost ({time.perf_counter() - begun:.0f} s)", flush=True)
    return lost


def by_channel(held: Held) -> None:
    """Round to the nearest of 4 bits, one scale for each output."""
    for name, layer in blocks.linears(held.model, BODY["layers"]).items():
        weight = layer.weight.detach()
        spec = Spec(4, weight.shape[1], True)
        put(held, name, layer, grids.encode(weight, spec, *grids.fit(weight, spec)).tensors())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
