"""Grids go into the types of GGUF integer for integer; read back, by another reader, they are the model in memory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf as package
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

from nightforge import tokenizer
from nightforge.errors import ConfigError
from nightforge.export import gguf
from nightforge.grids import Spec
from nightforge.held import Held
from nightforge.records import Record
from tasks import score
from tests import held_models
from tests.small_lm import Small

LEAST = "the least value of a block with an offset is rounded to fp16"
LAYERS, FULL = "model.layers.*", gguf.Config(tolerance=0.001, rest="f32")


def written(small: Small, held: Held, folder: Path, cfg: gguf.Config = FULL) -> tuple[list[str], dict[str, Any]]:
    """What was said, and each tensor of the file."""
    plain = held_models.plain(held, small.tokenizer, folder / "plain")
    remarks = gguf.convert(held, plain, folder / "out", cfg)
    return remarks, {t.name: t for t in package.GGUFReader(folder / "out" / gguf.FILE).tensors}


def in_half(held: Held) -> Held:
    """The model with each scale as fp16 has it, and each offset's least value too: what a file should hold."""
    for name, grid in held.grids.items():
        at = grid.block_of()
        scales = grid.scales.half().float()
        values = grid.ints.float() * scales[:, at]
        if bool((grid.zeros == 8).all() or grid.spec.bits > 4):
            values -= grid.zeros.float()[:, at] * scales[:, at]
        else:
            values -= (grid.scales.half().float() * grid.zeros).half().float()[:, at]
        held.model.get_submodule(name).weight.data = values
    return held


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (Spec(4, 32, True), "Q4_0"),
        (Spec(4, 64, True), "Q4_0"),
        (Spec(4, 256, True), "Q4_0"),
        (Spec(3, 32, True), "Q4_0"),
        (Spec(4, 32, False), "Q4_1"),
        (Spec(8, 32, True), "Q8_0"),
        (Spec(6, 128, False), "Q8_0"),
    ],
)
def test_a_grid_is_held_integer_for_integer(spec: Spec, kind: str, small: Small, tmp_path: Path) -> None:
    held = held_models.rounded(small, {LAYERS: spec})
    whole = held_models.logits(held.model)
    remarks, tensors = written(small, held, tmp_path)
    assert {t.tensor_type.name for name, t in tensors.items() if name.startswith("blk") and "norm" not in name} == {
        kind
    }
    assert [r for r in remarks if "scales" not in r] == [LEAST] * (kind == "Q4_1")
    found = held_models.reread(gguf, tmp_path / "out")
    assert held_models.apart(found, whole) < 0.02
    if spec.bits != 3:
        assert held_models.apart(found, held_models.logits(in_half(held).model)) < 1e-4


def test_scales_that_fp16_cannot_hold_are_told(small: Small, tmp_path: Path) -> None:
    held = held_models.rounded(small, {"*.0.mlp.up_proj": Spec(4, 32, True)})
    grid = held.grids["model.layers.0.mlp.up_proj"]
    for scale, said in (
        (0.25, []),
        (0.25 * (1 + 2**-13), ["scales are rounded to fp16, which changes a weight by 0.00012"]),
    ):
        held.grids["model.layers.0.mlp.up_proj"] = replace(grid, scales=torch.full_like(grid.scales, scale))
        remarks, _ = written(small, held, tmp_path / str(scale))
        assert [r.partition(" of itself")[0] for r in remarks] == said


def test_a_block_by_hand() -> None:
    """Two rows' first bytes: the scale in fp16, then integers 0 and 16 in one byte."""
    ints = np.arange(32)[None] % 16
    scales, least = np.array([[0.5]], np.float32), np.array([[-1.0]], np.float32)
    half = [0x00, 0x38]  # 0.5
    assert gguf._blocks("Q4_0", ints, scales, least)[0].tolist() == [*half, *(i | i << 4 for i in range(16))]
    assert gguf._blocks("Q4_1", ints, scales, least)[0, :6].tolist() == [*half, 0x00, 0xBC, 0x00, 0x11]
    assert gguf._blocks("Q8_0", ints - 8, scales, least)[0, :4].tolist() == [*half, 0xF8, 0xF9]


def test_what_no_type_holds_is_held_as_the_rest_and_told(small: Small, tmp_path: Path) -> None:
    specs = {"*.q_proj": Spec(4, 16, True), "*.o_proj": Spec(8, 32, False), LAYERS: Spec(4, 32, True)}
    held = held_models.rounded(small, specs)
    remarks, tensors = written(small, held, tmp_path, gguf.Config(tolerance=0.05, rest="f16"))
    said = " | ".join(remarks)
    assert "4 bits in blocks of 16 are no type of GGUF: held as f16: model.layers.0.self_attn.q_proj" in said
    assert "8 bits in blocks of 32 are no type of GGUF: held as f16" in said
    assert "on no grid: held as f16: model.embed_tokens" in said
    assert tensors["blk.0.attn_q.weight"].tensor_type.name == "F16"
    assert tensors["token_embd.weight"].tensor_type.name == "F16" and "output.weight" not in tensors
    assert tensors["blk.2.ffn_norm.weight"].tensor_type.name == "F32"
    found = held_models.reread(gguf, tmp_path / "out")
    assert held_models.apart(found, held_models.logits(held.model)) < 0.02


def test_a_tied_embedding_goes_with_the_grid_of_the_head(small: Small, tmp_path: Path) -> None:
    held = held_models.rounded(small, {LAYERS: Spec(4, 32, True), "lm_head": Spec(8, 32, True)})
    _, tensors = written(small, held, tmp_path)
    assert tensors["token_embd.weight"].tensor_type.name == "Q8_0"
    found = held_models.reread(gguf, tmp_path / "out")
    assert held_models.apart(found, held_models.logits(in_half(held).model)) < 1e-4
    assert (
        (tmp_path / "out" / gguf.FILE).stat().st_size < 130_000 < (tmp_path / "plain/model.safetensors").stat().st_size
    )


def test_heads_of_another_size_and_an_output_of_its_own(small: Small, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(4)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 1, "head_dim": 24, "max_position_embeddings": 64, "tie_word_embeddings": False}
    rope = {"rope_type": "default", "rope_theta": 500.0}
    config = LlamaConfig(vocab_size=420, rope_parameters=rope, rms_norm_eps=1e-3, initializer_range=0.2, **shape)
    held = Held(LlamaForCausalLM(config).eval())
    _, tensors = written(small, held, tmp_path)
    assert "output.weight" in tensors
    assert held_models.apart(held_models.reread(gguf, tmp_path / "out"), held_models.logits(held.model)) < 1e-4


def test_labels_with_blanks_are_one_token_still(small: Small, tmp_path: Path) -> None:
    words = tokenizer.train(["a tall tree", "naïve café — 漢字"] * 9, ["dry soup", "plant"], 400, 64)
    plain = held_models.plain(small.held(), words, tmp_path / "plain")
    gguf.convert(small.held(), plain, tmp_path / "out", FULL)
    again = gguf.opened(tmp_path / "out")[1]
    for record in (
        Record("1", "a tall tree it's 12", "dry soup"),
        Record("2", "漢字\n\n  x", "plant"),
        Record("3", "<|eos|>"),
    ):
        assert tokenizer.encode(again, record) == tokenizer.encode(words, record)
    assert (again.eos_token_id, again.pad_token_id) == (words.eos_token_id, words.pad_token_id)


SPLITS = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
}


@pytest.mark.parametrize("name", SPLITS)
def test_text_is_split_as_it_was(name: str, small: Small, tmp_path: Path) -> None:
    words = tokenizer.train(["a tall tree has 123 leaves"] * 9, [], 300, 64)
    words.backend_tokenizer.pre_tokenizer = SPLITS[name]
    plain = held_models.plain(small.held(), words, tmp_path / "plain")
    gguf.convert(small.held(), plain, tmp_path / "out", FULL)
    again = gguf.opened(tmp_path / "out")[1]
    assert again("a tree 123, it's 45")["input_ids"] == words("a tree 123, it's 45")["input_ids"]
    assert again.backend_tokenizer.pre_tokenizer.pre_tokenize_str("x 12") == SPLITS[name].pre_tokenize_str("x 12")


def change(folder: Path, file: str, **facts: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_what_llama_cpp_cannot_know_is_refused(small: Small, tmp_path: Path) -> None:
    for file, facts, complaint in (
        ("config.json", {"architectures": ["Olmo2ForCausalLM"]}, "expected a LlamaForCausalLM.*got Olmo2"),
        ("config.json", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "got yarn"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "no name for how this tokenizer splits"),
    ):
        plain = held_models.plain(small.held(), small.tokenizer, tmp_path / complaint[-8:] / "plain")
        change(plain, file, **facts)
        with pytest.raises(ConfigError, match=complaint):
            gguf.convert(small.held(), plain, tmp_path / "out", FULL)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("specs", "kl_nats"), [({}, 1e-5), ({"*.down_proj": Spec(8, 64, True), LAYERS: Spec(4, 32, False)}, 3e-3)]
)
def test_llama_cpp_itself_gives_these_logits_and_tokens(
    specs: dict[str, Spec], kl_nats: float, small: Small, tmp_path: Path
) -> None:
    """Where it meets integers it rounds activations to 8 bits, so that only what is no integer comes out the same."""
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is built from source, and optional")
    held = held_models.rounded(small, specs)
    written(small, held, tmp_path)
    expected, found = (
        held_models.logits(held.model),
        gguf.running(tmp_path / "out")[0](held_models.IDS, held_models.IDS),
    )
    assert score.kl_nats(expected.reshape(-1, 400), found.reshape(-1, 400)) < kl_nats
    assert held_models.apart(found, expected) < 40 * kl_nats**0.5
    runtime = llama_cpp.Llama(str(tmp_path / "out" / gguf.FILE), vocab_only=True, verbose=False)
    text = "the tall river of 漢字 has 12 more, it's  old\n"
    ids = runtime.tokenize(text.encode(), add_bos=False, special=False)
    assert ids == small.tokenizer(text, add_special_tokens=False)["input_ids"]
