"""The contract of every method in every registry, and proof that each check can fail."""

import importlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import Field

from nightforge import catalogue, methods
from nightforge.config import Config
from nightforge.errors import ConfigError, UnknownMethod
from nightforge.evaluate._subject import Scores
from nightforge.records import Edit, Mark, Record, Reject, content_id
from nightforge.signatures import Signatures
from nightforge.view import View
from tests import (
    adapter_contracts,
    artifact_contracts,
    contracts,
    knowledge_contracts,
    model_contracts,
    network_contracts,
    training_contracts,
)

ALL = [(stage, name) for stage in catalogue.stages() for name in methods.names(stage)]


@pytest.mark.parametrize(("stage", "name"), ALL)
def test_every_method_keeps_the_contract(
    stage: str, name: str, cleaning_assets: Path, request: pytest.FixtureRequest
) -> None:
    module = methods.load(stage, name)
    contracts.check_module(stage, name, module)
    contracts.check_pure_source(stage, module)
    if stage == "clean":
        contracts.check_cleaning_rule(module, cleaning_assets)
    elif stage == "augment":
        contracts.check_augmenter(module, request.getfixturevalue("augment_assets"))
    elif stage == "balance":
        contracts.check_balancer(module)
    elif stage == "ingest":
        healthy = model_contracts.healthy_file(name)
        model_contracts.check_reader(module, healthy, by_line=healthy[:4] != b"PAR1")
    elif stage == "train":
        if module.KIND == "array":
            training_contracts.check_array_family(module)
        else:
            model_contracts.check_family(module, request.getfixturevalue("subject").loaded.tokenizer)
    elif stage == "adapt":
        adapter_contracts.check_adapter(module, module.SAMPLE, [])
    elif stage == "optimize":
        training_contracts.check_optimizer(name, module)
    elif stage == "schedule":
        training_contracts.check_schedule(module)
    elif stage == "initialise":
        training_contracts.check_initialisation(module)
    elif stage == "watch":
        training_contracts.check_watcher(name, module)
    elif stage == "parallel":
        training_contracts.check_parallel(module, request.getfixturevalue("tmp_path"))
    elif stage == "media":
        training_contracts.check_media(name, module)
    elif stage == "evaluate":
        kind = "array_subject" if getattr(module, "KIND", "text") == "array" else "subject"
        model_contracts.check_metric(module, request.getfixturevalue(kind))
    elif stage == "compress":
        if hasattr(module, "least_share"):
            network_contracts.check_pass(module)
        elif hasattr(module, "KIND"):
            model_contracts.check_pass_in_memory(module, request.getfixturevalue("small"))
        else:
            model_contracts.check_pass(module)
    elif stage == "export":
        if hasattr(module, "convert"):
            small, folder = request.getfixturevalue("small"), request.getfixturevalue("tmp_path")
            artifact_contracts.check_artifact(module, small, folder)
        else:
            model_contracts.check_exporter(module)
    elif stage == "facts":
        knowledge_contracts.check_reader(name, module)
    elif stage == "verbalise":
        knowledge_contracts.check_verbaliser(module)
    else:
        pytest.fail(f"no contract for nightforge/{stage}/: add a check to tests/")


def test_every_stage_has_methods() -> None:
    assert {stage for stage, _ in ALL} == set(catalogue.stages())


def test_a_method_without_tests_is_told_where_to_write_them() -> None:
    assert contracts.tested("parallel", "fsdp"), "one file has tests of all that the registry names"
    assert not contracts.tested("clean", "unheard_of") and not contracts.tested("parallels", "fsdp")
    with pytest.raises(AssertionError, match=r"write tests/clean/test_unheard_of\.py"):
        contracts.check_module("clean", "unheard_of", methods.load("clean", "length"))


class Knob(Config):
    """A config for the broken methods below."""

    amount: int = Field(ge=0, le=3)
    """How much."""


def broken(**functions: object) -> ModuleType:
    module = ModuleType("broken_duplicates")
    module.__dict__.update(Config=Knob, SAMPLE=Knob(amount=1), **functions)
    return module


def mutates(view: View, cfg: Knob) -> Iterator[Reject]:
    view.record.meta["seen"] = True
    return iter(())


def throws_dice(view: View, cfg: Knob) -> Iterator[Reject]:
    if random.random() < 0.5:
        yield Reject("unlucky", "")


def says_it_twice(view: View, cfg: Knob) -> Iterator[Reject]:
    yield from (Reject("bad", "here"), Reject("bad", "there"))


def gives_no_name(view: View, cfg: Knob) -> Iterator[Reject]:
    yield Reject("it is bad: very", "")


def marks_infinity(view: View, cfg: Knob) -> Iterator[Mark]:
    yield Mark("score", float("inf"))


def trips_at_its_bound(view: View, cfg: Knob) -> Iterator[Reject]:
    view.text[:: cfg.amount]
    return iter(())


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (mutates, "the input was changed"),
        (throws_dice, "two runs with the same seed differ"),
        (says_it_twice, "a reason is given once"),
        (gives_no_name, "a metric's name"),
        (marks_infinity, "Out of range float"),
        (trips_at_its_bound, "slice step cannot be zero"),
    ],
)
def test_the_contract_refuses_a_broken_filter(rule: object, complaint: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ValueError), match=complaint):
        contracts.check_cleaning_rule(broken(judge=rule), tmp_path)


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda text, cfg: text, "expected an Edit"),
        (lambda text, cfg: Edit(f"{random.random()}"), "two runs with the same seed differ"),
        (lambda text, cfg: Edit(text, {"never": 0}), "was counted 0 times"),
        (lambda text, cfg: Edit(text + "!"), "nothing in, nothing out"),
        (lambda text, cfg: Edit(text + "\ud83d"), "surrogates not allowed"),
        (lambda text, cfg: Edit(text[1:], {"bit by bit": 1}), "a metric's name"),
    ],
)
def test_the_contract_refuses_a_broken_editor(edit: object, complaint: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ValueError), match=complaint):
        contracts.check_cleaning_rule(broken(edit=edit), tmp_path)


def copies(signed: Signatures) -> list[int]:
    """Positions of all signatures that there are more than once."""
    seen = [s for batch in signed.batches() for s in batch.to_pylist()]
    return [at for at, s in enumerate(seen) if seen.count(s) > 1]


@pytest.mark.parametrize(
    ("signature", "select", "complaint"),
    [
        (lambda v: v.text.encode(), lambda s: [(at, Reject("copy", "")) for at in copies(s)], "first of two copies"),
        (lambda v: v.text.encode(), lambda s: [], "two exact copies were planted"),
        (lambda v: v.text.encode(), lambda s: [(at, Reject("copy", "")) for at in copies(s) * 2], "dropped once"),
        (lambda v: v.text.encode(), lambda s: [(len(s), Reject("copy", ""))], "nothing in, nothing out"),
        (lambda v: v.text, lambda s: [], "a signature is bytes"),
    ],
)
def test_the_contract_refuses_a_broken_corpus_rule(signature: Any, select: Any, complaint: str, tmp_path: Path) -> None:
    module = broken(signature=lambda view, cfg: signature(view), select=lambda signed, cfg: select(signed))
    with pytest.raises(AssertionError, match=complaint):
        contracts.check_cleaning_rule(module, tmp_path)


def test_a_rule_is_of_one_kind_and_gets_what_it_prepared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected exactly one of .edit., .judge., or .signature. with .select."):
        contracts.check_cleaning_rule(broken(edit=None, judge=None), tmp_path)
    with pytest.raises(ConfigError, match="it has signature"):
        contracts.check_cleaning_rule(broken(signature=None), tmp_path)
    asked: list[object] = []
    module = broken(
        prepare=lambda cfg, assets: (cfg.amount, assets), judge=lambda view, cfg, state: asked.append(state)
    )
    with pytest.raises(TypeError):  # judge gave None
        contracts.check_cleaning_rule(module, tmp_path)
    assert asked == [(1, tmp_path)]


def test_the_contract_refuses_io_in_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaky.py").write_text("def apply(record, cfg):\n    print(open('/etc/hostname').read())\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match=r"calls (print|open)\(\)"):
        contracts.check_pure_source("clean", importlib.import_module("leaky"))


def test_the_example_of_the_documents_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (contracts.ROOT / "docs/methods.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "shouting.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("shouting")
    contracts.check_pure_source("clean", module)
    contracts.check_cleaning_rule(module, tmp_path)
    shout = Record(id="1", text="HELLO there YOU")
    assert [why.evidence for why in module.judge(View(shout), module.SAMPLE)] == ["62% of 13 letters are capitals"]


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
    assert "<module" not in catalogue.describe("compress"), "methods inside methods are told as params.yaml names them"


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

    def sees_padding(model: Any, tensors: Any, cfg: Any, at: Any) -> Any:
        nats, logged = family.loss(model, tensors, cfg, at)
        return nats * tensors["ids"].shape[1], logged

    for changes, complaint in (
        ({"build": unseeded}, "one seed gave two models"),
        ({"loss": sees_padding}, "padding changed the loss"),
        ({"loss": lambda *given: (family.loss(*given)[0] / 0, {})}, "the loss is inf"),
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


def test_a_broken_pass_or_exporter_is_refused(small: Any) -> None:
    graphs, exporter = methods.load("compress", "half_weights"), methods.load("export", "onnx_genai")
    for changes, complaint in (
        ({"COMPATIBLE": {"family": {"vae"}}}, "must name each loader"),
        ({"check": lambda context, cfg: None}, "DID NOT RAISE"),
        ({"rewrite": lambda graph, feeds, cfg: graph}, "makes a graph smaller"),
        ({"least_mb": lambda context, cfg: 0.0}, "must lie between"),
        ({"least_mb": lambda context, cfg: 1e3}, "must lie between"),
    ):
        with pytest.raises((AssertionError, pytest.fail.Exception), match=complaint):
            model_contracts.check_pass(like(graphs, **changes))
    weights = methods.load("compress", "rtn")
    for changes, complaint in (
        ({"KIND": "magic"}, "are of Kind"),
        ({"check": lambda context, cfg: None}, "DID NOT RAISE"),
        ({"least": lambda tensors, cfg: {}}, "no tensor larger"),
        ({"apply": lambda held, given, cfg: held}, "no effect"),
    ):
        with pytest.raises((AssertionError, pytest.fail.Exception), match=complaint):
            model_contracts.check_pass_in_memory(like(weights, **changes), small)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        model_contracts.check_exporter(like(exporter, write=lambda built, dense, out: out.mkdir()))
    with pytest.raises(AssertionError, match="two runs with the same seed differ"):
        model_contracts.check_exporter(like(exporter, arguments=lambda *a: [str(random.random())]))


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As `nightforge methods | head`: a line of Python's stack is no answer to it."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "nightforge.cli", "methods"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
