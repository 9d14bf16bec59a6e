"""The contract of every method in every registry, and proof that each check can fail."""

import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import Field

from nightforge import catalogue, methods
from nightforge.config import Config
from nightforge.errors import ConfigError, UnknownMethod
from nightforge.records import Record, Reject, with_text
from tests import contracts

ALL = [(stage, name) for stage in catalogue.stages() for name in methods.names(stage)]


@pytest.mark.parametrize(("stage", "name"), ALL)
def test_every_method_keeps_the_contract(stage: str, name: str, wordnet_assets: Path) -> None:
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
    import importlib

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
