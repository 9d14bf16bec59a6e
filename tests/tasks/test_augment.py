import json
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nightforge.errors import DataError
from nightforge.records import Record, content_id
from tasks import augment, balance, shards, wiring
from tasks.augment import AugmentConfig
from tasks.executor import Executor
from tasks.split import SplitConfig

ROOT = Path(__file__).resolve().parents[2]
VALUES = wiring.read_yaml(ROOT / "params.yaml")
SPLIT = SplitConfig.model_validate(VALUES["split"])
SYNONYM = {"name": "synonym", "part": "all", "asset": "wordnet", "word_share": 0.5, "tries": 8, "stopwords": []}
QUALITY = {"changed_words_min": 0, "changed_words_max": 1, "language_confidence_min": None, "label": None}


def record(text: str, label: str | None = "food", **meta: Any) -> Record:
    return Record(id=content_id(text, label), text=text, label=label, source=f"test#{text[:5]}", meta=meta)


def rows(text: str = "a tall {} meal number {}", count: int = 20) -> list[Record]:
    return [record(text.format(("showy", "large")[i % 2], i), document=f"d{i}") for i in range(count)]


def config(*methods: dict[str, Any], **quality: Any) -> AugmentConfig:
    chosen = [{"weight": 1, "method": m} for m in methods or (SYNONYM,)]
    return AugmentConfig.model_validate({"methods": chosen, "quality": QUALITY | quality, "media": None})


class Stage:
    """A folder with the stage's inputs: every row stays, and gets so many copies."""

    def __init__(
        self, folder: Path, assets: Path, given: list[Record], held_out: list[Record], copies: int = 2
    ) -> None:
        self.folder, self.assets = folder, assets
        shards.write(folder / "splits" / "train", given)
        shards.write(folder / "splits" / "acceptance", held_out)
        with shards.Shards(folder / "plan", balance.PLAN) as plan:
            for one in given:
                plan.add({"id": one.id, "copies": copies})

    def run(self, cfg: AugmentConfig, workers: int = 1, name: str = "out") -> tuple[dict[str, Any], list[Record]]:
        out = self.folder / name
        out.mkdir(exist_ok=True)
        metrics = augment.run(
            cfg, SPLIT, 1, self.folder / "splits", self.folder / "plan", self.assets, out / "balanced", out / "rejects",
            self.folder / "work", Executor(name="local", workers=workers, address=None),
        )  # fmt: skip
        return metrics, list(shards.read(out / "balanced"))

    def rejects(self) -> Counter[str]:
        return Counter(row["reason"] for row in shards.rows(self.folder / "out" / "rejects"))


def test_copies_are_varied_new_and_traced(tmp_path: Path, wordnet_assets: Path) -> None:
    given = rows()
    held_out = [record(f"a high showy repast number {i}") for i in range(4)]
    stage = Stage(tmp_path, wordnet_assets, given, held_out)
    metrics, made = stage.run(config())
    copies = [r for r in made if "parent" in r.meta]
    originals = {r.id: r for r in made if "parent" not in r.meta}
    assert list(originals.values()) == given and metrics["originals"] == 20
    assert metrics["copies_planned"] == 40 == metrics["copies_made"] + metrics["copies_rejected"]
    assert len(copies) == metrics["copies_made"] == metrics["labels"]["food"] - 20 > 30
    texts = Counter(" ".join(r.text.lower().split()) for r in [*made, *held_out])
    assert max(texts.values()) == 1, "no copy equals an original, a copy, or a row of another split"
    for copy in copies:
        parent = originals[copy.meta["parent"]]
        assert copy.label == parent.label and copy.meta["augmenter"] == "synonym" and copy.meta["copy"] in (1, 2)
        assert copy.meta["document"] == parent.meta["document"] and "copies" not in copy.meta
        for edit in reversed(copy.meta["edits"]):  # the log tells the very change
            assert edit["part"] == "text" and parent.text[edit["at"] :].startswith(edit["before"])
            cut = edit["at"], edit["at"] + len(edit["before"])
            parent = replace(parent, text=parent.text[: cut[0]] + edit["after"] + parent.text[cut[1] :])
        assert parent.text == copy.text


@pytest.mark.slow
def test_the_bytes_do_not_hang_on_the_workers(
    tmp_path: Path, wordnet_assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "ROWS_PER_CHUNK", 7)
    noise = {"name": "noise", "part": "all", "tries": 3, "word_share": 0.2, "letters_min": 2}
    noise |= {"unit": "words", "actions": ["swap", "delete"]}
    stage = Stage(tmp_path, wordnet_assets, rows(), [])
    cfg = config(SYNONYM, noise, label={"confidence_min": 0.9, "rows_max": 100})
    one = stage.run(cfg, 1, "one")
    two = stage.run(cfg, 2, "two")
    assert one == two
    assert {r.meta["augmenter"] for r in one[1] if "parent" in r.meta} == {"synonym", "noise"}
    for part in ("balanced", "rejects"):
        files = [(tmp_path / n / part / "part-00000.parquet").read_bytes() for n in ("one", "two")]
        assert files[0] == files[1]
    assert not any((tmp_path / "work").iterdir()), "no text stays in the work folder"


def test_equal_copies_of_two_chunks_are_kept_once(
    tmp_path: Path, wordnet_assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "ROWS_PER_CHUNK", 1)
    given = [record("a massive noon"), record("a large noon")]
    cfg = config(SYNONYM | {"tries": 1})
    # `massive` and `large` are synonyms of each other, and each copy would equal the other row
    stage = Stage(tmp_path / "a", wordnet_assets, given, [], copies=1)
    assert stage.run(cfg)[0]["rejected"] == {"synonym": {"equals_another_row": 2}}
    # two rows that differ in a synonym have equal copies: the second is refused when they are gathered
    given = [record("a high noon"), record("a lofty noon")]
    stage = Stage(tmp_path / "b", wordnet_assets, given, [], copies=2)
    metrics, made = stage.run(config())
    assert [r.text for r in made if "parent" in r.meta] == ["a tall noon"]
    assert metrics["rejected"] == {"synonym": {"equals_another_row": 3}}


def test_a_copy_that_cannot_be_varied_is_rejected(tmp_path: Path, wordnet_assets: Path) -> None:
    stage = Stage(tmp_path, wordnet_assets, rows("no synonyms here{0:.0}, {1}", 5), [])
    metrics, _ = stage.run(config())
    assert metrics["rejected"] == {"synonym": {"nothing_to_vary": 10}} and metrics["copies_made"] == 0
    assert stage.rejects() == {"nothing_to_vary": 10}


def test_a_copy_near_a_row_of_another_split_is_rejected(tmp_path: Path, wordnet_assets: Path) -> None:
    near = "{} high {} on the way to the old house by the river"
    held_out = [record(near.format(word, i)) for word in ("flashy", "splashy", "massive") for i in range(20)]
    stage = Stage(tmp_path, wordnet_assets, rows(near.replace("high", "tall")), held_out)
    metrics, _ = stage.run(config())
    assert metrics["rejected"]["synonym"]["near_another_split"] > 0
    assert metrics["refused"]["synonym"]["near_another_split"] >= metrics["rejected"]["synonym"]["near_another_split"]


def test_a_variant_that_loses_its_label_is_rejected(tmp_path: Path, wordnet_assets: Path) -> None:
    rng = random.Random(0)
    filler = ["soup", "bread", "garden", "house", "river", "lunch"]

    def of(label: str, word: str, i: int) -> Record:
        text = f"the {word} {rng.choice(filler)} {rng.choice(filler)} w{rng.randrange(40)}"
        return record(text, label, document=f"{label}{i}")

    given = [of("plant", "tall", i) for i in range(60)] + [of("food", "lofty", i) for i in range(60)]
    given = list({r.id: r for r in given}.values())
    stage = Stage(tmp_path, wordnet_assets, given, [], copies=1)
    kept, _ = stage.run(config())
    metrics, made = stage.run(config(label={"confidence_min": 0.5, "rows_max": 1000}))
    assert metrics["label_accuracy_cv"] > 0.9
    assert metrics["rejected"]["synonym"]["label_lost"] > 0
    # what makes a plant is `tall`: no copy says of a plant what makes a food
    assert not [r for r in made if r.label == "plant" and "lofty" in r.text]
    assert kept["copies_made"] > metrics["copies_made"]


def test_a_killed_stage_goes_on_where_it_was(
    tmp_path: Path, wordnet_assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "ROWS_PER_CHUNK", 4)
    stage = Stage(tmp_path, wordnet_assets, rows(), [])
    whole = stage.run(config())
    seen = tmp_path / "seen"
    script = f"""
import os, signal
from pathlib import Path
from tasks import augment, augment_chunk
from tests.tasks.test_augment import *
vary = augment_chunk.vary
def dies(job):
    if job.number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    vary(job)
augment_chunk.vary, augment.ROWS_PER_CHUNK = dies, 4
stage = Stage.__new__(Stage)
stage.folder, stage.assets = Path({str(tmp_path)!r}), Path({str(wordnet_assets)!r})
stage.run(config())
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(p.name for p in (tmp_path / "work" / "made").iterdir()) == ["00000", "00001", "00002"]
    before = (tmp_path / "work" / "made" / "00001").stat().st_mtime_ns
    real = augment.gather
    monkeypatch.setattr(augment, "gather", lambda *a: (seen.write_text(str(a[2][1].stat().st_mtime_ns)), real(*a))[1])
    assert stage.run(config()) == whole
    assert int(seen.read_text()) == before, "a chunk that was there is not made again"


def test_a_plan_of_other_rows_is_refused(tmp_path: Path, wordnet_assets: Path) -> None:
    stage = Stage(tmp_path, wordnet_assets, rows(), [])
    shutil.rmtree(tmp_path / "splits" / "train")
    shards.write(tmp_path / "splits" / "train", rows()[:7])
    with pytest.raises(DataError, match="the plan keeps 20 rows, the train split has 7"):
        stage.run(config())


def test_the_sample_values_ask_for_every_check() -> None:
    cfg = AugmentConfig.model_validate(VALUES["augment"])
    assert cfg.quality and cfg.quality.label and cfg.quality.language_confidence_min
    assert AugmentConfig.model_validate(json.loads(cfg.as_json())).model_dump() == cfg.model_dump()
