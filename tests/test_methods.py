"""The contract of every method in every registry, and proof that each check can fail."""

import importlib
import json
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import Field

from nightforge import catalogue, methods
from nightforge.config import Config
from nightforge.errors import ConfigError, UnknownMethod
from nightforge.evaluate._subject import Scores
from nightforge.records import Record, Reject, content_id, with_text
from tests import contracts, model_contracts

ALL = [(stage, name) for stage in catalogue.stages() for name in methods.names(stage)]


@pytest.mark.parametrize(("stage", "name"), ALL)
def test_every_method_keeps_the_contract(
    stage: str, name: str, wordnet_assets: Path, request: pytest.FixtureRequest
) -> None:
    module = methods.load(stage, name)
    contracts.check_module(stage, name, module)
    contracts.check_pure_source(stage, module)
    if stage == "clean":
        check = contracts.check_record_rule if hasattr(module, "apply") else contracts.check_corpus_rule
        check(module)
    elif stage == "augment":
        contracts.check_augmenter(module, wordnet_assets)
    elif stage == "balance":
        contracts.check_balancer(module)
    elif stage == "ingest":
        healthy = model_contracts.healthy_file(name)
        model_contracts.check_reader(module, healthy, by_line=healthy[:4] != b"PAR1")
    elif stage == "train":
        model_contracts.check_family(module, request.getfixturevalue("subject").loaded.tokenizer)
    elif stage == "evaluate":
        model_contracts.check_metric(module, request.getfixturevalue("subject"))
    elif stage == "compress":
        model_contracts.check_pass(module)
    elif stage == "export":
        model_contracts.check_exporter(module)
    else:
        pytest.fail(f"no contract for nightforge/{stage}/: add a check to tests/")


def test_every_stage_has_methods() -> None:
    assert {stage for stage, _ in ALL} == set(catalogue.stages())


class Knob(Config):
    """A config for the broken methods below."""

    amount: int = Field(ge=0, le=3)
    """How much."""


def broken(**functions: object) -> ModuleType:
    module = ModuleType("broken")
    module.__dict__.update(Config=Knob, SAMPLE=Knob(amount=1), **functions)
    return module


def mutates(record: Record, cfg: Knob) -> Record:
    record.meta["seen"] = True
    return record


def throws_dice(record: Record, cfg: Knob) -> Record | Reject:
    return Reject("unlucky", "") if random.random() < 0.5 else record


def renames(record: Record, cfg: Knob) -> Record:
    return Record(id="other", text=record.text)


def trips_at_its_bound(record: Record, cfg: Knob) -> Record:
    return with_text(record, record.text[:: cfg.amount])


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (mutates, "the input was changed"),
        (throws_dice, "two runs with the same seed differ"),
        (renames, "never the id"),
        (trips_at_its_bound, "slice step cannot be zero"),
    ],
)
def test_the_contract_refuses_an_impure_rule(rule: object, complaint: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=complaint):
        contracts.check_record_rule(broken(apply=rule))


def test_the_contract_refuses_io_in_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaky.py").write_text("def apply(record, cfg):\n    print(open('/etc/hostname').read())\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match=r"calls (print|open)\(\)"):
        contracts.check_pure_source("clean", importlib.import_module("leaky"))


def test_a_dedup_that_drops_both_copies_is_refused() -> None:
    module = broken(
        signature=lambda record, cfg: record.text,
        select=lambda signed, cfg: {
            i: Reject("copy", "") for i, (_, s) in enumerate(signed) if [x for _, x in signed].count(s) > 1
        },
    )
    with pytest.raises(AssertionError, match="the first of two copies stays"):
        contracts.check_corpus_rule(module)


def test_unknown_method_names_the_choices_and_the_file_to_write() -> None:
    with pytest.raises(UnknownMethod, match=r"Did you mean 'length'\?.*write nightforge/clean/lenght\.py"):
        methods.load("clean", "lenght")


def test_a_bad_value_says_which_and_what_came() -> None:
    name = methods.names("clean")[0]
    with pytest.raises(ConfigError, match=r"nonsense: Extra inputs are not permitted \(got 3\)"):
        methods.choose("clean", {"name": name, **methods.load("clean", name).SAMPLE.model_dump(), "nonsense": 3})


def test_listing_a_stage_imports_none_of_its_methods() -> None:
    script = "import sys; from nightforge import methods; print(methods.names('train'), 'torch' in sys.modules)"
    said = subprocess.check_output([sys.executable, "-c", script], cwd=contracts.ROOT, text=True)
    assert said == f"{methods.names('train')} False\n"


def test_the_catalogue_describes_every_value() -> None:
    text = catalogue.describe("clean")
    for name in methods.names("clean"):
        assert f"clean/{name}: " in text
        for field in methods.load("clean", name).Config.model_fields:
            assert f"    {field}: " in text


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Path('x').read_text()", r"calls \.read_text\(\)"),
        ("Path('x').open()", r"calls \.open\(\)"),
        ("os.getenv('HOME')", r"uses os\.getenv"),
        ("os.environ['HOME']", r"uses os\.environ"),
        ("time.time()", r"uses time\.time"),
        ("np.random.rand(3)", r"uses numpy\.random\.rand"),
        ("random.random()", r"uses random\.random"),
        ("shuffle([1])", r"uses random\.shuffle"),
        ("datetime.now()", r"uses datetime\.datetime\.now"),
    ],
)
def test_the_contract_refuses_what_another_hour_or_caller_would_answer(
    line: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"impure_{abs(hash(line))}"
    imports = "import os, random, time\nimport numpy as np\nfrom datetime import datetime\nfrom pathlib import Path\n"
    fine = "rng = random.Random(1), np.random.default_rng(1)\n"
    source = f"{imports}from random import shuffle\n{fine}def apply(record, cfg):\n    return "
    (tmp_path / f"{name}.py").write_text(source + line)
    (tmp_path / f"{name}_not.py").write_text(source + "record")
    monkeypatch.syspath_prepend(tmp_path)
    contracts.check_pure_source("clean", importlib.import_module(f"{name}_not"))
    with pytest.raises(AssertionError, match=complaint):
        contracts.check_pure_source("clean", importlib.import_module(name))


def like(module: ModuleType, **changes: object) -> ModuleType:
    """A method with parts of it broken."""
    other = ModuleType("broken")
    other.__dict__.update(vars(module), **changes)
    return other


@pytest.mark.parametrize(
    ("read", "complaint"),
    [
        (lambda handle, cfg: iter([]), "expected .*tall tree"),
        (lambda handle, cfg: iter([Reject("empty", "")]), "nothing in, nothing out"),
        (lambda handle, cfg: (jsonl_line(line) for line in handle), "Expecting"),
        (lambda handle, cfg: handle.close() or [], "written to or closed|closed file"),
    ],
)
def test_a_broken_reader_is_refused(read: object, complaint: str) -> None:
    module, healthy = methods.load("ingest", "jsonl"), model_contracts.healthy_file("jsonl")
    with pytest.raises((AssertionError, ValueError), match=complaint):
        model_contracts.check_reader(like(module, read=read), healthy, by_line=True)


def jsonl_line(line: bytes) -> Record:
    text = json.loads(line)["text"]
    return Record(id=content_id(text, "a"), text=text, label="a")


def test_a_broken_family_is_refused(subject: Any) -> None:
    family, words = methods.load("train", "causal_lm"), subject.loaded.tokenizer

    def unseeded(cfg: Any, tokenizer: Any) -> Any:
        import torch

        torch.seed()
        return family.build(cfg, tokenizer)

    def sees_padding(model: Any, batch: Any) -> Any:
        nats, tokens = family.loss(model, batch)
        return nats * batch.shape[1], tokens

    for changes, complaint in (
        ({"build": unseeded}, "one seed gave two models"),
        ({"loss": sees_padding}, "padding changed the loss"),
        ({"loss": lambda model, batch: (family.loss(model, batch)[0] / 0, 6)}, "the loss is inf"),
        ({"sample": lambda *a: [[random.randrange(9)], [1]]}, "two runs with the same seed differ"),
    ):
        with pytest.raises(AssertionError, match=complaint):
            model_contracts.check_family(like(family, **changes), words)


def test_a_broken_metric_is_refused(subject: Any) -> None:
    metric = methods.load("evaluate", "bits_per_byte")

    def spoils(given: Any, cfg: Any) -> Scores:
        given.records.append(given.records[0])
        return Scores({"x": 1.0})

    for measure, complaint in (
        (lambda given, cfg: Scores({"x": random.random()}), "two runs with the same seed differ"),
        (lambda given, cfg: Scores({"x": float("nan")}), "differ|not finite"),
        (lambda given, cfg: Scores({"x": {"y": float("inf")}}), "not finite"),
        (lambda given, cfg: Scores({"x": 1.0}, columns={"c": given.nats[:1]}), "a value a record"),
        (spoils, "the subject was changed"),
    ):
        with pytest.raises(AssertionError, match=complaint):
            model_contracts.check_metric(like(metric, measure=measure), subject._replace(records=[*subject.records]))


def test_a_broken_pass_or_exporter_is_refused() -> None:
    weights, exporter = methods.load("compress", "weight_only"), methods.load("export", "onnx_genai")
    for changes, complaint in (
        ({"COMPATIBLE": {"family": {"causal_lm"}}}, "must name each loader"),
        ({"apply": lambda context, cfg: (f"int{random.random()}", {})}, "two runs with the same seed differ"),
        ({"apply": lambda context, cfg: ("int4", {})}, "DID NOT RAISE"),
        ({"least_mb": lambda context, cfg: 0.0}, "must lie between"),
        ({"least_mb": lambda context, cfg: 1e3}, "must lie between"),
    ):
        with pytest.raises((AssertionError, pytest.fail.Exception), match=complaint):
            model_contracts.check_pass(like(weights, **changes))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        model_contracts.check_exporter(like(exporter, write=lambda built, dense, out: out.mkdir()))
    with pytest.raises(AssertionError, match="two runs with the same seed differ"):
        model_contracts.check_exporter(like(exporter, arguments=lambda *a: [str(random.random())]))
