"""An encoder-decoder and its graphs cost the same, say the same, and keep what they share once."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from nightforge import graphs, methods, models, seq2seq_models, tokenizer
from nightforge.compress import rtn
from nightforge.contract import Contract
from nightforge.errors import ConfigError
from nightforge.records import Record, pair_text
from nightforge.train import seq2seq
from tasks import compress_seq2seq, generate_seq2seq, probe, score, shards
from tasks.compressing import CompressConfig, Inputs
from tasks.hashing import size_mb

pytestmark = pytest.mark.slow  # two exports
PAIRS = [
    (f"what is {a}?", f"{a} is a {b}" * (1 + i)) for i, (a, b) in enumerate((("oak", "tree"), ("a heron", "bird")))
]
RECORDS = [
    Record(f"{q}{i}", pair_text(q, a), prompt=q, response=a) for i, (q, a) in enumerate([*PAIRS, *PAIRS, ("why", "so")])
]
SHAPE = seq2seq.SAMPLE.model_copy(update={"vocab": 400})
RECIPES = {
    "same": [{"name": "half_weights", "elements_min": 10**9}],
    "half": [{"name": "half_weights", "elements_min": 256}],
    "int8": [{"name": "int8_weights"}],
}
PARAMS = yaml.safe_load((Path(__file__).parents[2] / "examples/images/params.yaml").read_text(encoding="utf-8"))
CONFIG = CompressConfig.model_validate(PARAMS["compress"] | {"recipes": RECIPES})

BOTH = ("dense", "same")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense model of random weights, two splits, and a folder for each of RECIPES."""
    folder = tmp_path_factory.mktemp("pairs")
    words = tokenizer.train([r.text for r in RECORDS], [], 300, 64)
    torch.manual_seed(0)
    facts = {"family": "seq2seq", "class": seq2seq.CLASS, "context_length": 64}
    models.save(folder / "dense", seq2seq.build(SHAPE, words), words, facts)
    for split in ("calibration", "search"):
        shards.write(folder / "splits" / split, RECORDS)
    inputs = Inputs(CONFIG, Contract.model_validate(PARAMS["contract"]), 17, folder / "dense", folder / "splits", {})
    compressor = compress_seq2seq.Compressor(inputs)
    for name, recipe in CONFIG.recipes.items():
        compressor.check(recipe)
        compressor.write(recipe, folder / name, folder / "kept")
    with pytest.raises(ConfigError, match=r"rtn works on family causal_lm or .*'seq2seq'"):
        compressor.check([methods.choose("compress", {"name": "rtn", **rtn.SAMPLE.model_dump()})])
    return folder


def test_graphs_are_scored_as_the_network_is(project: Path) -> None:
    dense, same, half, int8 = (
        score.score(project / name, project / "splits/search", 50) for name in ("dense", "same", "half", "int8")
    )
    loaded = models.load(project / "dense")
    documents = list(tokenizer.encode_all(loaded.tokenizer, RECORDS))
    np.testing.assert_allclose(dense.nats, seq2seq.nats(loaded.model, documents, 4096, 64), rtol=1e-5)
    np.testing.assert_allclose(same.nats, dense.nats, atol=1e-4, err_msg="other nats than torch")
    np.testing.assert_allclose(same.probes, dense.probes, atol=1e-4)
    assert dense.units.tolist() == [len((r.response or "").encode()) for r in RECORDS]
    for other in (half, int8):
        np.testing.assert_allclose(other.nats, dense.nats, rtol=0.02)
        assert np.abs(other.probes - dense.probes).max() > 0


def test_what_both_graphs_hold_is_stored_once(project: Path) -> None:
    table = SHAPE.vocab * SHAPE.hidden
    loaded = models.load(project / "dense").model
    weights = sum(p.numel() for p in loaded.parameters())
    assert (project / "same" / graphs.SHARED).stat().st_size >= table * 4
    beside = sum((project / "same" / name).stat().st_size for name in ("encode.onnx", "decode.onnx", graphs.SHARED))
    assert weights * 4 < beside < weights * 4 + 60_000, "more than the weights and two graphs"
    shared = (project / "int8" / graphs.SHARED).stat().st_size
    assert table <= shared < table * 2, "the table as integers, the scales of its rows"
    assert size_mb(project / "int8") < size_mb(project / "half") < size_mb(project / "same")
    assert graphs.changed_share(project / "same") == 0
    assert graphs.changed_share(project / "int8") > 0.9


def test_graphs_respond_as_the_network_does_token_by_token(project: Path) -> None:
    dense = models.load(project / "dense").model
    prompt = torch.tensor([[5, 9, 14, 7, 30]])
    wanted = dense.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, min_new_tokens=12, do_sample=False
    )[0, 1:].tolist()
    loaded = seq2seq_models.load(project / "same")
    response = seq2seq_models.respond(loaded.model, prompt[0].tolist(), lambda logits: logits.argmax(dim=-1))
    assert [next(response) for _ in wanted] == wanted
    speed = probe.measure(project / "int8", [[5, 9, 14], [7, 30, 8]], 6)
    assert 0 < speed["latency_ms_p50"] <= speed["latency_ms_p95"] and speed["tokens_per_s"] > 0


def test_it_answers_by_the_command_line_too(project: Path) -> None:
    prompt, one = [5, 9, 14, 7, 30], {"n": 2, "new_tokens": 8}
    greedy = {name: generate_seq2seq.respond(project / name, prompt, **one, temperature=0, seed=1) for name in BOTH}
    assert greedy["dense"] == greedy["same"] and greedy["same"][0] == greedy["same"][1]
    assert all(len(ids) <= 8 for ids in greedy["same"])
    drawn = [generate_seq2seq.respond(project / "same", prompt, **one, temperature=1, seed=s) for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] and drawn[0][1] == drawn[2][0] and drawn[0][0] != drawn[0][1]
