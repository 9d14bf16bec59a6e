"""A small Llama, exported offline: the file holds the weights of the model in memory, in few bytes, and generates."""

import copy
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from nightforge import grids, models, onnx_models, tokenizer
from nightforge.errors import ConfigError, DataError
from nightforge.export import _kv_cache, _nbits, onnx_genai
from nightforge.grids import Grid, Spec
from nightforge.held import Factored, Held, put
from nightforge.methods import Method
from nightforge.scoring import document_nats, text_tokens
from tasks import export
from tasks.hashing import sha256_tree
from tests.held_models import IDS, plain
from tests.small_lm import SHAPE, Small

ROOT = Path(__file__).parent.parent.parent
EXACT = onnx_genai.SAMPLE.model_copy(update={"accuracy_level": 1})


def exporter(cfg: onnx_genai.Config) -> Method:
    return Method("export", "onnx_genai", onnx_genai, cfg)


def round_to(held: Held, name: str, bits: int, block_size: int, symmetric: bool) -> None:
    layer, spec = held.model.get_submodule(name), Spec(bits, block_size, symmetric)
    weight = layer.weight.detach()
    put(held, name, layer, grids.encode(weight, spec, *grids.fit(weight, spec)).tensors())


def factor(held: Held, name: str, rank: int) -> None:
    whole = held.model.get_submodule(name)
    u, s, v = torch.linalg.svd(whole.weight.detach(), full_matrices=False)
    down, up = torch.nn.Linear(len(v), rank, bias=False), torch.nn.Linear(rank, len(u), bias=False)
    down.weight.data, up.weight.data = v[:rank].contiguous(), (u[:, :rank] * s[:rank]).contiguous()
    held.model.set_submodule(name, Factored(down, up))


def of_all_kinds(small: Small) -> Held:
    """A block whose layers are alike, one of which each is of another kind, and one without grids."""
    held = small.held()
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj"):
        round_to(held, f"model.layers.0.{name}", 4, 32, True)
    factor(held, "model.layers.1.self_attn.q_proj", 24)
    round_to(held, "model.layers.1.self_attn.q_proj.down", 8, 32, False)
    round_to(held, "model.layers.1.self_attn.q_proj.up", 8, 16, True)
    round_to(held, "model.layers.1.self_attn.k_proj", 3, 16, False)
    round_to(held, "model.layers.1.mlp.gate_proj", 2, 32, True)
    round_to(held, "model.layers.1.mlp.up_proj", 6, 64, True)
    factor(held, "model.layers.1.mlp.down_proj", 16)
    round_to(held, "lm_head", 5, 128, True)  # tied, and of 64 inputs: its only block is filled up
    return held


class Made(NamedTuple):
    """A model in memory and on disk."""

    held: Held
    plain: Path
    built: Path
    """By the builder alone."""
    out: Path
    larger: dict[str, str]


def make(held: Held, words: Any, folder: Path) -> Made:
    source = plain(held, words, folder / "plain")
    built = export.build(exporter(EXACT), source, folder, {})
    whole = shutil.copytree(built, folder / "whole")
    larger = onnx_genai.hold(whole, held, EXACT)
    onnx_genai.write(whole, source, folder / "out")
    return Made(held, source, built, folder / "out", larger)


@pytest.fixture(scope="module")
def made(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """With layers of all kinds."""
    return make(of_all_kinds(small), small.tokenizer, tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def dense(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """As it was trained."""
    return make(small.held(), small.tokenizer, tmp_path_factory.mktemp("dense"))


def held_in(built: Path, out: Path, held: Held, cfg: onnx_genai.Config) -> Path:
    """What the builder made, with a model's weights."""
    shutil.copytree(built, out)
    onnx_genai.hold(out, held, cfg)
    return out


def in_memory(model: Any) -> Any:
    return models.logits_fn(model)(IDS, np.ones_like(IDS)).numpy()


def reread(folder: Path) -> Any:
    return onnx_models.logits_fn(folder)(IDS, np.ones_like(IDS))


def test_the_file_holds_what_the_model_in_memory_does(made: Made) -> None:
    np.testing.assert_allclose(reread(made.out), in_memory(made.held.model), atol=1e-4)
    assert sorted(p.name for p in made.out.iterdir()) == sorted(onnx_genai.FILES)
    assert {name.rpartition(".")[2] for name in made.larger} == {"k_proj", "up_proj", "lm_head"}
    assert made.larger["model.layers.1.self_attn.k_proj"] == "its 3-bit integers take 4 bits: no kernel has fewer"


def test_fusions_of_the_builder_stay_and_each_grid_is_one_product(made: Made) -> None:
    graph = onnx.load(made.out / "model.onnx", load_external_data=False).graph
    ops = Counter(node.op_type for node in graph.node)
    assert ops["GroupQueryAttention"] == 3
    assert ops["SkipSimplifiedLayerNormalization"] == 6 and ops["SimplifiedLayerNormalization"] == 1
    # one for q, k and v of the first block; in the second q has two, and k one; then the head
    assert ops["MatMulNBits"] == 3 + 3 + 2 + 1
    assert ops["GatherBlockQuantized"] == 1 and ops["Gather"] == 1  # the other is of the mask's shape
    bits = Counter(a.i for node in graph.node for a in node.attribute if a.name == "bits")
    assert bits == {4: 3 + 1, 8: 2 + 1 + 1 + 1, 2: 1}
    names = [tensor.name for tensor in graph.initializer]
    assert names == sorted(names)
    grids_of = 64 * (64 + 32 + 32 + 64 + 128), 24 * (64 + 64) + 64 * (32 + 128 + 128), 400 * 64
    floats = 64 * (128 + 128), 64 * (32 + 64) + 16 * (128 + 64), 64 * (64 + 32 + 32 + 64 + 3 * 128)
    norms_and_rotary = 7 * 64 + 2 * 64 * 8
    integers, whole = sum(grids_of), sum(grids_of) + sum(floats) + norms_and_rotary
    assert onnx_models.integer_share(made.out) == pytest.approx(integers / whole)


def test_equal_models_give_equal_bytes(made: Made, small: Small, tmp_path: Path) -> None:
    held = of_all_kinds(small)
    export.write_genai(exporter(EXACT), held, plain(held, small.tokenizer, tmp_path / "plain"), tmp_path / "out")
    assert sha256_tree(tmp_path / "out") == sha256_tree(made.out)
    stamp = onnx.load(made.out / "model.onnx", load_external_data=False).producer_version
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert head[:7] not in stamp, "the model's bytes must not depend on the commit of this repository"
    assert (made.out / "tokenizer.json").read_bytes() == (made.plain / "tokenizer.json").read_bytes()


def test_int8_activations_are_near(made: Made, tmp_path: Path) -> None:
    out = held_in(made.built, tmp_path / "out", made.held, onnx_genai.SAMPLE)
    wanted = in_memory(made.held.model)
    assert 1e-4 < np.linalg.norm(reread(out) - wanted) / np.linalg.norm(wanted) < 0.03


def generated(folder: Path) -> list[int]:
    """16 tokens that begin with the first 4 of IDS."""
    import onnxruntime_genai as og

    runtime = og.Model(str(folder))
    params = og.GeneratorParams(runtime)
    params.set_search_options(do_sample=False, min_length=16, max_length=16)
    generator = og.Generator(runtime, params)
    generator.append_tokens([IDS[0, :4].tolist()])
    while not generator.is_done():
        generator.generate_next_token()
    tokens: list[int] = generator.get_sequence(0).tolist()
    return tokens


def test_it_generates_what_the_model_in_memory_does(made: Made) -> None:
    tokens = generated(made.out)
    assert len(tokens) == 16
    logits = models.logits_fn(made.held.model)(np.array([tokens]), np.ones((1, 16), np.int64))[0, 3:-1]
    chosen = logits[torch.arange(12), torch.tensor(tokens[4:])]
    assert (logits.amax(-1) - chosen).max() < 1e-4  # a tie may go either way


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "error"), [("int8", 5e-4), ("int4", 0.01)])
def test_a_cache_of_integers_is_near_and_generates(small: Small, tmp_path: Path, kind: str, error: float) -> None:
    held, cfg = small.held(), EXACT.model_copy(update={"kv_cache": kind})
    source = plain(held, small.tokenizer, tmp_path / "plain")
    export.write_genai(exporter(cfg), held, source, tmp_path / "out", small.given.calibration)
    scored = document_nats(onnx_models.logits_fn(tmp_path / "out"), small.documents, 4096, SHAPE.context)
    lost = scored.sum() / text_tokens(small.documents).sum() - small.nats(held.model)
    assert abs(lost) < error
    assert np.abs(reread(tmp_path / "out") - in_memory(held.model)).max() > error
    assert len(generated(tmp_path / "out")) == 16


def test_scales_of_a_cache_are_of_its_largest_values(small: Small) -> None:
    rows = small.given.calibration[:2]
    found = _kv_cache.scales(small.model, rows, 8)["scales"]
    assert [len(layer) for layer in found["k_scales"]] == [2 * 16] * 3  # heads of keys × their size, of each block
    largest = torch.zeros(32)
    for ids, mask in rows:
        for row, real in zip(ids, mask, strict=True):
            with torch.no_grad():
                values = small.model(row[None, real], use_cache=True).past_key_values.layers[1].values[0]
            largest = torch.maximum(largest, values.abs().amax(1).flatten())
    np.testing.assert_allclose(found["v_scales"][1], largest / 127, rtol=1e-4)


def test_a_cache_of_integers_that_cannot_be_is_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs rows of calibration data, got none"):
        onnx_genai.options(small.held(), [], EXACT.model_copy(update={"kv_cache": "int8"}), tmp_path)
    with pytest.raises(ValueError, match="expected execution_provider cpu or cuda with kv_cache: int4, got dml"):
        onnx_genai.Config(**{**EXACT.model_dump(), "kv_cache": "int4", "execution_provider": "dml"})


def test_nothing_held_is_the_model_itself(dense: Made) -> None:
    np.testing.assert_allclose(reread(dense.out), in_memory(dense.held.model), atol=1e-4)
    assert onnx_models.integer_share(dense.out) == 0


def test_halves_take_half(dense: Made, tmp_path: Path) -> None:
    half = held_in(dense.built, tmp_path / "half", dense.held, EXACT.model_copy(update={"rest": "fp16"}))
    whole, less = ((folder / "model.onnx.data").stat().st_size for folder in (dense.out, half))
    kept = (2 * 64 * 8 + 7 * 64) * 4  # the tables of the rotary embedding, and norms, are whole
    assert less == pytest.approx(kept + (whole - kept) / 2, rel=0.01)
    model = copy.deepcopy(dense.held.model)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = module.weight.data.half().float()
    np.testing.assert_allclose(reread(half), in_memory(model), atol=1e-4)


def test_another_model_than_the_one_that_was_built_is_refused(dense: Made, small: Small, tmp_path: Path) -> None:
    held = small.held()
    round_to(held, "model.layers.2.mlp.up_proj", 8, 32, True)
    with pytest.raises(DataError, match=r"another weight for model\.layers\.2\.mlp\.up_proj"):
        held_in(dense.built, tmp_path / "out", held, EXACT)


def test_a_grid_without_a_place_is_refused(dense: Made, small: Small, tmp_path: Path) -> None:
    held, other = small.held(), small.held()
    round_to(other, "lm_head", 8, 32, True)
    held.grids["model.layers.9.mlp.up_proj"] = other.grids["lm_head"]
    with pytest.raises(DataError, match=r"no place for the grid of model\.layers\.9\.mlp\.up_proj"):
        held_in(dense.built, tmp_path / "out", held, EXACT)


@settings(deadline=None, max_examples=30)
@drawn(
    st.integers(0, 9999),
    st.sampled_from([2, 3, 4, 5, 6, 8]),
    st.sampled_from([16, 32, 128]),
    st.booleans(),
    st.integers(1, 80),
)
def test_what_is_packed_is_what_the_runtime_reads(
    seed: int, bits: int, block_size: int, symmetric: bool, inputs: int
) -> None:
    import onnxruntime as ort
    from onnx import helper

    generator = torch.Generator().manual_seed(seed)
    spec = Spec(bits, block_size, symmetric)
    blocks = -(-inputs // block_size)
    ints = torch.randint(0, spec.levels, (6, inputs), generator=generator).to(torch.uint8)
    zeros = torch.randint(0, spec.levels, (6, blocks), generator=generator).to(torch.uint8)
    zeros = torch.full_like(zeros, spec.levels // 2) if symmetric else zeros
    grid = Grid(spec, ints, torch.rand(6, blocks, generator=generator), zeros)
    packed = _nbits.pack(
        [Grid(spec, grid.ints[:2], grid.scales[:2], zeros[:2]), Grid(spec, ints[2:], grid.scales[2:], zeros[2:])]
    )
    tensors = [onnx.numpy_helper.from_array(np.ascontiguousarray(t), n) for n, t in packed.tensors.items()]
    node = helper.make_node(
        "MatMulNBits", ["x", *(t.name for t in tensors)], ["y"], domain="com.microsoft",
        K=inputs, N=6, bits=packed.bits, block_size=block_size, accuracy_level=1,
    )  # fmt: skip
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], tensors),
        opset_imports=[helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    found = ort.InferenceSession(model.SerializeToString()).run(None, {"x": np.eye(inputs, dtype=np.float32)})[0]
    np.testing.assert_allclose(found, grid.values().T.numpy(), rtol=1e-6, atol=1e-6)


def test_a_scale_that_halves_hold_takes_two_bytes() -> None:
    spec = Spec(4, 16, True)
    ints, zeros = torch.zeros(2, 16, dtype=torch.uint8), torch.full((2, 1), 8, dtype=torch.uint8)
    for scale, kind in ((0.25, np.float16), (0.1, np.float32), (1e-9, np.float32), (1e6, np.float32)):
        packed = _nbits.pack([Grid(spec, ints, torch.full((2, 1), scale), zeros)])
        assert packed.tensors["_scales"].dtype == kind
        assert (packed.tensors["_scales"].astype(np.float32) == np.float32(scale)).all()


def test_a_failing_builder_fails_loudly(small: Small, tmp_path: Path) -> None:
    held = small.held()
    source = plain(held, small.tokenizer, tmp_path / "plain")
    (source / "config.json").write_text("{}")
    with pytest.raises(export.ExportFailed, match="exited with 1"):
        export.write_genai(exporter(EXACT), held, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_chat_is_the_same_tokens_to_the_exported_model(small: Small, tmp_path: Path) -> None:
    """Its template is not the dense model's unless it is kept, and then another text would be scored."""
    from transformers import PreTrainedTokenizerFast

    from nightforge.records import Record

    words = copy.deepcopy(small.tokenizer)
    words.chat_template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    words.save_pretrained(tmp_path / "dense")
    (tmp_path / "built").mkdir()
    for name in onnx_genai.FILES:
        source = tmp_path / "dense" / (name if (tmp_path / "dense" / name).exists() else "tokenizer_config.json")
        (tmp_path / "built" / name).write_bytes(source.read_bytes())
    onnx_genai.write(tmp_path / "built", tmp_path / "dense", tmp_path / "out")
    exported = PreTrainedTokenizerFast.from_pretrained(tmp_path / "out", local_files_only=True)
    chat = Record("", "", prompt="a small herb", response="a tall tree")
    assert tokenizer.encode(exported, chat) == tokenizer.encode(words, chat)


def test_a_folder_that_lacks_a_file_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "built/model.onnx").write_bytes(b"")
    with pytest.raises(DataError, match=r"without writing genai_config\.json, model\.onnx\.data"):
        onnx_genai.write(tmp_path / "built", tmp_path, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Qwen2", "Qwen3", "Phi3", "Gemma", "Granite", "Mistral", "SmolLM3"])
def test_other_architectures_are_held_as_well(name: str, small: Small, tmp_path: Path) -> None:
    """Their layers may have biases and norms between, or be one where Llama has two; the table may be apart."""
    import transformers

    torch.manual_seed(1)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": len(small.tokenizer), "initializer_range": 0.2}
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0, "max_position_embeddings": 64}
    if name == "Phi3":  # of another length it would be one with two tables for its positions
        more["original_max_position_embeddings"] = 64
    config = getattr(transformers, f"{name}Config")(**shape, **more, **ends)
    held = Held(getattr(transformers, f"{name}ForCausalLM")(config).eval())
    for layer, module in list(held.model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            round_to(held, layer, 8 if "v_proj" in layer or layer == "lm_head" else 4, 32, "mlp" in layer)
    if not config.tie_word_embeddings:
        table = held.model.get_input_embeddings()
        grid = grids.encode(
            table.weight.detach(), Spec(4, 32, False), *grids.fit(table.weight.detach(), Spec(4, 32, False))
        )
        held.grids["model.embed_tokens"], table.weight.data = grid, grid.values()
    export.write_genai(exporter(EXACT), held, plain(held, small.tokenizer, tmp_path / "plain"), tmp_path / "out")
    wanted = in_memory(held.model)
    np.testing.assert_allclose(reread(tmp_path / "out"), wanted, atol=1e-3 * wanted.std())
    assert onnx_models.integer_share(tmp_path / "out") > 0.9
