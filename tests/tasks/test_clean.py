import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nightforge.errors import DataError
from nightforge.records import Record, chat_text, content_id, pair_text
from tasks import clean, shards
from tasks.clean import CleanConfig
from tasks.clean_explain import Explained, explain, table
from tasks.executor import Executor
from tasks.hashing import sha256_tree

ROOT = Path(__file__).resolve().parents[2]
ALONE = Executor(name="local", workers=1, address=None)
TWO = Executor(name="local", workers=2, address=None)
UNICODE = {"name": "unicode", "normal_form": "NFC", "uncurl_quotes": False}
EMAIL = {"name": "redact", "kinds": ["email"]}
LENGTH = {"name": "length", "words_min": 2, "words_max": 50, "chars_min": 5, "chars_max": 500}
EXACT = {"name": "exact_duplicates"}
NEAR = {"name": "near_duplicates", "shingle_words": 3, "bands": 32, "rows": 4, "jaccard_min": 0.7}
RULES: list[dict[str, Any]] = [UNICODE, EMAIL, LENGTH, EXACT, NEAR]


def record(text: str, label: str | None = "plant", **meta: Any) -> Record:
    return Record(id=content_id(text, label), text=text, label=label, source=f"test#{text[:5]}", meta=meta)


def config(rules: list[dict[str, Any]], share: float = 1.0) -> CleanConfig:
    return CleanConfig.model_validate({"preset": "p", "presets": {"p": rules}, "rule_share_max": share})


def cleaned(
    tmp_path: Path, records: list[Record], rules: list[dict[str, Any]], share: float = 1.0, executor: Executor = ALONE
) -> dict[str, Any]:
    shards.write(tmp_path / "raw", records)
    (tmp_path / "work").mkdir(exist_ok=True)
    raw, assets, kept, rejects, work = (tmp_path / name for name in ("raw", "assets", "clean", "rejects", "work"))
    return clean.run(config(rules, share), raw, assets, kept, rejects, work, executor)


def test_columns_stand_in_the_order_of_a_records_fields() -> None:
    assert shards.SCHEMA.names == [f.name for f in fields(Record)], "the stage reads rows by position"


def test_every_row_is_counted_once(tmp_path: Path) -> None:
    near = "the vein that drains the lower part of the thyroid and empties into the jugular"
    given = [
        record("cafÃ© with milk", "food"),
        record("x"),
        record("Café with milk", "food"),
        record("ask jane@example.org about it", None),
        record(near + " vein"),
        record(near + " neck"),
    ]
    metrics = cleaned(tmp_path, given, RULES)
    kept = list(shards.read(tmp_path / "clean"))
    assert [r.text for r in kept] == ["café with milk", "ask [EMAIL] about it", near + " vein"]
    assert [r.id for r in kept] == [given[i].id for i in (0, 3, 4)], "an id follows its row"
    assert metrics["rejected"] == {
        "length": {"too_few_characters": 1},
        "exact_duplicates": {"exact_duplicate": 1},
        "near_duplicates": {"near_duplicate": 1},
    }
    assert metrics["redactions"] == {"email": 1} == metrics["edits"]["redact"]["counts"]
    assert metrics["edits"]["redact"]["rows"] == 1
    assert metrics["labels_before"] == {"food": 2, "none": 1, "plant": 3}
    assert metrics["labels_after"] == {"food": 1, "none": 1, "plant": 1}
    assert (metrics["rows_read"], metrics["rows_kept"], metrics["rows_rejected"]) == (6, 3, 3)
    rejects = list(shards.rows(tmp_path / "rejects"))
    assert [row["id"] for row in rejects] == [given[i].id for i in (1, 2, 5)], "in the order of the rows"
    assert rejects[2]["evidence"].startswith(f"of {given[4].id}: {near}") and rejects[2]["evidence"].endswith("neck")


def test_every_rule_that_fires_is_recorded_and_the_row_put_down_to_the_first(tmp_path: Path) -> None:
    wordy = {**LENGTH, "words_min": 4, "chars_min": 8}
    given = [record("x"), record("a b c"), record("ok it is me"), record("a tall old tree")]
    metrics = cleaned(tmp_path, given, [wordy])
    assert metrics["rules"]["length"] == {
        "fired": 2,
        "alone": 2,
        "first": 2,
        "share": 0.5,
        "reasons": {
            "too_few_characters": {"fired": 2, "alone": 0, "first": 2},
            "too_few_words": {"fired": 2, "alone": 0, "first": 0},
        },
    }
    first, _ = shards.rows(tmp_path / "rejects")
    assert (first["rule"], first["reason"], first["also"]) == (
        "length",
        "too_few_characters",
        ["length:too_few_words"],
    )


def test_all_parts_of_a_chat_and_of_a_pair_are_edited(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "I am jane@example.org"}, {"role": "assistant", "content": "hello you"}]
    chat = Record("c", chat_text(turns), source="test#c", meta={"messages": turns, "score": 1})
    pair = Record("p", pair_text("mail jo@example.org?", "yes, do"), "mail jo@example.org?", "yes, do", source="test#p")
    plain = record("nothing to do here", tags=["ä"])
    metrics = cleaned(tmp_path, [chat, pair, plain], [EMAIL])
    first, second, third = shards.read(tmp_path / "clean")
    assert first.meta == {"messages": [turns[0] | {"content": "I am [EMAIL]"}, turns[1]], "score": 1}
    assert first.text == "I am [EMAIL]\n\nhello you"
    assert (second.prompt, second.response, second.text) == ("mail [EMAIL]?", "yes, do", "mail [EMAIL]?\nyes, do")
    assert third == plain
    assert metrics["edits"] == {"redact": {"rows": 2, "counts": {"email": 2}}}


def test_a_prompt_beside_a_text_is_edited_too(tmp_path: Path) -> None:
    given = Record("t", "a tall tree", prompt="I am jane@example.org", source="test#t")
    cleaned(tmp_path, [given], [EMAIL])
    (kept,) = shards.read(tmp_path / "clean")
    assert (kept.text, kept.prompt, kept.response) == ("a tall tree", "I am [EMAIL]", None)


def test_a_text_that_an_editor_empties_is_rejected_as_empty(tmp_path: Path) -> None:
    metrics = cleaned(tmp_path, [record("\u0000 \x1b"), record("a tall tree")], [UNICODE, LENGTH])
    assert metrics["rejected"] == {"unicode": {"empty": 1}} and metrics["rules"]["unicode"]["alone"] == 1


def test_no_raw_text_stays_behind(tmp_path: Path) -> None:
    cleaned(tmp_path, [record("a tall tree"), record("a small tree")], RULES)
    assert {p.name for p in tmp_path.iterdir()} == {"raw", "clean", "rejects", "work"}
    assert not list((tmp_path / "work").iterdir())


def test_evidence_is_redacted_even_where_no_rule_redacts(tmp_path: Path) -> None:
    cleaned(tmp_path, [record("jane@example.org"), record("a tall tree")], [{**LENGTH, "chars_max": 12}])
    (row,) = shards.rows(tmp_path / "rejects")
    assert "[EMAIL]" in row["evidence"] and "jane" not in row["evidence"]


def test_a_corpus_rule_before_a_filter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"presets\.p: length stands after exact_duplicates"):
        config([EXACT, LENGTH])


def test_a_preset_that_does_not_fit_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [record("x"), record("a tall tree")]
    (warning,) = cleaned(tmp_path / "1", given, RULES, share=0.4)["warnings"]
    assert warning.startswith("length fires on 50.0% of the rows, over rule_share_max 40%")
    assert f"WARNING: clean: {warning}" in capsys.readouterr().out
    assert cleaned(tmp_path / "2", given, RULES, share=0.5)["warnings"] == []
    with pytest.raises(DataError, match=r"nothing is left of 1 rows: \{'length:too_few_characters': 1\}"):
        cleaned(tmp_path / "3", given[:1], RULES)
    with pytest.raises(ValueError, match="Did you mean 'short'"):
        CleanConfig.model_validate({"preset": "shrot", "presets": {"short": RULES}, "rule_share_max": 1})


def corpus(rows: int) -> list[Record]:
    """Texts of which some are too short, some equal ones far before, and some are those but for a word."""
    made = []
    for at in range(rows):
        rng = random.Random(at % (rows // 2))
        words = [f"w{rng.randrange(4_000)}" for _ in range(14)]
        made.append(record("x" if at % 97 == 0 else " ".join([*words, "or"] if at % 7 else words)))
    return made


def tree(folder: Path) -> tuple[str, str]:
    return sha256_tree(folder / "clean"), sha256_tree(folder / "rejects")


def test_workers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = corpus(3_000)
    monkeypatch.setattr("tasks.clean_shard.ROWS_PER_CHUNK", 1_000)
    one = cleaned(tmp_path / "1", given, RULES)
    assert len(shards.parts(tmp_path / "1/clean")) == 3, "a part a chunk"
    two = cleaned(tmp_path / "2", given, RULES, executor=TWO)
    assert one == two and tree(tmp_path / "1") == tree(tmp_path / "2")


def test_cutting_into_chunks_changes_nothing_but_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deduplication across chunks is exact: the same rows go as when all lie in one."""
    given = corpus(3_000)
    whole = cleaned(tmp_path / "1", given, RULES)
    monkeypatch.setattr("tasks.clean_shard.ROWS_PER_CHUNK", 1_000)
    assert cleaned(tmp_path / "2", given, RULES) == whole
    for name in ("clean", "rejects"):
        assert list(shards.rows(tmp_path / "1" / name)) == list(shards.rows(tmp_path / "2" / name))


STAGE = """
import sys
from pathlib import Path
from tasks import clean, clean_shard
from tests.tasks.test_clean import RULES, TWO, config
clean_shard.ROWS_PER_CHUNK = 1_000
if __name__ == "__main__":
    root = Path(sys.argv[1])
    clean.run(config(RULES[:-1]), *(root / name for name in ("raw", "assets", "clean", "rejects", "work")), TWO)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_from_the_chunks_that_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, work = corpus(16_000), tmp_path / "killed" / "work"
    shards.write(tmp_path / "killed/raw", given)
    work.mkdir()
    chunks = work / "chunks"
    (tmp_path / "stage.py").write_text(STAGE)
    command = [sys.executable, str(tmp_path / "stage.py"), str(tmp_path / "killed")]
    stage = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    while stage.poll() is None and len([*chunks.glob("0*")]) < 3:
        time.sleep(0.01)
    stage.kill()
    assert stage.wait() == -signal.SIGKILL
    monkeypatch.setattr("tasks.clean_shard.ROWS_PER_CHUNK", 1_000)
    whole = cleaned(tmp_path / "whole", given, RULES[:-1])
    capsys.readouterr()
    there = len([*chunks.glob("0*")])
    assert 3 <= there < 16, "it was killed midway"
    assert cleaned(tmp_path / "killed", given, RULES[:-1], executor=TWO) == whole
    assert f"clean: {there} of 16 chunks are there already" in capsys.readouterr().out
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


def explained(tmp_path: Path, records: list[Record], rules: list[dict[str, Any]], rows: int | None = None) -> Explained:
    shards.write(tmp_path / "raw", records)
    paths = tmp_path / "raw", tmp_path / "assets", tmp_path / "work"
    return explain(config(rules, 0.4), *paths, ALONE, rows, examples=1)


def test_explain_says_what_each_rule_drops_alone_and_together(tmp_path: Path) -> None:
    given = [
        record("jo@example.org"),  # too few words, and twice
        record("jo@example.org", "again"),
        record("a tall old tree", "one"),  # twice
        record("a tall old tree", "two"),
        record("short"),  # too few words and too few characters
        record("another tall tree"),
    ]
    found = explained(tmp_path, given, [EMAIL, {**LENGTH, "words_min": 3, "chars_min": 6}, EXACT])
    assert found.tally.of("length") == {"fired": 3, "alone": 2, "first": 3}
    assert found.tally.of("length:too_few_words") == {"fired": 3, "alone": 1, "first": 2}
    assert found.tally.of("length:too_few_characters") == {"fired": 1, "alone": 0, "first": 1}
    assert found.tally.of("exact_duplicates") == {"fired": 2, "alone": 1, "first": 1}, "alone is over all rows"
    assert dict(found.gone) == {"redact": 0, "length": 3, "exact_duplicates": 4}
    assert found.tally.rows == {"read": 6, "kept": 2}
    assert found.tally.edited["redact"] == 2
    assert [w.partition(" of the")[0] for w in found.warnings] == ["length fires on 50.0%"]
    said = table(found, 1)
    assert "jo@example.org" not in said and "1 < 3: [EMAIL]" in said
    assert "WARNING: length fires on 50.0%" in said and "kept: 2 of 6 (33.3%)" in said
    heads, length = (next(line.split() for line in said.splitlines() if line[:6] == w) for w in ("rule  ", "length"))
    assert heads == ["rule", "fired", "alone", "so", "far"], "the words of the metrics and the page"
    assert length == ["length", "3", "50.00%", "2", "33.33%", "3", "50.00%"]
    metrics = cleaned(tmp_path / "run", given, [EMAIL, {**LENGTH, "words_min": 3, "chars_min": 6}, EXACT])
    assert metrics["rows_kept"] == 2, "as the stage does"


def test_explain_takes_an_even_sample(tmp_path: Path) -> None:
    found = explained(tmp_path, corpus(3_000), RULES, rows=300)
    assert found.tally.rows["read"] == 300 and found.of == 3_000
    assert "an even sample of 3,000 rows" in table(found, 0)


def test_the_command_explains_and_writes_nothing(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())

    def said(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "nightforge.cli", "clean", "--explain", "--project", str(tmp_path), *options]
        done = subprocess.run(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.returncode, done.stdout

    code, missing = said()
    assert code == 65 and "data/raw is not here yet" in missing
    shards.write(tmp_path / "data/raw", corpus(50))
    before = sha256_tree(tmp_path / "data")
    code, told = said("--rows", "20", "--preset", "short", "--examples", "1")
    assert code == 0 and "preset short: 20 rows (an even sample of 50 rows); nothing is written" in told, told
    assert "near_duplicate " in told and "so far" in told
    assert sha256_tree(tmp_path / "data") == before and {p.name for p in tmp_path.glob("[!.]*")} == {
        "data",
        "dvc.yaml",
        "params.yaml",
    }
    assert said("--preset", "shrot")[0] == 64 and said("--rows", "0")[0] == 64
