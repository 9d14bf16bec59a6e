"""What the report reads: rejects counted by rule with redacted examples; the page of a failed run from a project."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightforge.records import Record, Reject, content_id
from tasks import report
from tasks.shards import RejectShards

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Failure:
    kind: str
    message: str


def record(text: str) -> Record:
    return Record(id=content_id(text), text=text, source=f"test#{text[:4]}")


def test_rejects_are_counted_by_rule_and_their_examples_redacted(tmp_path: Path) -> None:
    with RejectShards(tmp_path / "clean_rejects") as rejects:
        for i in range(5):
            rejects.put(record(f"row {i}"), "length", Reject("too few words", f"row {i}, jane.doe@example.org"))
        rejects.put(record("twice"), "exact_duplicates", Reject("exact duplicate", "twice"))
    with RejectShards(tmp_path / "ingest_rejects"):
        pass
    found = report.dropped([tmp_path / "ingest_rejects", tmp_path / "clean_rejects"], examples=2)
    assert [(d["stage"], d["rule"], d["reason"], d["rows"]) for d in found] == [
        ("clean", "length", "too few words", 5),
        ("clean", "exact_duplicates", "exact duplicate", 1),
    ]
    assert [e["evidence"][:5] for e in found[0]["examples"]] == ["row 0", "row 1"]
    assert "jane.doe" not in json.dumps(found)


def test_the_page_of_a_failed_run_names_the_stage_the_message_and_the_closed_gate(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    closed = tmp_path / "reports/closed"
    closed.mkdir(parents=True)
    verdict = {"artifact": "data/clean", "artifact_sha256": "ab" * 32, "evaluated": 10, "verdict": "closed"}
    result = {"expectation": "expect_it", "column": "text", "why": "no address", "met": False, "ids": ["00ff"]}
    for gate in ("clean", "splits"):  # the second is of an earlier run, and has nothing to do with this one
        (closed / f"{gate}.json").write_text(json.dumps(verdict | {"gate": gate, "results": [result]}))
    failed = {"gate@clean": Failure("GateClosed", "1 of 10 <b>failed</b>")}
    page = report.render_failed(tmp_path, {"clean": "ran", "gate@clean": "failed"}, failed)
    assert page == tmp_path / "reports/failed.html"
    text = page.read_text()
    for told in ("FAILED", "gate@clean: GateClosed", "1 of 10 &lt;b&gt;failed", "no address", "00ff"):
        assert told in text
    assert "gate@splits" not in text


@pytest.mark.parametrize("section", ["", "report: []\n", "report: {samples: 3}\n"])
def test_a_broken_section_of_the_report_does_not_hide_why_the_run_failed(tmp_path: Path, section: str) -> None:
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    values = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(values[: values.index("\nreport:") + 1] + section)
    page = report.render_failed(tmp_path, {"train": "failed"}, {"train": Failure("DataError", "no rows")})
    assert "train: DataError" in page.read_text()


def test_versions_come_from_the_lock_file_with_the_important_ones_first(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("# pins\nabsl-py==2.5.1\ntorch==2.13.0 ; python_version > '3'\ndvc==3.67.1  # adapter\n")
    assert report._versions([tmp_path / "data", lock]) == [("torch", "2.13.0"), ("dvc", "3.67.1"), ("absl-py", "2.5.1")]
