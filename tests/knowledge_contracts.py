"""What readers of facts and verbalisers must keep; see tests/contracts.py."""

import copy
import random
import tempfile
from pathlib import Path
from types import ModuleType

from nightforge.errors import DataError
from nightforge.knowledge import Triple, graph
from nightforge.records import Reject
from tests.contracts import twice

FACTS = [
    Triple("Oslo", "capital of", "Norway", "1"),
    Triple("Norway", "part of", "Europe", "2"),
    Triple("é", "r", "漢", "3"),
]
PHRASINGS = {"*": ["{subject} is {relation} {object}.", "{object}: {subject} ({relation})."]}


def healthy(name: str) -> bytes:
    """A file of the format that holds Oslo, and Norway as what it is in."""
    if name == "table":
        import io

        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(pa.table({"city": ["Oslo"], "country": ["Norway"]}), sink)
        return sink.getvalue()
    written = {
        "csv": "subject,relation,object\nOslo,is in,Norway\n",
        "jsonl": '{"subject": "Oslo", "relation": "is in", "object": "Norway"}\n',
        "ntriples": "<http://e.org/Oslo> <http://e.org/isIn> <http://e.org/Norway> .\n",
    }
    assert name in written, f"facts/{name}: add a healthy file of this format to tests/knowledge_contracts.py"
    return written[name].encode()


def check_reader(name: str, module: ModuleType) -> None:
    """read(file, cfg): the same twice, the file untouched; what is broken costs its line, or a DataError."""

    def read(content: bytes) -> list[Triple | Reject]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "facts")
            file.write_bytes(content)
            items = list(module.read(file, module.SAMPLE))
            assert file.read_bytes() == content and len(list(Path(folder).iterdir())) == 1, "the file was written to"
        assert all(isinstance(item, Triple | Reject) for item in items), f"expected Triples and Rejects, got {items!r}"
        return items

    (found,) = twice(lambda: read(healthy(name)))
    assert isinstance(found, Triple) and found[:3] == ("Oslo", "is in", "Norway"), found
    for broken in (b"", b"\xff\xfe\x00{", b"\x00" * 40, *(healthy(name)[:end] for end in range(1, 60, 7))):
        try:
            read(broken)
        except DataError:
            continue  # documented: not this format at all


def check_verbaliser(module: ModuleType) -> None:
    """say(graph, phrasings, cfg, rng): seeded, facts are those of the graph, names in the text, no mutation."""
    facts, _ = graph(FACTS)
    before = copy.deepcopy((facts.names, facts.edges.tolist(), PHRASINGS))
    said = twice(lambda: list(module.say(facts, PHRASINGS, module.SAMPLE, random.Random(3))))
    assert (facts.names, facts.edges.tolist(), PHRASINGS) == before, "the input was changed"
    assert said, "expected texts"
    for one in said:
        assert one.facts, one
        for fact in one.facts:
            triple = facts.triple(fact)
            assert triple.subject in one.text and triple.object in one.text, (one, triple)
    empty, _ = graph([])
    assert not list(module.say(empty, PHRASINGS, module.SAMPLE, random.Random(3))), "nothing in, nothing out"
    assert not list(module.say(facts, {}, module.SAMPLE, random.Random(3))), "without phrasings nothing can be said"
