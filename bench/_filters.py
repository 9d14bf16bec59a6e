"""The filters of Gopher, C4 and FineWeb against datatrove's: the same decisions, and seconds for the same documents.

Decisions: both sides are given the words of datatrove's tokenizer (spaCy's blank English). Seconds: both read the same
documents from disk and write those that they keep, each in its own format, with two processes; ours counts words by its
own tokenizer and names every reason, datatrove stops at the first. The order is that of FineWeb's own script.
"""

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import _corpus
from bench.run import peers
from nightforge.clean import c4, c4_lines, fineweb, gopher_quality, repetition
from nightforge.records import Record
from nightforge.view import View

PEER = ["datatrove==0.10.1", "spacy==3.8.18", "orjson", "xxhash<4", "regex", "tldextract", "nltk"]
MEGABYTES, COMPARED, WORKERS, ROUNDS = 50, 5_000, 2, 3
RULES = (repetition, gopher_quality, c4_lines, c4, fineweb)

DECISIONS = """
import json, sys
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.utils.text import split_into_words
filters = {"repetition": GopherRepetitionFilter(), "gopher_quality": GopherQualityFilter(), "c4": C4QualityFilter(),
           "fineweb": FineWebQualityFilter()}
def why(rule, document):
    result = filters[rule].filter(document)
    return None if result is True else result[1]
for line in sys.stdin:
    text, said = json.loads(line), {}
    edited = text
    for rule in filters:
        document = Document(text=text, id="0")
        said[rule] = why(rule, document)
        edited = document.text if rule == "c4" else edited
    together = Document(text=text, id="0")
    said["together"] = next((w for w in (why(rule, together) for rule in filters) if w), None)
    print(json.dumps([said, split_into_words(text), edited, split_into_words(edited)]))
"""

SECONDS = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
if __name__ == "__main__":
    source, out, logs, workers = sys.argv[1:]
    steps = [JsonlReader(source), GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(),
             FineWebQualityFilter(), JsonlWriter(out, compression=None)]
    LocalPipelineExecutor(steps, tasks=int(workers), workers=int(workers), logging_dir=logs).run()
"""


def measure() -> dict[str, float]:
    """Shares of equal decisions, and the ratio of datatrove's seconds to ours."""
    python, texts = peers(PEER), list(_corpus.read(_corpus.documents(MEGABYTES)))
    figures = decisions(python, texts[:COMPARED])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay(texts, folder)
        size_mb = sum(len(text.encode()) for text in texts) / 1e6
        ours_s = [ours(folder) for _ in range(ROUNDS)]
        theirs_s = theirs(python, folder)  # some minutes: once
    seconds = statistics.median(ours_s)
    return figures | {
        "filters_vs_datatrove": theirs_s / seconds,
        "filters_documents_per_s": len(texts) / seconds,
        "filters_mb_per_s": size_mb / seconds,
        "datatrove_filters_documents_per_s": len(texts) / theirs_s,
    }


def decisions(python: Path, texts: list[str]) -> dict[str, float]:
    """Rule, or all together → share of the documents that both keep or both drop."""
    given = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run([python, "-c", DECISIONS], input=given, capture_output=True, text=True, check=True)
    same = Counter[str]()
    for text, line in zip(texts, done.stdout.splitlines(), strict=True):
        said, words, edited, edited_words = json.loads(line)
        mine = decide(text, words, edited_words, edited)
        same.update(rule for rule in said if bool(mine[rule]) == bool(said[rule]))
    return {f"same_decisions_{rule}": same[rule] / len(texts) for rule in sorted(same)}


def decide(text: str, words: list[str], edited_words: list[str], edited: str) -> dict[str, list[str]]:
    """Rule, or all together → our reasons. C4 takes lines out, and what follows it sees what is left."""
    left = c4_lines.edit(text, c4_lines.SAMPLE).text
    whole = view(text, words)
    last = view(left, edited_words if left == edited else None)
    found = {
        "gopher_quality": reasons(gopher_quality, whole),
        "repetition": reasons(repetition, whole),
        "c4": reasons(c4, last) if left else ["empty"],
        "fineweb": reasons(fineweb, whole),
    }
    return found | {"together": [*found["gopher_quality"], *found["repetition"], *found["c4"], *reasons(fineweb, last)]}


def view(text: str, words: list[str] | None) -> View:
    """A text and the words of another tokenizer."""
    return View(Record(id="0", text=text), words)


def reasons(rule: Any, seen: View) -> list[str]:
    """Every reason of one rule at its published values."""
    return [reject.reason for reject in rule.judge(seen, rule.SAMPLE)]


def lay(texts: list[str], folder: Path) -> None:
    """The documents in the two formats: a file of JSON lines a worker, and the shards of the stage `ingest`."""
    from tasks import shards

    shards.write(folder / "raw", (Record(id=f"{at:016x}", text=text) for at, text in enumerate(texts)))
    for worker in range(WORKERS):
        lines = (json.dumps({"id": str(at), "text": texts[at]}) for at in range(worker, len(texts), WORKERS))
        (folder / "jsonl").mkdir(exist_ok=True)
        (folder / "jsonl" / f"{worker}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def ours(folder: Path) -> float:
    """Seconds of the stage `clean`, processes started and rows written included."""
    from tasks import clean
    from tasks.executor import Executor

    preset = [{"name": rule.__name__.rsplit(".", 1)[1], **rule.SAMPLE.model_dump()} for rule in RULES]
    cfg = clean.CleanConfig.model_validate({"preset": "p", "presets": {"p": preset}, "rule_share_max": 1.0})
    executor = Executor(name="local", workers=WORKERS, address=None)
    out, rejects, work = (folder / name for name in ("clean", "rejects", "work"))
    for made in (out, rejects, work):
        shutil.rmtree(made, ignore_errors=True)
    work.mkdir()
    begun = time.perf_counter()
    clean.run(cfg, folder / "raw", folder / "assets", out, rejects, work, executor)
    return time.perf_counter() - begun


def theirs(python: Path, folder: Path) -> float:
    """Seconds of datatrove's pipeline, processes started and rows written included."""
    script = folder / "seconds.py"
    script.write_text(SECONDS, encoding="utf-8")
    paths = [str(folder / name) for name in ("jsonl", "out", "logs")]
    begun = time.perf_counter()
    subprocess.run([python, script, *paths, str(WORKERS)], check=True, capture_output=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(json.dumps({key: round(value, 4) for key, value in measure().items()}))
