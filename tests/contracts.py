"""What every method must keep, checked over the registry: a new method is tested before its author wrote a test.

Each `check_*` takes a module and raises AssertionError with what was expected and what came.
"""

import ast
import copy
import inspect
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import annotated_types
import numpy as np

from nightforge.config import Config
from nightforge.records import Edit, Mark, Record, Reject, chat_text, content_id, pair_text
from nightforge.signatures import Held
from nightforge.view import View
from tasks.clean_rules import kind
from tests import media_samples as media

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
READS_AND_WRITES = {"ingest", "export", "compress", "facts"}
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
TURNS = [{"role": "user", "content": "what is a tree?"}, {"role": "assistant", "content": "a tall plant"}]
HARD = [
    record(" \n\t\n "),
    record("\u0000 a NUL, \r\n and a lone \r"),
    record("word " * 2_000),
    record("a" * 20_000),
    record("1234567890 " * 50 + "{[(<&;>)]} \\ %s %(x)s {0} $1"),
    record("the same line\n" * 200),
    record("e\u0301" * 300 + "\u202e \ufeff \ufffd \U0010ffff"),
    record("日本語の文章。" * 100, None),
    Record(content_id("pair"), pair_text("what is it?", "a tree"), "what is it?", "a tree", source="test#pair"),
    record(chat_text(TURNS), messages=TURNS),
]
"""What rules for prose forget: white space alone, control characters, no words or no spaces, pairs and chats."""


def check_module(stage: str, name: str, module: ModuleType) -> None:
    """A docstring that says what it does, a Config with every field described and none defaulted, a SAMPLE of it."""
    assert (module.__doc__ or "").strip(), f"{stage}/{name}: say what it does, and name the source of the method"
    assert issubclass(module.Config, Config) and module.Config is not Config, f"{stage}/{name}: needs its own Config"
    assert isinstance(module.SAMPLE, module.Config), f"{stage}/{name}: SAMPLE must be a Config of this module"
    for field, info in module.Config.model_fields.items():
        assert info.description, f"{stage}/{name}: Config.{field} needs a docstring: meaning, unit, bounds"
        assert info.is_required(), f"{stage}/{name}: Config.{field} has a default; values live in params.yaml"
    assert tested(stage, name), f"{stage}/{name}: write tests/{stage}/test_{name}.py"


def tested(stage: str, name: str) -> bool:
    """Whether a test file has its name, or one has tests of each method that the registry of the stage names."""
    folder = ROOT / "tests" / stage
    of_each = re.compile(rf'parametrize\(.*\bmethods\.names\("{stage}"\)')
    return any(folder.glob(f"test_*{name}*.py")) or any(of_each.search(f.read_text()) for f in folder.glob("test_*.py"))


def check_pure_source(stage: str, module: ModuleType) -> None:
    """No I/O, no environment, no clock, no global random state in the source."""
    tree = ast.parse(inspect.getsource(module))
    known = dict(_imported(tree))
    for node in ast.walk(tree):
        at = f"{module.__name__}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            bad = {n.split(".")[0] for n in names if n != "urllib.parse"} & IMPURE_MODULES
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


def state_of(module: ModuleType, cfg: Config, assets: Path) -> tuple[Any, ...]:
    """What is passed after the config: what `prepare` made of the assets, or nothing."""
    return (module.prepare(cfg, assets),) if hasattr(module, "prepare") else ()


def check_cleaning_rule(module: ModuleType, assets: Path) -> None:
    """Of exactly one kind, and that kind's contract at the sample and at every bound of its values."""
    check = {"editor": check_editor, "filter": check_filter, "corpus rule": check_corpus_rule}[kind(module)]
    for cfg in [module.SAMPLE, *bounds(module.SAMPLE)]:
        check(module, cfg, state_of(module, cfg, assets))


def check_reject(why: Any) -> None:
    """A reason that can be a metric, and evidence that can be written."""
    assert isinstance(why, Reject), f"expected a Reject, got {why!r}"
    assert why.reason.isidentifier() and why.reason.islower(), f"a reason is a metric's name, got {why.reason!r}"
    assert isinstance(why.evidence, str) and why.evidence.encode() is not None


def check_editor(module: ModuleType, cfg: Config, state: tuple[Any, ...]) -> None:
    """edit(text, cfg[, state]) → Edit: the same twice, any text, counts that are whole numbers above 0."""
    for text in [r.text for r in [*RECORDS, EMPTY, *HARD]]:
        made = twice(partial(module.edit, text, cfg, *state))
        assert isinstance(made, Edit), f"expected an Edit, got {made!r}"
        made.text.encode()  # half of a surrogate pair cannot be written
        for what, count in made.counts.items():
            assert what.isidentifier(), f"a kind of edit is a metric's name, got {what!r}"
            assert isinstance(count, int) and count > 0, f"{what} was counted {count!r} times"
        if not text:
            assert made.text == "", "nothing in, nothing out"


def check_filter(module: ModuleType, cfg: Config, state: tuple[Any, ...]) -> None:
    """judge(view, cfg[, state]) → every Reject and Mark: the same twice, no mutation, any text."""
    given = [*RECORDS, EMPTY, *HARD]
    judged = unmutated(
        lambda records: twice(lambda: [list(module.judge(View(r), cfg, *state)) for r in records]), given
    )
    for said in judged:
        for one in said:
            if isinstance(one, Mark):
                assert one.name.isidentifier(), f"a mark is a key of meta, got {one.name!r}"
                json.dumps(one.value, allow_nan=False)
            else:
                check_reject(one)
        reasons = [one.reason for one in said if isinstance(one, Reject)]
        assert len(set(reasons)) == len(reasons), f"a reason is given once a record, got {reasons}"


def check_corpus_rule(module: ModuleType, cfg: Config, state: tuple[Any, ...]) -> None:
    """signature(view, cfg[, state]) → bytes; select(signatures, cfg[, state]) → (position, Reject).

    The same twice, no mutation, positions of the input only and each once, and never all copies of a text.
    """

    def run(records: list[Record]) -> list[tuple[int, Reject]]:
        signed = [(r.id, module.signature(View(r), cfg, *state)) for r in records]
        assert all(type(s) is bytes for _, s in signed), "a signature is bytes, so that it can lie on disk"
        return list(module.select(Held(signed), cfg, *state))

    assert run([]) == [], "nothing in, nothing out"
    run([EMPTY])
    given = [*RECORDS, *HARD, RECORDS[0], EMPTY, RECORDS[3]]
    chosen = unmutated(lambda records: twice(lambda: run(records)), given)
    positions = [int(at) for at, _ in chosen]
    assert set(positions) <= set(range(len(given))), f"positions are of the input's {len(given)} rows, got {positions}"
    assert len(set(positions)) == len(positions), f"a row is dropped once, got {positions}"
    for _, why in chosen:
        check_reject(why)
    if not module.__name__.endswith("_duplicates"):
        return
    assert run([RECORDS[0]]) == [], "one record is no duplicate"
    kept = {r.text for at, r in enumerate(given) if at not in positions}
    assert {r.text for r in (RECORDS[0], RECORDS[3])} <= kept, "the first of two copies stays"
    assert len(positions) >= 2, "two exact copies were planted"


KEPT = ["https://large.example/tall?a=1", "`large = tall`", "$3.50", "<|label:tall|>", "[EMAIL]", "\n\n```\na\n```\n"]
"""What no augmenter may touch."""
SPOKEN = "a tall tree with showy flowers stands beside the large river"


def check_augmenter(module: ModuleType, assets: Path) -> None:
    """vary(record, cfg, rng, assets): same label, a parent, another text whose edits are told; the same for the same
    seed; code, addresses, numbers and line breaks stay; what the system says in a chat stays."""
    if hasattr(module, "MEDIA"):
        check_media_augmenter(module, assets)
        return
    kept = record(f" {SPOKEN}. ".join(KEPT) + SPOKEN)
    turns = [{"role": role, "content": SPOKEN} for role in ("system", "user", "assistant")]
    chat = record("\n\n".join([SPOKEN] * 3), messages=turns)
    pair = replace(record(f"{SPOKEN}\n{SPOKEN}"), prompt=SPOKEN, response=SPOKEN)
    for given in [*RECORDS, EMPTY, kept, chat, pair]:

        def run(records: list[Record], given: Record = given) -> list[Record]:
            return list(module.vary(records[0], module.SAMPLE, random.Random(7), assets))

        made = unmutated(lambda rs: twice(lambda: run(rs)), [given])
        assert made or given not in (kept, chat, pair), "prose is there to be varied"
        for variant in made:
            assert variant.label == given.label
            assert variant.meta["parent"] == given.id
            assert variant.text != given.text
            assert variant.id != given.id
            assert variant.meta["edits"], "what was changed must be told: meta.edits"
            assert given is not kept or all(part in variant.text for part in KEPT), f"damaged: {variant.text!r}"
            assert variant.text.count("\n") == given.text.count("\n"), f"lost line breaks: {variant.text!r}"
            assert given is not chat or variant.meta["messages"][0] == turns[0]
            assert given is not pair or variant.text == f"{variant.prompt}\n{variant.response}"


def check_media_augmenter(module: ModuleType, assets: Path) -> None:
    """vary(record, cfg, rng, assets) of pictures or sounds (`MEDIA`): same label, size and length, a parent, other
    content, what was done is told; the same for the same seed; nothing of texts or of what cannot be decoded."""
    images = module.MEDIA == "image"
    given = media.picture(7) if images else media.sound(7)
    other = [
        media.sound(7) if images else media.picture(7),
        replace(given, content=b"no such thing"),
        RECORDS[0],
        EMPTY,
    ]
    for cfg in [module.SAMPLE, *bounds(module.SAMPLE)]:

        def run(records: list[Record], cfg: Config = cfg) -> list[Record]:
            return list(module.vary(records[0], cfg, random.Random(7), assets))

        made = unmutated(lambda rs: twice(lambda: run(rs)), [given])
        assert made or cfg is not module.SAMPLE, "a picture and a sound are there to be varied"
        for variant in made:
            assert (variant.label, variant.meta["parent"]) == (given.label, given.id)
            assert variant.meta["edits"][0].keys() > {"part"}, "what was done must be told: meta.edits"
            json.dumps(variant.meta, allow_nan=False)
            assert variant.content != given.content and variant.id != given.id
            assert media.size(variant) == media.size(given)
        for one in other:
            assert run([one]) == [], f"expected no variant of {one.media_type}"


def check_balancer(module: ModuleType) -> None:
    """resample(labels, features, cfg, rng): indices into the input; one class and one row are no error. Points are
    given only to a method that says so (`NEEDS`)."""
    needed = getattr(module, "NEEDS", None) == "embedding"
    for labels in (["a"] * 40 + ["b"] * 5 + ["c"], ["a"] * 3, ["a"], []):
        points = np.random.default_rng(0).integers(-127, 128, (len(labels), 16)).astype(np.int8) if needed else None
        for cfg in [module.SAMPLE, *bounds(module.SAMPLE)]:
            given = list(labels)
            picked = twice(
                lambda cfg=cfg, given=given, points=points: [
                    int(i) for i in module.resample(given, points, cfg, np.random.default_rng(3))
                ]
            )
            assert given == labels, "the input was changed"
            assert all(0 <= i < len(labels) for i in picked)
            assert {labels[i] for i in picked} == set(labels), "no label may vanish"
