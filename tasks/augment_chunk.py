"""The copies of some rows of the plan, made by one worker: each varied, checked, and written to the work folder."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import Field

from nightforge import media_variants
from nightforge.config import Config
from nightforge.media_variants import MediaQuality
from nightforge.methods import Chosen, Method
from nightforge.pictures import Alike, Looks, NotAPicture, look, pixels
from nightforge.privacy import evidence
from nightforge.records import Record, Reject
from nightforge.similar import Index, Near, sketch
from nightforge.variants import Labels, Quality, problem
from nightforge.words import folded
from tasks import shards
from tasks.shards import RecordShards, RejectShards
from tasks.split import judged_records, judged_rows

HASHES, LABELS = "train.npy", "labels.npz"
NONE = "null"
"""JSON for no value."""


class Weighted(Config):
    """A method, and how often it is taken."""

    weight: float = Field(gt=0)
    """Share of the copies, over the sum of all weights; which copy falls to which method is drawn from the seed."""
    method: Annotated[Method, Chosen("augment")]
    """A method of nightforge/augment/."""


class AugmentConfig(Config):
    """How copies are varied, and what they must keep."""

    methods: list[Weighted] = Field(min_length=1)
    """What varies them."""
    quality: Quality | None
    """Which variants of texts may be trained on; null: not asked, for there are none."""
    media: MediaQuality | None
    """Which variants of pictures and sounds; null: not asked."""

    def as_json(self) -> str:
        """For another process."""
        return json.dumps(self.model_dump(mode="json"))


class Job(NamedTuple):
    """Rows to vary, and by what. Paths are absolute: a worker may stand elsewhere."""

    number: int
    cfg: str
    near: str
    """JSON of `split.near`, which may be null."""
    seed: int
    splits: Path
    assets: Path
    work: Path

    def __str__(self) -> str:
        return f"rows {self.number} of {self.work}"

    @property
    def rows(self) -> Path:
        """What is to be varied: records whose meta holds `copies`, and their own `meta`."""
        return self.work / "rows" / f"{self.number:05d}"

    @property
    def folder(self) -> Path:
        """What came of it, once it is whole: `made`, `rejects` and `refused.json`."""
        return self.work / "made" / f"{self.number:05d}"


def vary(job: Job) -> None:
    """Make the copies of a job's rows; nothing depends on which worker does it, or on the jobs before."""
    maker = Maker(
        AugmentConfig.model_validate(json.loads(job.cfg)),
        job.seed,
        job.assets,
        np.load(job.work / HASHES, mmap_mode="r"),
        held_out(job.splits, job.near) if job.near != NONE else None,
        Labels.load(job.work / LABELS) if (job.work / LABELS).exists() else None,
        job.splits,
    )
    partial = job.folder.with_name(f".{job.folder.name}")
    with RecordShards(partial / "made") as made, RejectShards(partial / "rejects") as rejects:
        for row in shards.read(job.rows):
            for variant, method, why in maker.copies(replace(row, meta=row.meta["meta"]), row.meta["copies"]):
                if why:
                    rejects.put(variant, method, why)
                else:
                    made.put(variant)
    (partial / "refused.json").write_text(json.dumps(maker.refused, sort_keys=True), encoding="utf-8")
    partial.rename(job.folder)


@lru_cache(maxsize=1)
def held_out(splits: Path, near: str) -> Index:
    """Every row of the splits that are not trained on, once a process."""
    return judged_rows(splits, Near(**json.loads(near)))


@lru_cache(maxsize=1)
def held_out_looks(splits: Path, near: str) -> Looks:
    """Every picture of the splits that are not trained on, once a process."""
    seen = Looks(Alike(**json.loads(near)))
    for record in judged_records(splits):
        if one := look_of(record):
            seen.add(one)
    return seen


def look_of(record: Record) -> bytes | None:
    """What the picture that a record is looks like; none where it is no picture."""
    if not record.media_type.startswith("image/"):
        return None
    try:
        return look(pixels(record.content or b""))
    except NotAPicture:
        return None


def key(record: Record) -> int:
    """Equal for texts that differ in case, spacing and punctuation alone; of pictures and sounds for equal content."""
    said = (" ".join(folded(record.text)) or record.text).encode("utf-8", "surrogatepass")
    return xxhash.xxh3_64_intdigest(said if record.content is None else record.content)


class Maker:
    """Makes the copies of a row; knows every text that a copy may not repeat."""

    def __init__(
        self,
        cfg: AugmentConfig,
        seed: int,
        assets: Path,
        train: npt.NDArray[np.uint64],
        others: Index | None,
        labels: Labels | None,
        splits: Path,
    ) -> None:
        """`train` are the sorted keys of the train split, `others` what may not be neared; null: anything may."""
        self.cfg, self.seed, self.assets, self.train, self.others, self.labels = (
            cfg,
            seed,
            assets,
            train,
            others,
            labels,
        )
        near = cfg.media.near if cfg.media else None
        self.looks = held_out_looks(splits, near.model_dump_json()) if near else None
        self.made: set[int] = set()
        self.refused: dict[str, Counter[str]] = {}
        """Method → reason → variants refused, also where a later one was taken."""

    def copies(self, record: Record, count: int) -> Iterator[tuple[Record, str, Reject | None]]:
        """So many copies, each with its method and why it cannot be used; chance hangs on (seed, id, copy) alone."""
        weights = [one.weight for one in self.cfg.methods]
        for copy in range(1, count + 1):
            rng = random.Random(f"{self.seed} {record.id} {copy}")  # noqa: S311  not for secrets
            method = rng.choices(self.cfg.methods, weights)[0].method
            tried, reason = record, "nothing_to_vary"
            for variant in method.module.vary(record, method.cfg, rng, self.assets):
                tried = replace(variant, meta={**variant.meta, "augmenter": method.name, "copy": copy})
                if not (reason := self._problem(record, tried)):
                    self.made.add(key(tried))
                    break
                self.refused.setdefault(method.name, Counter())[reason] += 1
            yield tried, method.name, Reject(reason, evidence(tried.text)) if reason else None

    def _problem(self, record: Record, variant: Record) -> str:
        """Why a variant may not be added to the train split, or nothing; what costs least is asked first."""
        this = key(variant)
        at = int(np.searchsorted(self.train, np.uint64(this)))
        if this in self.made or (at < len(self.train) and int(self.train[at]) == this):
            return "equals_another_row"
        if variant.content is not None:
            return self._media_problem(record, variant)
        if self.cfg.quality and (why := problem(record, variant, self.cfg.quality, self.labels)):
            return why
        near = self.others and self.others.find(sketch(variant.text, self.others.near))
        return "" if near is None else "near_another_split"

    def _media_problem(self, record: Record, variant: Record) -> str:
        if self.cfg.media and (why := media_variants.problem(record, variant, self.cfg.media)):
            return why
        near = self.looks and (one := look_of(variant)) and self.looks.find(one)
        return "" if near is None else "near_another_split"


def refused(folders: list[Path]) -> dict[str, Any]:
    """Method → reason → variants refused, over all jobs."""
    total: dict[str, Counter[str]] = {}
    for folder in folders:
        for method, reasons in json.loads((folder / "refused.json").read_text(encoding="utf-8")).items():
            total.setdefault(method, Counter()).update(reasons)
    return {method: dict(sorted(reasons.items())) for method, reasons in sorted(total.items())}
