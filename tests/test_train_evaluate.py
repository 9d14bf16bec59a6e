"""The two stages on a small corpus: killed and resumed, fine-tuned from a folder, evaluated to the end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from nightforge import models, tokenizer
from nightforge.errors import ConfigError, DataError, SourceMoved
from nightforge.knowledge import Cloze
from nightforge.records import Record, content_id, pair_text
from nightforge.train import causal_lm
from tasks import checkpoint, evaluate, knowledge, prepared, shards, train
from tasks.hashing import sha256_file, sha256_tree

ROOT = Path(__file__).parent.parent
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
SHAPE = {"hidden": 64, "layers": 2, "heads": 2, "kv_heads": 1, "ffn": 64, "vocab": 320, "context": 48, "tied": False}
FAMILY = {k: v for k, v in PARAMS["train"]["family"].items() if k != "name"} | SHAPE


def config(**loop: Any) -> train.TrainConfig:
    values = json.loads(json.dumps(PARAMS["train"]))
    values["family"] |= SHAPE
    small = {"steps": 24, "batch_size": 160, "eval_every": 6, "precision": "fp32", "threads": 1}
    values["loop"]["optimizer"]["lr"] = loop.pop("lr", 0.004)
    values["loop"] |= small | loop
    return train.TrainConfig(**values | {"eval_documents": 8})


def evaluation(**changes: Any) -> evaluate.EvaluateConfig:
    values = json.loads(json.dumps(PARAMS["evaluate"]))
    small = {"threads": 1, "speed_prompts": 2, "speed_new_tokens": 4}
    values["bootstrap"]["resamples"] = 200
    next(m for m in values["metrics"] if m["name"] == "diversity").update(texts_per_label=3, new_tokens=12)
    return evaluate.EvaluateConfig(**values | small | changes)


def told(project: Path, texts: list[str], names: list[str], questions: list[Cloze]) -> None:
    """What the stage `knowledge` hands to training and evaluation."""
    shards.write(project / "data/knowledge", [Record(id=content_id(t), text=t) for t in texts])
    with shards.Shards(project / "data/entity_vectors", knowledge.ENTITIES) as out:
        for name, vector in zip(names, np.eye(len(names)).tolist(), strict=True):
            out.add({"name": name, "vector": vector})
    with shards.Shards(project / "data/cloze", knowledge.CLOZE) as out:
        for question in questions:
            out.add(question._asdict())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    texts = [
        (f"a {size} {kind} of the {place}", label)
        for size in ("tall", "small", "rare", "common")
        for kind, label in (("tree", "plant"), ("herb", "plant"), ("bird", "animal"))
        for place in ("tropics", "Alps", "far north", "western coast of America")
    ]
    records = [Record(id=content_id(t, label), text=t, label=label) for t, label in texts]
    shards.write(tmp_path / "data/balanced", records[:36])
    shards.write(tmp_path / "data/splits/validation", records[36:])
    told(tmp_path, [], [], [])
    (tmp_path / "base.json").write_text('{"from": "scratch"}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(project: Path, cfg: train.TrainConfig, name: str) -> tuple[Path, Any]:
    for folder in ("work", "out"):
        (project / name / folder).mkdir(parents=True, exist_ok=True)
    out = project / name / "out"
    balanced, splits, *more = (project / "data" / p for p in ("balanced", "splits", "knowledge", "entity_vectors"))
    deps, folders = {p.name: p for p in more}, (out / "dense", project / name / "work", out / "plots")
    measured = train.run(cfg, 17, project / "base.json", balanced, splits, deps, *folders)
    return out, measured


def inputs(project: Path) -> list[Path]:
    return [project / "base.json", *(project / "data" / p for p in ("splits", "balanced", "knowledge", "cloze"))]


def test_epochs_are_counted_of_told_facts_and_of_the_other_rows(project: Path) -> None:
    """First: the told rows' own epochs beside those of the others; mixed: both are passed over as often."""
    told(project, [f"Oslo lies in Norway, {i} times" for i in range(4)], [], [])
    first = config().model_copy(update={"knowledge": prepared.Told(order="first", first_share=0.25)})
    out, (got, _) = trained(project, first, "first")
    made = [int(line.split(",")[-1]) for line in (out / "plots/steps.csv").read_text().splitlines()[1:]]
    words = models.load(out / "dense").tokenizer
    main, early = (
        sum(len(document.ids) - 1 for document in tokenizer.encode_all(words, shards.read(project / "data" / name)))
        for name in ("balanced", "knowledge")
    )
    assert got["told_epochs"] == pytest.approx(sum(made[:6]) / early)
    assert got["epochs"] == pytest.approx(sum(made[6:]) / main)
    _, (mixed, _) = trained(project, config(), "mixed")
    assert mixed["told_epochs"] == mixed["epochs"] == pytest.approx(mixed["units"] / (main + early))
    told(project, [], [], [])
    assert trained(project, config(steps=2), "none")[1].metrics["told_epochs"] == 0


@pytest.mark.parametrize("entities", [60, 400])
def test_entities_that_the_vocabulary_has_no_room_for_are_refused(project: Path, entities: int) -> None:
    told(project, ["Oslo lies in Norway"], [f"Entity {i}" for i in range(entities)], [])
    with pytest.raises(
        ConfigError, match=rf"vocab: expected 26\d or more beside the {entities} tokens of entities, got 320"
    ):
        trained(project, config(steps=1), "full")


@pytest.mark.slow
def test_told_facts_are_learnt_in_words_never_told(project: Path) -> None:
    """Mixed or first, facts that training told are found again in another phrasing, those held out at chance."""
    names = [f"{a}{b}o" for a in "bdfgkl" for b in "aeiou"]
    colours = ["red", "green", "blue", "grey"]
    facts = [(name, colours[i % 4]) for i, name in enumerate(names)]
    texts = [p.format(n, c) for n, c in facts[:24] for p in ("The hue of {0} is {1}.", "{0} has hue {1}.", "{0}: {1}")]
    questions = [
        Cloze("hue", [f"{n} hue is {x}" for x in [c, *(x for x in colours if x != c)]], i < 24, "", None)
        for i, (n, c) in enumerate(facts)
    ]
    told(project, texts, names[:24], questions)
    long = config(steps=500, batch_size=400, eval_every=250, lr=0.01)
    for order in ("mixed", "first"):
        cfg = long.model_copy(update={"knowledge": prepared.Told.model_validate({"order": order, "first_share": 0.9})})
        out, _ = trained(project, cfg, order)
        words = models.load(out / "dense").tokenizer
        assert words.tokenize("bao") == ["bao"] and len(words) <= SHAPE["vocab"]
        got, _ = evaluate.run(evaluation(), 17, out / "dense", *inputs(project), project / f"{order}-e")
        assert got["cloze"]["told"]["chance"] == 0.25
        assert got["cloze"]["told"]["after"]["low"] > 0.25, (order, got["cloze"])
        assert got["cloze"]["held_out"]["facts"] == 6 and "before" not in got["cloze"]["told"]


def test_training_twice_gives_the_same_bytes(project: Path) -> None:
    one, first = trained(project, config(), "one")
    two, second = trained(project, config(), "two")
    assert sha256_tree(one) == sha256_tree(two)
    assert first.metrics == second.metrics
    assert first.metrics["steps"] == 24 and first.metrics["stopped_early"] == 0
    lines = (one / "plots/steps.csv").read_text().splitlines()
    assert lines[0] == "step,loss,lr,grad_norm,units" and len(lines) == 25
    assert first.metrics["units"] == sum(int(x.split(",")[-1]) for x in lines[1:])
    assert len((one / "plots/validation.csv").read_text().splitlines()) == 5
    for file in (one / "plots").glob("*.csv"):  # the report and DVC draw every column
        assert all(float(cell) == float(cell) for line in file.read_text().splitlines()[1:] for cell in line.split(","))
    assert list(Path(".nightforge/tensorboard/train").rglob("events.*"))
    assert models.load(one / "dense").card["precision"] == "fp32"


@pytest.mark.slow
def test_killed_and_run_again_is_the_uninterrupted_run(project: Path) -> None:
    """SIGKILL in the middle of training, in a process of its own."""
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "import test_train_evaluate as t\n"
        "t.trained(Path('.'), t.config(steps=400, eval_every=5), 'killed')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(ROOT), str(ROOT / "tests")], cwd=project)
    work = project / "killed/work"
    until = time.monotonic() + 60
    while not checkpoint.latest(work) and child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and checkpoint.latest(work)
    cfg = config(steps=400, eval_every=5)
    resumed, measured = trained(project, cfg, "killed")
    assert 0 < measured.speed["resumed_from_step"] < 400
    whole, uninterrupted = trained(project, cfg, "whole")
    assert sha256_tree(resumed) == sha256_tree(whole)
    assert measured.metrics == uninterrupted.metrics
    assert not checkpoint.latest(work)


def test_fine_tuning_a_local_folder(project: Path) -> None:
    words = tokenizer.train(["an older corpus of other words, tall and small"], {"animal"}, 300, 32)
    torch.manual_seed(1)
    shape = causal_lm.Config(**FAMILY | {"context": 32})
    folder = project / "base"
    model = causal_lm.build(shape, words)
    model.resize_token_embeddings(len(words), mean_resizing=False)  # none to spare, as a model from elsewhere
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    files = {p.name: sha256_file(p) for p in folder.iterdir()}
    (project / "base.json").write_text(json.dumps({"folder": "base", "files": files}))
    cfg = config().model_copy(update={"model": "base"})
    out, measured = trained(project, cfg, "tuned")
    loaded = models.load(out / "dense")
    assert loaded.context == 32  # the shorter of the model's and the config's
    assert len(loaded.tokenizer) == len(words) + 1  # <|label:plant|>; the others were there
    assert loaded.tokenizer.get_vocab().items() > words.get_vocab().items()
    assert measured.metrics["parameters"] == sum(p.numel() for p in model.parameters()) + 2 * 64
    curve = [float(x.split(",")[1]) for x in (out / "plots/validation.csv").read_text().splitlines()[1:]]
    assert curve[-1] < curve[0]
    (folder / "config.json").write_text("{}")
    with pytest.raises(SourceMoved, match="nightforge snapshot"):
        trained(project, cfg, "moved")


def test_an_adapted_model_with_new_tokens_ends_as_a_plain_one(project: Path) -> None:
    words = tokenizer.train(["an older corpus of other words, tall and small"], {"animal"}, 300, 32)
    torch.manual_seed(1)
    model = causal_lm.build(causal_lm.Config(**FAMILY | {"context": 32}), words)
    model.save_pretrained(project / "base")
    words.save_pretrained(project / "base")
    (project / "base.json").write_text(json.dumps({"folder": "base", "files": {}}))
    lora = {"name": "lora", "rank": 4, "alpha": 8, "dropout": 0.1, "targets": "all-linear", "dora": False}
    grown = {"model": "base", "adapter": lora, "expand": {"tokens": 12, "min_count": 3}}
    cfg = train.TrainConfig.model_validate(config().model_dump() | grown)
    out, measured = trained(project, cfg, "adapted")
    got = measured.metrics
    assert got["expansion"]["tokens"] == 12 and 0 < got["trained_parameters"] < got["parameters"]
    assert got["expansion"]["after"]["tokens_per_byte"] < got["expansion"]["before"]["tokens_per_byte"]
    plain = models.load(out / "dense").model.state_dict()
    before = model.state_dict()
    assert plain.keys() == before.keys()
    kept = [k for k in before if "proj" not in k and "embed" not in k and "lm_head" not in k]
    assert kept and all(torch.equal(plain[k], before[k]) for k in kept)
    rows = len(words)  # behind these are rows to spare
    assert torch.equal(plain["model.embed_tokens.weight"][:rows], before["model.embed_tokens.weight"][:rows])
    again, _ = trained(project, cfg, "again")
    assert sha256_tree(out) == sha256_tree(again)


def pairs(project: Path) -> None:
    """Questions and answers in the place of plain texts."""
    every = [*shards.read(project / "data/balanced"), *shards.read(project / "data/splits/validation")]
    asked = [f"What of {r.text.split()[-1]}?" for r in every]
    records = [
        Record(id=r.id, text=pair_text(q, r.text), prompt=q, response=r.text, label=r.label)
        for q, r in zip(asked, every, strict=True)
    ]
    shards.write(project / "data/balanced", records[:36])
    shards.write(project / "data/splits/validation", records[36:])


SEQ2SEQ = {
    "name": "seq2seq", "hidden": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "ffn": 64, "dropout": 0.0,
    "label_smoothing": 0.0, "vocab": 320, "context": 64,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", ["causal_lm", "seq2seq"])
def test_pairs_are_trained_and_evaluated_on_their_responses(project: Path, family: str) -> None:
    pairs(project)
    chosen = {"family": SEQ2SEQ} if family == "seq2seq" else {"packing": True}
    cfg = train.TrainConfig.model_validate(config(steps=40).model_dump() | chosen)
    out, measured = trained(project, cfg, family)
    assert measured.metrics["rows"] <= 36 and measured.metrics["documents_cut"] == measured.metrics["rows_mute"] == 0
    curve = [float(x.split(",")[1]) for x in (out / "plots/validation.csv").read_text().splitlines()[1:]]
    assert min(curve) < curve[0]
    got, speed = evaluate.run(evaluation(), 17, out / "dense", *inputs(project), project / "e")
    table = pq.read_table(project / "e/scores.parquet").to_pydict()
    answers = {r.id: r.response for r in shards.read(project / "data/splits/validation")}
    assert table["bytes"] == [len(answers[i].encode()) for i in table["id"]]
    assert got["bpb"]["value"] == pytest.approx(sum(table["nats"]) / sum(table["bytes"]) / 0.6931471805599453)
    assert speed["latency_ms_p50"] > 0
    shown = json.loads((project / "e/samples.json").read_text())
    assert all("What of" in sample["prompt"] for sample in shown)
    assert "What of" in next((out / "plots").rglob("*samples.txt")).read_text()


def test_a_starting_model_that_could_not_be_compressed_is_refused_at_once(project: Path) -> None:
    (project / "gpt2").mkdir()
    (project / "gpt2/config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    (project / "base.json").write_text('{"folder": "gpt2", "files": {}}')
    (project / "dvc.yaml").write_text("stages: {train: {}, compress: {}}")
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM.*got GPT2LMHeadModel.*train\.model"):
        trained(project, config().model_copy(update={"model": "gpt2"}), "gpt2")


def test_a_run_that_fails_leaves_its_curves_with_the_step_that_failed(project: Path) -> None:
    with pytest.raises(DataError, match=r"step 1 has loss .* and gradient norm inf") as failed:
        trained(project, config(l1=3e38), "bad")
    left = project / ".nightforge/failed/train"
    assert (left / "steps.csv").read_text().splitlines()[-1].endswith(",nan,inf,0")
    assert (left / "error.txt").read_text() == f"{failed.value}\n"


def test_another_starting_model_than_recorded_is_refused(project: Path) -> None:
    with pytest.raises(SourceMoved, match=r"records 'scratch', params\.yaml names 'elsewhere'"):
        train.check_base(project / "base.json", "elsewhere")


@pytest.mark.slow
def test_evaluate_writes_scores_samples_and_figures(project: Path) -> None:
    out, _ = trained(project, config(), "one")
    splits = project / "data/splits"
    runs = [
        evaluate.run(evaluation(), 17, out / "dense", *inputs(project), project / name) for name in ("first", "second")
    ]
    got, speed = runs[0]
    assert sha256_tree(project / "first") == sha256_tree(project / "second")
    assert got == runs[1].metrics
    table = pq.read_table(project / "first/scores.parquet").to_pydict()
    assert table.keys() == {"id", "document", "label", "nats", "tokens", "bytes", "ngram_nats"}
    # early stopping looked at every second of the 12 documents (8 were asked for)
    assert table["id"] == [r.id for r in shards.read(splits / "validation")][1::2]
    assert models.card(out / "dense")["watched_documents"] == got["documents_watched"] == got["documents"] == 6
    assert got["dense_sha256"] == sha256_tree(out / "dense")
    assert got["bpb"]["value"] == pytest.approx(sum(table["nats"]) / sum(table["bytes"]) / 0.6931471805599453)
    assert got["bpb"]["low"] <= got["bpb"]["value"] <= got["bpb"]["high"]
    gain = (sum(table["ngram_nats"]) - sum(table["nats"])) / sum(table["bytes"]) / 0.6931471805599453
    assert got["gain_over_ngram_bpb"]["value"] == pytest.approx(gain)
    assert {s["label"] for s in json.loads((project / "first/samples.json").read_text())} == {"plant", "animal"}
    assert 0 < speed["latency_ms_p50"] <= speed["latency_ms_p95"] and speed["peak_memory_mb"] > 50
    json.dumps([got, speed], allow_nan=False)


def test_two_metrics_that_write_one_figure_are_refused(project: Path) -> None:
    out, _ = trained(project, config(steps=1), "one")
    twice = evaluation(metrics=[PARAMS["evaluate"]["metrics"][1]] * 2)
    with pytest.raises(ConfigError, match="ngram_gain and ngram_gain both write 'ngram_order'"):
        evaluate.run(twice, 17, out / "dense", *inputs(project), project / "e")
