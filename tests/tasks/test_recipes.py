"""A recipe that is killed while it works goes on at the layer where it was, and ends with the same bytes."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nightforge import blocks, methods, models
from nightforge.errors import DataError
from nightforge.records import Record, content_id
from nightforge.scoring import Encoded
from tasks import recipes, shards
from tasks.compressing import CompressConfig, Inputs
from tests.small_lm import Small

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
import hashlib, sys
from pathlib import Path
import torch
from nightforge import methods
from nightforge.blocks import Rows
from nightforge.compress._pass import Given, made_at_once
from nightforge.held import Held
from tasks import recipes
from transformers import LlamaConfig, LlamaForCausalLM

torch.set_num_threads(1)
torch.manual_seed(0)
shape = dict(hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=2, vocab_size=300)
model = LlamaForCausalLM(LlamaConfig(**shape)).eval()
ids = torch.randint(0, 300, (8, 32))
given = Given([Rows(ids, torch.ones_like(ids).bool())], None, None, None, None, 1, made_at_once)
values = methods.load("compress", "gptq").SAMPLE.model_dump() | {"name": "gptq"}
recipe = [methods.choose("compress", values | {"layers": [layers]}) for layers in ("lm_head", "model.layers.*")]
held = recipes.applied(recipe, Held(model), given, Path(sys.argv[1]))
h = hashlib.sha256()
for name, value in held.model.state_dict().items():
    h.update(name.encode() + value.numpy().tobytes())
print("sha256", h.hexdigest(), len(held.grids))
"""


def started(kept: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(kept)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=300)
    return out.splitlines()[-1]


@pytest.mark.slow
def test_killed_and_begun_again_is_uninterrupted(tmp_path: Path) -> None:
    whole, cut = started(tmp_path / "whole"), started(tmp_path / "cut")
    kept = tmp_path / "cut"
    while len(list(kept.glob("1-*/*.safetensors"))) < 8:
        assert cut.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    cut.send_signal(signal.SIGKILL)
    cut.wait()
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("1-*/*.safetensors")}
    assert 8 <= len(before) < 21, "it was killed on the way"
    again = ended(started(tmp_path / "cut"))
    assert again == ended(whole) and again.endswith(" 22")
    after = {path.name: path.stat().st_mtime_ns for path in kept.glob("1-*/*.safetensors")}
    assert len(after) == 21 and before.items() <= after.items(), "what was made was not made again"


def test_tensors_are_made_once(tmp_path: Path) -> None:
    keep, calls = recipes.keeper(tmp_path / "0"), []

    def make() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"weight": torch.arange(6.0).reshape(2, 3).T}  # not contiguous

    first, second = (keep("model.layers.0", make) for _ in range(2))
    assert first["weight"].equal(second["weight"]) and len(calls) == 1
    (tmp_path / "0" / "other.half").write_bytes(b"half")
    assert keep("other", make)["weight"].equal(first["weight"]) and len(calls) == 2


def test_calibration_rows_are_the_first_and_cut_to_the_context() -> None:
    documents = [Encoded(list(range(1, 1 + size)), [2] * size) for size in (5, 1, 9, 4)]

    def tokens(rows: list[blocks.Rows]) -> Any:
        return sorted(r[m].tolist() for one in rows for r, m in zip(one.ids, one.mask, strict=True))

    assert tokens(recipes.rows(documents, 10, 6)) == [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], [1, 7, 8, 9]]
    assert len(tokens(recipes.rows(documents, 10**6, 6))) == 4


def test_weights_that_changed_are_counted_one_by_one(small: Small, tmp_path: Path) -> None:
    models.save(tmp_path, copy.deepcopy(small.model), small.tokenizer, {"family": "causal_lm"})
    model, whole = copy.deepcopy(small.model), sum(p.numel() for p in small.model.parameters())
    assert recipes.changed_share(model, tmp_path) == 0
    layer = model.model.layers[0].mlp
    layer.up_proj.weight.data[:3, :5] += 1
    assert recipes.changed_share(model, tmp_path) == 15 / whole
    layer.down_proj = torch.nn.Linear(7, 64, bias=False)  # of another shape
    assert recipes.changed_share(model, tmp_path) == (15 + 7 * 64) / (whole - 64 * 128 + 7 * 64)


def test_each_pass_is_proven(small: Small, tmp_path: Path) -> None:
    """Weights, bytes and nats after each; one that does what was done already has no effect."""
    models.save(tmp_path / "dense", copy.deepcopy(small.model), small.tokenizer, {"family": "causal_lm"})
    values = methods.load("compress", "rtn").SAMPLE.model_dump() | {"name": "rtn", "bits": 4, "block_size": 32}
    head, body = (values | {"layers": [layers]} for layers in ("lm_head", "model.layers.*"))
    recipe = [methods.choose("compress", one) for one in (head, body, body)]
    held, inputs = small.held(), Inputs(None, None, 1, tmp_path / "dense", tmp_path, {})  # type: ignore[arg-type]
    recipes.applied(recipe, held, small.given, tmp_path / "kept", recipes.proof(inputs, held, small.given))
    names, figures = zip(*held.notes, strict=True)
    assert names == ("after rtn", "after rtn", "after rtn, which had no effect")
    weights = {n: p.numel() for n, p in small.model.named_parameters()}
    table, norms = weights["model.embed_tokens.weight"], sum(n for name, n in weights.items() if "norm" in name)
    body_weights = sum(weights.values()) - table - norms
    assert figures[0]["weights_mb"] == pytest.approx((4.5 * table + 32 * (norms + body_weights)) / 8e6)
    assert figures[1]["weights_mb"] == pytest.approx((4.5 * (table + body_weights) + 32 * norms) / 8e6)
    assert 0.9 * table < figures[0]["changed_share"] * sum(weights.values()) < table + 0.5
    assert 0 < figures[0]["kl_nats"] < figures[1]["kl_nats"]


def test_calibration_of_next_to_nothing_is_refused(small: Small, tmp_path: Path) -> None:
    shards.write(tmp_path / "calibration", [Record(content_id("a tall tree"), "a tall tree")])
    cfg = CompressConfig.model_construct(calibration_tokens=1024)
    inputs = Inputs(cfg, None, 1, tmp_path, tmp_path, {})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"expected 256 tokens or more.*found \d\b"):
        recipes.given(inputs, small.tokenizer, 64, None)
