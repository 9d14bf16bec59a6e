"""What the methods at both ends of the pipeline must keep: formats, families, metrics, passes and exporters.

As in tests/contracts.py, each `check_*` takes a module and raises AssertionError with what was expected and what came.
"""

import copy
import io
import math
import tempfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest

from nightforge.errors import ConfigError, DataError
from nightforge.records import Record, Reject, content_id
from tests import media_samples as media
from tests.contracts import twice

TEXTS = ["naïve café — 漢字, עברית and 👩‍🚀", "a tall tree", "a meal eaten at noon"]
BROKEN_LINE = b"\xff\xfe\x00 {broken \x80\n"


def healthy_file(name: str) -> bytes:
    """A file of the format with each of TEXTS in it."""
    if name == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(pa.table({"text": TEXTS, "label": ["a"] * 3}), sink)
        return sink.getvalue()
    if name in {"images", "audio"}:
        return media.zipped({f"a/{i}": media.png(i) if name == "images" else media.wav(i) for i in range(3)})
    written = {
        "csv": "text,label\n" + "".join(f'"{t}",a\n' for t in TEXTS),
        "jsonl": "".join(f'{{"text": "{t}", "label": "a"}}\n' for t in TEXTS),
        "pixels": "".join(f"{i},0,16,8,a\n" for i in range(3)),
        "text": "".join(f"{t}\n" for t in TEXTS),
        "wordnet": "".join(f"{i:08d} 20 n 01 w 0 000 | {t}\n" for i, t in enumerate(TEXTS)),
    }
    assert name in written, f"ingest/{name}: add a healthy file of this format to tests/model_contracts.py"
    return written[name].encode()


def check_reader(module: ModuleType, healthy: bytes, by_line: bool) -> None:
    """read(handle, cfg): the same twice, nothing from nothing; what is broken costs its line, or a DataError."""

    def read(content: bytes) -> list[Record | Reject]:
        handle = io.BytesIO(content)
        items = list(module.read(handle, module.SAMPLE))
        assert all(isinstance(item, Record | Reject) for item in items), f"expected Records and Rejects, got {items!r}"
        assert handle.getvalue() == content and not handle.closed, "the handle was written to or closed"
        return items

    assert read(b"") == [], "nothing in, nothing out"
    found = [item for item in twice(lambda: read(healthy)) if isinstance(item, Record)]
    texts = [""] * len(TEXTS) if found and found[0].content is not None else TEXTS
    assert [r.text for r in found] == texts, f"expected {texts}, got {[r.text for r in found]}"
    made = [content_id(r.text, r.label, r.content) for r in found]
    assert [r.id for r in found] == made and len(set(made)) == len(texts), "an id is made from the content"
    broken = [healthy[:end] for end in range(1, len(healthy), 5)] + [BROKEN_LINE, b"\x00" * 40]
    for content in broken:
        try:
            read(content)
        except (DataError, ConfigError):
            continue  # documented: not this format at all, or a mapped column is nowhere
    if by_line and not healthy.startswith(b"PK"):
        lines = healthy.splitlines(keepends=True)
        items = read(b"".join([*lines[:-1], BROKEN_LINE, lines[-1]]))
        assert [type(i) for i in items] == [Record, Record, Reject, Record], f"one line was broken, got {items!r}"


def check_family(module: ModuleType, words: Any) -> None:
    """build, loss and sample: determined by the seed, the loss finite, differentiable and blind to padding."""
    import torch

    from nightforge.scoring import IGNORE
    from nightforge.training import At

    cfg = module.SAMPLE
    assert cfg.vocab > 0 and cfg.context > 0, "a family's Config has vocab and context"

    def built(seed: int) -> Any:
        torch.manual_seed(seed)
        return module.build(cfg, copy.deepcopy(words))

    def learnt(ids: Any) -> Any:
        return torch.where(torch.arange(ids.shape[1]) > 0, ids, IGNORE)

    model, again, other = (built(seed) for seed in (5, 5, 6))
    weights = [dict(m.named_parameters()) for m in (model, again, other)]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0]), "one seed gave two models"
    assert any(not torch.equal(weights[0][k], weights[2][k]) for k in weights[0]), "two seeds gave one model"
    rows = [[4, 10, 11, 12, 1], [3, 20, 1]]
    padded = torch.tensor([row + [IGNORE] * (5 - len(row)) for row in rows])
    nats, _ = module.loss(model, {"ids": padded, "targets": learnt(padded)}, cfg, At(0, 1))
    assert torch.isfinite(nats), f"the loss is {nats}"
    each = [{"ids": torch.tensor([row]), "targets": learnt(torch.tensor([row]))} for row in rows]
    alone = sum(module.loss(model, tensors, cfg, At(0, 1))[0] for tensors in each)
    if module.CLASS != "AutoModelForMaskedLM":  # which draws another mask
        assert torch.allclose(nats, alone, rtol=1e-4), "padding changed the loss"
    nats.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters()), "a weight has no gradient"
    assert any(p.grad.abs().sum() > 0 for p in model.parameters()), "every gradient is zero"
    drawn = twice(lambda: module.sample(model.eval(), [[4], [3]], 6, 1.0, 0.9, 7))
    assert len(drawn) == 2 and all(len(row) <= 6 for row in drawn), f"expected two rows of 6 at most, got {drawn}"
    assert all(0 <= token < cfg.vocab for row in drawn for token in row)


def check_metric(module: ModuleType, subject: Any) -> None:
    """measure(subject, cfg): the same twice, finite numbers, a value a record; one record is scored or a DataError."""

    def measure(given: Any) -> Any:
        scores = module.measure(given, module.SAMPLE)
        columns = {name: column.tolist() for name, column in scores.columns.items()}
        return scores.metrics, columns, scores.samples

    before = _told(subject)
    metrics, columns, _ = twice(lambda: measure(subject))
    assert _told(subject) == before, "the subject was changed"
    bad = [path for path, value in _numbers({"metrics": metrics, "columns": columns}) if not math.isfinite(value)]
    assert not bad, f"not finite: {bad}"
    assert metrics, "a metric measures something"
    assert all(len(column) == len(subject.nats) for column in columns.values()), "a column has a value a record"
    try:
        found = measure(_first(subject))
    except DataError:
        return
    assert all(math.isfinite(value) for _, value in _numbers(found[0])), f"not finite for one record: {found[0]}"


def _told(subject: Any) -> str:
    """All of a subject that is plain data."""
    plain = {name: getattr(subject, name) for name in ("records", "nats", "real", "made") if hasattr(subject, name)}
    return str({name: value.tolist() if hasattr(value, "tolist") else repr(value) for name, value in plain.items()})


def _first(subject: Any) -> Any:
    """The subject with one record."""
    of_records = {"records", "nats", "tokens", "bytes", "units", "groups"} & set(subject._fields)
    one = {name: getattr(subject, name)[:1] for name in of_records}
    return subject._replace(**one | ({"real": subject.real.first(1)} if hasattr(subject, "real") else {}))


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, path)
    elif isinstance(value, int | float):
        yield path, value


def check_pass(module: ModuleType) -> None:
    """COMPATIBLE, least_mb, check and rewrite: the same twice, a bound above zero and below the dense."""
    from nightforge.compress._context import Context

    for key in ("family", "loader", "runtime"):
        assert module.COMPATIBLE.get(key), f"COMPATIBLE must name each {key} that the pass works on"
    shapes = {"encode.weight": (300, 64), "decode.weight": (128, 64)}
    context = Context(min(module.COMPATIBLE["family"]), min(module.COMPATIBLE["loader"]), False, shapes)
    module.check(context, module.SAMPLE)
    _check_rewrite(module)
    dense_mb = sum(map(prod, shapes.values())) * 4 / 1e6
    least = module.least_mb(context, module.SAMPLE)
    assert 0 < least < dense_mb, f"the least size must lie between 0 and {dense_mb} MB, got {least}"
    with pytest.raises(ConfigError):
        module.check(Context("no such family", context.loader, False, shapes), module.SAMPLE)


def check_pass_in_memory(module: ModuleType, small: Any) -> None:
    """KIND and AFTER, least; apply changes a copy the same twice, and says of each layer what became of it."""
    from nightforge.compress._context import Context
    from nightforge.compress._pass import Footprint, Kind

    for key in ("family", "loader"):
        assert module.COMPATIBLE.get(key), f"COMPATIBLE must name each {key} that the pass works on"
    assert module.KIND in get_args(Kind) and set(get_args(Kind)) >= module.AFTER, "KIND and AFTER are of Kind"
    with pytest.raises(ConfigError):
        module.check(Context("no such family", "transformers", True, {}), module.SAMPLE)
    tensors = {name: Footprint(tuple(p.shape), 32) for name, p in small.model.named_parameters()}
    least = twice(lambda: module.least(tensors, module.SAMPLE))
    assert 0 < weight_mb(least) <= weight_mb(tensors), "a pass makes no tensor larger"

    def made() -> dict[str, Any]:
        held = module.apply(small.held(), small.given, module.SAMPLE)
        assert not held.model.training, "a pass gives a model in evaluation mode"
        return {key: value.numpy() for key, value in held.model.state_dict().items()}

    one, other, before = made(), made(), small.model.state_dict()
    assert one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one), "the same twice"
    changed = one.keys() != before.keys() or any(not np.array_equal(one[key], before[key].numpy()) for key in one)
    assert changed, "no effect"


def weight_mb(tensors: Mapping[str, Any]) -> float:
    """MB (10⁶ bytes) of footprints."""
    return float(sum(prod(one.shape) * one.bits for one in tensors.values()) / 8e6)


def _check_rewrite(module: ModuleType) -> None:
    """The same graph twice, smaller than before and near it, that runs on any number of rows."""
    import torch

    from tests import tiny_graph

    net, part, graph = tiny_graph.exported()
    made = twice(lambda: module.rewrite(copy.deepcopy(graph), part.feeds(), module.SAMPLE).SerializeToString())
    assert len(made) < len(graph.SerializeToString()), "a pass makes a graph smaller"
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(9))
    wanted, got = net.decode(x, torch.tensor([0, 1, 2, 3, 0])), tiny_graph.run(made, part, x)
    assert got.shape == wanted.shape, f"expected {tuple(wanted.shape)}, got {tuple(got.shape)}"
    error = float((got - wanted).norm() / wanted.norm())
    assert 0 < error < 0.3, f"expected to come near what the graph gave, and not to it, got {error:.3f} of its norm"


def check_exporter(module: ModuleType) -> None:
    """RUNTIME and graph, or arguments and write: the same twice, and no folder out of a builder that wrote nothing."""
    assert module.RUNTIME, "an exporter names the runtime that loads what it writes"
    if hasattr(module, "graph"):
        _check_graph(module)
        return
    with tempfile.TemporaryDirectory() as name:
        dense, built, cache, out = (Path(name) / part for part in ("dense", "built", "cache", "out"))
        line = twice(lambda: module.arguments(dense, built, cache, {"b": "1", "a": "2"}, module.SAMPLE))
        assert line == module.arguments(dense, built, cache, {"a": "2", "b": "1"}, module.SAMPLE)
        assert all(isinstance(word, str) for word in line), "a command line is words"
        built.mkdir()
        with pytest.raises(DataError):
            module.write(built, dense, out)
        assert not out.exists(), "half an export was kept"


def _check_graph(module: ModuleType) -> None:
    """The same bytes twice, which compute what the part does, for other rows than it was exported with."""
    import torch

    from tests import tiny_graph

    net, part = tiny_graph.watched()
    made = twice(lambda: module.graph(net, part, module.SAMPLE).SerializeToString())
    for rows in (1, 5):
        x = torch.randn(rows, 6, generator=torch.Generator().manual_seed(9))
        wanted = net.decode(x, torch.tensor([0, 1, 2, 3, 0])[:rows])
        torch.testing.assert_close(tiny_graph.run(made, part, x), wanted, rtol=1e-4, atol=1e-5)
