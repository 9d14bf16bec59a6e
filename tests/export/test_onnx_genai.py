"""A small Llama, exported offline: the same logits in ONNX Runtime, the same bytes twice, and it generates."""

import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from nightforge import models, onnx_models
from nightforge.compress import weight_only
from nightforge.errors import DataError
from nightforge.export import onnx_genai
from nightforge.methods import Method
from tasks import export
from tasks.hashing import sha256_tree

EXPORTER = Method("export", "onnx_genai", onnx_genai, onnx_genai.SAMPLE)
ROOT = Path(__file__).parent.parent.parent
IDS = np.random.default_rng(0).integers(3, 250, (3, 24))


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from nightforge import tokenizer

    torch.manual_seed(0)
    words = tokenizer.train(["a tall tree", "a small herb with leaves"] * 20, ["plant"], 300, 64)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    config = LlamaConfig(
        vocab_size=len(words),
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.1,
        **shape,
        **ends,
    )
    folder = tmp_path_factory.mktemp("dense")
    models.save(folder, LlamaForCausalLM(config), words, {"family": "causal_lm"})
    return folder


def test_fp32_gives_the_logits_of_torch_also_past_the_padding(dense: Path, tmp_path: Path) -> None:
    export.in_fresh_process(EXPORTER, dense, tmp_path / "fp32", "fp32", {})
    model, _ = models.read_transformers(dense)
    expected = models.logits_fn(model)(IDS, np.ones_like(IDS)).numpy()
    found = onnx_models.logits_fn(tmp_path / "fp32")(IDS, np.ones_like(IDS))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert onnx_models.integer_share(tmp_path / "fp32") == 0


def test_int4_is_small_equal_on_a_rerun_and_generates(dense: Path, tmp_path: Path) -> None:
    import onnxruntime_genai as og

    precision, options = weight_only.apply(
        weight_only.Context("causal_lm", "transformers", True, {weight_only.EMBEDDING: (300, 64)}), weight_only.SAMPLE
    )
    for name in ("first", "second"):
        export.in_fresh_process(EXPORTER, dense, tmp_path / name, precision, options)
    assert sha256_tree(tmp_path / "first") == sha256_tree(tmp_path / "second")
    stamp = onnx.load(tmp_path / "first/model.onnx", load_external_data=False).producer_version
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert head[:7] not in stamp, "the model's bytes must not depend on the commit of this repository"
    assert sorted(p.name for p in (tmp_path / "first").iterdir()) == sorted(onnx_genai.FILES)
    assert (tmp_path / "first/tokenizer.json").read_bytes() == (dense / "tokenizer.json").read_bytes()
    assert onnx_models.integer_share(tmp_path / "first") > 0.95
    runtime = og.Model(str(tmp_path / "first"))
    params = og.GeneratorParams(runtime)
    params.set_search_options(do_sample=False, min_length=12, max_length=12)
    generator = og.Generator(runtime, params)
    generator.append_tokens([[2, 40, 50]])
    while not generator.is_done():
        generator.generate_next_token()
    assert len(generator.get_sequence(0)) == 12


def test_a_failing_builder_fails_loudly(dense: Path, tmp_path: Path) -> None:
    with pytest.raises(export.ExportFailed, match=r"exited with 1.*mixed_precision|algo|nonsense"):
        export.in_fresh_process(EXPORTER, dense, tmp_path / "out", "int4", {"algo_config": "nonsense"})
    assert not (tmp_path / "out").exists()


def test_a_chat_is_the_same_tokens_to_the_exported_model(dense: Path, tmp_path: Path) -> None:
    """Its template is not the dense model's unless it is kept, and then another text would be scored."""
    from transformers import PreTrainedTokenizerFast

    from nightforge import tokenizer
    from nightforge.records import Record

    words = models.read_transformers(dense)[1]
    words.chat_template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    words.save_pretrained(tmp_path / "dense")
    (tmp_path / "built").mkdir()
    for name in onnx_genai.FILES:
        source = dense / name if (dense / name).exists() else dense / "config.json"
        (tmp_path / "built" / name).write_bytes(source.read_bytes())
    onnx_genai.write(tmp_path / "built", tmp_path / "dense", tmp_path / "out")
    exported = PreTrainedTokenizerFast.from_pretrained(tmp_path / "out", local_files_only=True)
    chat = Record("", "", prompt="a small herb", response="a tall tree")
    assert tokenizer.encode(exported, chat) == tokenizer.encode(words, chat)


def test_a_folder_that_lacks_a_file_is_not_kept(dense: Path, tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "built/model.onnx").write_bytes(b"")
    with pytest.raises(DataError, match=r"without writing genai_config\.json, model\.onnx\.data"):
        onnx_genai.write(tmp_path / "built", dense, tmp_path / "out")
