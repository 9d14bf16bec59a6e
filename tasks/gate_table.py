"""What a gate looks at: an artifact as a table of signals, and facts about it as a whole. No text in either."""

import json
import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from nightforge import drift
from nightforge.errors import DataError
from nightforge.pictures import Alike, Looks, NotAPicture, look, pixels
from nightforge.signals import COLUMNS, READ, flatten, of_batch, plain_id
from nightforge.similar import Index, Near, Sketch, sketch
from tasks import shards

if TYPE_CHECKING:
    import polars as pl

BATCH_BYTES, BATCH_ROWS = 16 << 20, 50_000
"""What a batch holds at most, by the mean size of a shard's rows."""
TRAIN, REJECTED = "train", "rejected.json"
NEAR = Near(shingle_words=3, bands=32, rows=4, jaccard_min=0.7)
"""What no honest split has on both its sides, whatever the values of the stage that dealt it."""
ALIKE = Alike(bits_max=2, difference_max=0.02)
"""The same of pictures."""
RATIOS = ("n_words", "alpha_share", "brightness", "contrast", "seconds", "loudness_db")
"""Signals whose mean in a split is held against that in train, where rows have them."""
SCORES = "scores.parquet"
KEYS = ["words_hash", "document_hash", "origin_hash", "origin_label_hash"]
"""Columns that rows are matched by, of no meaning to an expectation."""
Facts = dict[str, float]


class Tables(NamedTuple):
    """`rows`: one row a record (None where the artifact has no records); `facts`: numbers about the whole."""

    rows: "pl.DataFrame | None"
    facts: Facts


def of(artifact: Path, beside: Path) -> Tables:
    """The tables of an artifact, by what it is: metrics (JSON), a folder of splits, or a folder of shards.

    `beside` is what it is compared with: rejected rows, the records it was made from, splits (of which it may itself
    be one), or scores. Memory grows by some 110 bytes a row, whatever the length of the texts.

    Raises:
        DataError: neither metrics nor shards lie there.
    """
    if artifact.suffix == ".json":
        return _metrics(artifact, beside)
    names, kept = splits(artifact), splits(beside)
    rows = _dealt(artifact, names) if names else table(artifact)
    facts = _whole(rows)
    if names:
        rows, more = _compare_splits(rows)
        rows = _near_train(rows, artifact, names)
        facts |= more | {"rows_missing": shards.count(beside) - _rejected(artifact) - len(rows)}
    elif kept:
        rows, more = _compare_with_splits(rows, beside, [name for name in kept if beside / name != artifact])
        facts |= more
    elif "reason" in columns(beside):
        rejected = shards.count(beside)
        facts |= {"rejected": rejected, "rejected_share": rejected / max(rejected + len(rows), 1)}
    else:
        facts |= {"rows_missing": shards.count(beside) - len(rows)}
    return Tables(rows.drop(KEYS), facts)


def splits(folder: Path) -> list[str]:
    """The names of the splits in a folder; none where it holds shards itself."""
    return (
        sorted(p.name for p in folder.iterdir() if p.is_dir() and any(p.glob("*.parquet"))) if folder.is_dir() else []
    )


def _rejected(artifact: Path) -> int:
    """Rows that the stage split found contaminated, as it says beside the splits: they are in none of them."""
    said = artifact / REJECTED
    return int(json.loads(said.read_text(encoding="utf-8"))["rows"]) if said.exists() else 0


def columns(folder: Path) -> list[str]:
    """The column names of a folder of shards."""
    return list(pq.read_schema(shards.parts(folder)[0]).names)


def batches(folder: Path, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    """Columns of a folder of shards, some BATCH_BYTES in memory at a time.

    Raises:
        DataError: the folder holds no shards, or one without these columns, or with others of their names.
    """
    for part in shards.parts(folder):
        with pq.ParquetFile(part) as file:
            have = {field.name: field.type for field in file.schema_arrow}
            wrong = [name for name in wanted if have.get(name) != shards.SCHEMA.field(name).type]
            if wrong:
                said = ", ".join(f"{name} {have.get(name, 'missing')}" for name in wrong)
                raise DataError(f"{part}: expected the columns of records (see docs/data.md), got {said}.")
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            row_bytes = sum(g.total_byte_size for g in groups) / max(file.metadata.num_rows, 1)
            rows = min(BATCH_ROWS, max(1, int(BATCH_BYTES / max(row_bytes, 1))))
            yield from file.iter_batches(rows, columns=wanted)


def table(folder: Path) -> "pl.DataFrame":
    """The signals of a folder of shards: the columns `COLUMNS`, a row each record, and what of_batch adds to them."""
    import polars as pl

    return pl.concat([_no_rows(), *map(of_batch, batches(folder, READ))], rechunk=False, how="diagonal")


def _no_rows() -> "pl.DataFrame":
    import polars as pl

    return pl.DataFrame(schema={name: getattr(pl, kind) for name, kind in COLUMNS.items()})


def _dealt(folder: Path, names: list[str]) -> "pl.DataFrame":
    """The signals of splits, with the split of each row."""
    import polars as pl

    parts = [table(folder / name).with_columns(split=pl.lit(name, pl.Categorical)) for name in names]
    return pl.concat(parts, rechunk=False)


def _whole(rows: "pl.DataFrame") -> Facts:
    """Facts that every table has: shares are of rows; the ratio is of the largest label to the smallest."""
    sizes, size = _labels(rows).values(), len(rows) or math.nan
    return {
        "rows": len(rows),
        "labels": len(sizes),
        "label_share_min": min(sizes, default=math.nan) / size,
        "label_ratio": _ratio(rows),
        "duplicate_share": 1 - rows["text_hash"].n_unique() / size,
        "synthetic_share": _mean(rows, "is_synthetic"),
        "n_words_mean": _mean(rows, "n_words"),
    }


def _compare_splits(rows: "pl.DataFrame") -> tuple["pl.DataFrame", Facts]:
    """Marks rows whose text or document is in another split too; each split against train and against the whole.

    `<split>.n_words_ratio` and `.alpha_share_ratio` are means over train's; `.label_share_deviation` is the largest
    difference of a label's share from its share in the whole.
    """
    import polars as pl

    code = pl.col("split").to_physical()
    rows = rows.with_columns(
        (code.min().over(f"{what}_hash") != code.max().over(f"{what}_hash")).cast(pl.Int8).alias(f"{what}_elsewhere")
        for what in ("text", "document")
    )
    facts: Facts = {"splits": rows["split"].n_unique()}
    whole, train = _labels(rows), rows.filter(pl.col("split") == TRAIN)
    for (name,), part in rows.group_by("split", maintain_order=True):
        sizes = _labels(part)
        facts |= {f"{name}.rows": len(part), f"{name}.rows_per_label_min": min(sizes.get(label, 0) for label in whole)}
        facts |= {f"{name}.{what}": value for what, value in _like(part, whole, train).items()}
    return rows, facts


def _like(part: "pl.DataFrame", whole: dict[str, int], train: "pl.DataFrame") -> Facts:
    """How far the rows of a split are from what they should be a fair sample of."""
    have = set(part.columns) & set(train.columns)
    ratios = {f"{name}_ratio": _over(part, train, name) for name in RATIOS if name in have}
    return {"label_share_deviation": drift.share_change(whole, _labels(part)), **ratios}


def _near_train(rows: "pl.DataFrame", folder: Path, names: list[str]) -> "pl.DataFrame":
    """Marks rows that models are judged on and that a row of train comes `NEAR` or looks `ALIKE`, one for each such row
    of train.

    Memory: a sketch or a look a judged row (nightforge/similar.py, pictures.py); rows of train stream by.
    """
    import polars as pl

    judged = (rows["split"] != TRAIN).arg_true()
    held, train = [n for n in names if n != TRAIN], [n for n in names if n == TRAIN]
    found = _near_texts(folder, held, train) | (_alike(folder, held, train) if "width_px" in rows.columns else set())
    marks = pl.zeros(len(rows), pl.Int8, eager=True)
    return rows.with_columns(near_train=marks.scatter(judged.gather(sorted(found)), 1))


def _near_texts(folder: Path, held: list[str], train: list[str]) -> set[int]:
    """Places among the rows of the held splits of one text near each of train; what has content is no text."""
    places = array("Q")

    def sketches() -> Iterator[Sketch]:
        for at, (text, media_type) in enumerate(_columns(folder, held, ["text", "media_type"])):
            if media_type.startswith("text/"):
                places.append(at)
                yield sketch(text, NEAR)

    index = Index(sketches(), NEAR)
    texts = (text for text, kind in _columns(folder, train, ["text", "media_type"]) if kind.startswith("text/"))
    return {places[at] for text in texts if (at := index.find(sketch(text, NEAR))) is not None}


def _alike(folder: Path, held: list[str], train: list[str]) -> set[int]:
    """The same of pictures."""
    seen, places = Looks(ALIKE), array("Q")
    for at, one in enumerate(_looks(folder, held)):
        if one is not None:
            places.append(at)
            seen.add(one)
    found = (seen.find(one) for one in _looks(folder, train) if one is not None)
    return {places[at] for at in found if at is not None}


def _looks(folder: Path, names: list[str]) -> Iterator[bytes | None]:
    for content, media_type in _columns(folder, names, ["content", "media_type"]):
        try:
            yield look(pixels(content)) if media_type.startswith("image/") else None
        except NotAPicture:
            yield None


def _columns(folder: Path, names: list[str], wanted: list[str]) -> Iterator[tuple[Any, ...]]:
    for name in names:
        for batch in batches(folder / name, wanted):
            yield from zip(*(batch[column].to_pylist() for column in wanted), strict=True)


def _compare_with_splits(rows: "pl.DataFrame", folder: Path, names: list[str]) -> tuple["pl.DataFrame", Facts]:
    """Marks rows without an origin in train, and rows that repeat what the model is trained or judged on.

    The facts `train.<signal>.…` are the distance from train in label and length (see nightforge/drift.py).
    """
    import polars as pl

    parts = {name: table(folder / name) for name in names}
    train = parts.pop(TRAIN, _no_rows())
    judged = pl.concat([_no_rows(), *parts.values()], how="diagonal")
    rows = rows.with_columns(
        pl.col(key).is_in(other[key].implode()).cast(pl.Int8).alias(mark)
        for key, other, mark in (
            ("origin_hash", train, "origin_in_train"),
            ("origin_label_hash", train, "label_as_origin"),
            ("text_hash", train, "equals_train"),
            ("text_hash", judged, "equals_evaluation"),
            ("words_hash", judged, "words_of_evaluation"),
        )
    ).with_columns(pl.col("is_synthetic").sum().over("origin_hash").cast(pl.Int32).alias("copies"))
    train = train.with_columns(kept=pl.col("origin_hash").is_in(rows["origin_hash"].implode()))
    before = _ratio(train)
    far = drift.compare(drift.profile(train), rows)
    return rows, {
        "train_rows": len(train),
        "train_kept_share": _mean(train, "kept"),
        "train_label_ratio": before,
        "label_ratio_change": _ratio(rows) / before if before else math.nan,
        **_like(rows, _labels(train), train),
        **{f"train.{name}": value for name, value in flatten(far).items()},
    }


def _metrics(artifact: Path, beside: Path) -> Tables:
    """Numbers of a metrics file, and where scores lie beside it, those with the figure worked out again from them."""
    import polars as pl
    import polars.selectors as cs

    found = json.loads(artifact.read_text(encoding="utf-8"))
    facts = flatten(found)
    name = f"{found.get('metric', 'bpb')}.value"  # a family of images or sounds names its own
    if "metric" in found and name in facts:
        facts["metric.value"] = facts[name]
    if not (beside / SCORES).exists():
        return Tables(None, facts)
    rows = pl.read_parquet(beside / SCORES).select(cs.numeric() - cs.by_name("id"), pl.col("id").cast(pl.String))
    if "nats" in rows.columns and (units := {"bytes", "units"} & set(rows.columns)):
        again = float(rows["nats"].sum()) / (math.log(2) * float(rows[units.pop()].sum())) if len(rows) else math.nan
        facts |= {"scores": len(rows), "bpb_difference": abs(again - facts.get(name, math.nan))}
    return Tables(rows, facts)


def texts(artifact: Path, wanted: set[str]) -> dict[str, str]:
    """The texts of the wanted rows by id, read again from a record artifact; nothing for metrics."""
    if artifact.suffix == ".json" or not wanted:
        return {}
    folders = [artifact / name for name in splits(artifact)] or [artifact]
    rows = (row for folder in folders for batch in batches(folder, ["id", "text"]) for row in batch.to_pylist())
    return {name: row["text"] for row in rows if (name := plain_id(row["id"])) in wanted}


def _labels(rows: "pl.DataFrame") -> dict[str, int]:
    """Rows of each label."""
    counts = rows["label"].value_counts()
    return dict(zip(counts["label"].to_list(), counts["count"].to_list(), strict=True))


def _ratio(rows: "pl.DataFrame") -> float:
    sizes = _labels(rows).values()
    return max(sizes) / min(sizes) if sizes else math.nan


def _mean(rows: "pl.DataFrame", name: str) -> float:
    """Mean of a column; NaN where there are no rows."""
    import polars as pl

    found = rows[name].cast(pl.Float64).mean()
    return math.nan if found is None else float(found)  # type: ignore[arg-type]


def _over(part: "pl.DataFrame", whole: "pl.DataFrame", name: str) -> float:
    mean = _mean(whole, name)
    return _mean(part, name) / mean if mean else math.nan
