"""What every method must keep, checked over the registry: a new method is tested before its author wrote a test.

Each `check_*` takes a module and raises AssertionError with what was expected and what came.
"""

import ast
import copy
import inspect
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import annotated_types
import numpy as np

from nightforge.config import Config
from nightforge.records import Record, Reject, content_id

ROOT = Path(__file__).parent.parent

IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
IMPURE_MODULES = {"prefect", "dvc", "great_expectations", "subprocess", "socket", "requests", "httpx", "urllib"}
FILE_METHODS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir", "touch", "rename"}
OUTSIDE = re.compile(
    r"os\.(environ|getenv|getcwd|urandom)|time\.\w*time\w*|time\.(perf_counter|monotonic)\w*|uuid\.uuid[14]|secrets\.\w+"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)"
    r"|random\.(?!Random$)[a-z]\w*|numpy\.random\.(?!default_rng$|(Generator|SeedSequence|PCG64)$)\w+"
)
"""What another machine, another hour or another caller answers otherwise; seeded generators of one's own are fine."""
READS_AND_WRITES = {"ingest", "export", "compress"}
"""Stages whose methods touch the handles and folders that are passed in."""


def record(text: str, label: str | None = "plant", **meta: Any) -> Record:
    return Record(id=content_id(text, label), text=text, label=label, source=f"test#{content_id(text)}", meta=meta)


RECORDS = [
    record("a tall perennial herb with showy flowers, native to the Mediterranean"),
    record("any of various large evergreen trees", "plant", document="n1", tags=["x", {"y": [1]}]),
    record("a meal eaten at noon, often with bread and soup", "food"),
    record("naïve café — 漢字 and עברית, emoji 👩‍🚀🌱 and zero\u200bwidth", "food"),
    record("Ａ fullwidth line\nwith\ttabs\n\nand  double spaces", "body"),
    record("x", "shape"),
    record("call me at +44 20 7946 0958 or mail jane.doe@example.org", "event"),
    record("the the the the the the the the the the", "time"),
    record("a line without a label", None),
]
EMPTY = record("", "plant")


def check_module(stage: str, name: str, module: ModuleType) -> None:
    """A docstring that says what it does, a Config with every field described and none defaulted, a SAMPLE of it."""
    assert (module.__doc__ or "").strip(), f"{stage}/{name}: say what it does, and name the source of the method"
    assert issubclass(module.Config, Config) and module.Config is not Config, f"{stage}/{name}: needs its own Config"
    assert isinstance(module.SAMPLE, module.Config), f"{stage}/{name}: SAMPLE must be a Config of this module"
    for field, info in module.Config.model_fields.items():
        assert info.description, f"{stage}/{name}: Config.{field} needs a docstring: meaning, unit, bounds"
        assert info.is_required(), f"{stage}/{name}: Config.{field} has a default; values live in params.yaml"
    tests = [*(ROOT / "tests" / stage).glob(f"test_*{name}*.py")]
    assert tests, f"{stage}/{name}: write tests/{stage}/test_{name}.py"


def check_pure_source(stage: str, module: ModuleType) -> None:
    """No I/O, no environment, no clock, no global random state in the source."""
    tree = ast.parse(inspect.getsource(module))
    known = dict(_imported(tree))
    for node in ast.walk(tree):
        at = f"{module.__name__}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            bad = {n.split(".")[0] for n in names} & IMPURE_MODULES
            assert not bad, f"{at}: imports {bad}"
        if stage not in READS_AND_WRITES and isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                assert node.func.id not in IMPURE_CALLS, f"{at}: calls {node.func.id}()"
            elif isinstance(node.func, ast.Attribute):
                assert node.func.attr not in FILE_METHODS, f"{at}: calls .{node.func.attr}()"
        if isinstance(node, ast.Attribute | ast.Name):
            name = _dotted(node, known)
            assert not OUTSIDE.fullmatch(name), f"{at}: uses {name}"
        assert not isinstance(node, ast.Global), f"{at}: writes a global"


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name in this file, what it stands for) of each import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                (a.asname or a.name.split(".")[0], a.name if a.asname else a.name.split(".")[0]) for a in node.names
            )
        elif isinstance(node, ast.ImportFrom):
            yield from ((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)


def _dotted(node: ast.expr, known: dict[str, str]) -> str:
    """`np.random.rand` as numpy.random.rand; what does not begin at an import is nothing."""
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.Attribute) and (begun := _dotted(node.value, known)):
        return f"{begun}.{node.attr}"
    return ""


def twice(run: Callable[[], Any]) -> Any:
    """Run under two states of the global random generators; the results must be equal."""
    results = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        if torch := sys.modules.get("torch"):
            torch.manual_seed(seed)
        results.append(run())
    assert results[0] == results[1], f"two runs with the same seed differ: {results[0]!r} and {results[1]!r}"
    return results[0]


def unmutated(run: Callable[[list[Record]], Any], records: list[Record] | None = None) -> Any:
    """Run on a copy of the records and assert that it is as it was afterwards."""
    given = copy.deepcopy(RECORDS if records is None else records)
    before = copy.deepcopy(given)
    result = run(given)
    assert given == before, f"the input was changed: {[(a, b) for a, b in zip(before, given, strict=True) if a != b]}"
    return result


def bounds(config: Config) -> Iterator[Config]:
    """The config with each numeric field at each of its inclusive bounds."""
    for field, info in type(config).model_fields.items():
        for limit in info.metadata:
            at = getattr(limit, "ge", None) if isinstance(limit, annotated_types.Ge) else getattr(limit, "le", None)
            if at is not None:
                values = config.model_dump() | {field: type(getattr(config, field) or at)(at)}
                try:
                    yield type(config)(**values)
                except ValueError:
                    continue  # two fields bound each other, such as min ≤ max


def check_record_rule(module: ModuleType) -> None:
    """apply(record, cfg) → Record | Reject: the same twice, no mutation, empty and unicode text, every bound."""
    for cfg in [module.SAMPLE, *bounds(module.SAMPLE)]:
        results = unmutated(lambda rs, cfg=cfg: twice(lambda: [module.apply(r, cfg) for r in [*rs, EMPTY]]))
        for given, result in zip([*RECORDS, EMPTY], results, strict=True):
            assert isinstance(result, Record | Reject), f"expected a Record or a Reject, got {result!r}"
            if isinstance(result, Record):
                assert result.id == given.id, "a rule may change the text, never the id"
            else:
                assert result.reason.isidentifier(), f"a reason is a metric's name, got {result.reason!r}"


def check_corpus_rule(module: ModuleType) -> None:
    """signature + select: positions of the input only, never all copies of a text, the same twice, no mutation."""
    for cfg in [module.SAMPLE, *bounds(module.SAMPLE)]:

        def run(records: list[Record], cfg: Config = cfg) -> dict[int, Reject]:
            signed = [(r.id, module.signature(r, cfg)) for r in records]
            return dict(module.select(signed, cfg))

        assert run([]) == {}, "nothing in, nothing out"
        assert run([RECORDS[0]]) == {}, "one record is no duplicate"
        doubled = [*RECORDS, RECORDS[0], RECORDS[3]]
        rejects = unmutated(lambda rs: twice(lambda: run(rs)), doubled)
        assert set(rejects) <= set(range(len(doubled)))
        kept = {r.text for i, r in enumerate(doubled) if i not in rejects}
        assert {r.text for r in (RECORDS[0], RECORDS[3])} <= kept, "the first of two copies stays"
        assert len(rejects) >= 2, "two exact copies were planted"


def check_augmenter(module: ModuleType, assets: Path) -> None:
    """vary(record, cfg, rng, assets): same label, a parent, another text; the same for the same seed."""
    for given in [*RECORDS, EMPTY]:

        def run(records: list[Record], given: Record = given) -> list[Record]:
            return list(module.vary(records[0], module.SAMPLE, random.Random(7), assets))

        for variant in unmutated(lambda rs: twice(lambda: run(rs)), [given]):
            assert variant.label == given.label
            assert variant.meta["parent"] == given.id
            assert variant.text != given.text
            assert variant.id != given.id


def check_balancer(module: ModuleType) -> None:
    """resample(labels, features, cfg, rng): indices into the input; one class and one row are no error."""
    for labels in (["a"] * 40 + ["b"] * 5 + ["c"], ["a"] * 3, ["a"], []):
        for cfg in [module.SAMPLE, *bounds(module.SAMPLE)]:
            given = list(labels)
            picked = twice(
                lambda cfg=cfg, given=given: [
                    int(i) for i in module.resample(given, None, cfg, np.random.default_rng(3))
                ]
            )
            assert given == labels, "the input was changed"
            assert all(0 <= i < len(labels) for i in picked)
            assert {labels[i] for i in picked} == set(labels), "no label may vanish"
