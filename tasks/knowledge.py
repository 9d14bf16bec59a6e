"""knowledge: facts from triples and tables, in words for training, and questions that tell whether they were learnt."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field, field_validator

from nightforge import entities, privacy
from nightforge.config import Config
from nightforge.errors import AssetMissing, RowsLost
from nightforge.knowledge import Graph, Triple, draw, graph, held_out, questions
from nightforge.methods import Chosen, Method
from nightforge.records import Record, Reject, content_id
from nightforge.similar import Index, sketch
from tasks import shards
from tasks.shards import RecordShards, RejectShards, Shards
from tasks.split import SplitConfig

CLOZE = pa.schema(
    [
        pa.field("relation", pa.string(), nullable=False),
        pa.field("texts", pa.list_(pa.string()), nullable=False),  # the first is true
        pa.field("known", pa.bool_(), nullable=False),
        pa.field("place", pa.string(), nullable=False),
        pa.field("label", pa.string()),
    ]
)
ENTITIES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)


class FactSource(Config):
    """Where facts come from."""

    asset: str
    """Name of an entry of ingest.assets; every file of it is read."""
    format: Annotated[Method, Chosen("facts")]
    """How: a method of nightforge/facts/."""


class Probe(Config):
    """The questions that evaluation asks."""

    phrasings: dict[str, str]
    """Relation → a sentence with `{subject}` and `{object}` that is none of those of training; a relation without one
    is not asked."""
    questions: int = Field(ge=0)
    """Questions at most about facts that training tells, and as many about facts held out of it."""
    held_out_share: float = Field(ge=0, lt=1)
    """Share of the facts of these relations that training never sees: what is guessed without having been told."""
    distractors: int = Field(ge=1, le=100)
    """Wrong objects beside the true one."""


class Entities(Config):
    """Tokens for entities."""

    tokens: int = Field(ge=0)
    """Entities that get a token of their own, those with most facts first; 0 for none."""
    dims: int = Field(ge=2, le=4096)
    """Dimensions of the graph's embedding."""


class KnowledgeConfig(Config):
    """Which facts are told in training, and how."""

    sources: list[FactSource]
    """None: nothing is told, and training is as it is without this stage."""
    phrasings: dict[str, Annotated[list[str], Field(min_length=1)]]
    """Relation → sentences with `{subject}` and `{object}`; `*` is for every relation without its own, and may say
    `{relation}`."""
    verbalisers: list[Annotated[Method, Chosen("verbalise")]]
    """Methods of nightforge/verbalise/."""
    label: str | None
    """Label of the records that are made; null for none."""
    share_max: float = Field(gt=0, lt=1)
    """Largest share of all training rows that told facts may be."""
    probe: Probe
    """What is asked afterwards."""
    entities: Entities
    """Which entities become tokens."""

    @field_validator("phrasings")
    @classmethod
    def _fillable(cls, phrasings: dict[str, list[str]]) -> dict[str, list[str]]:
        for phrasing in (p for some in phrasings.values() for p in some):
            if "{subject}" not in phrasing or "{object}" not in phrasing:
                raise ValueError(f"expected {{subject}} and {{object}} in a phrasing, got {phrasing!r}")
        return phrasings


@dataclass
class Tally:
    """What happened to the facts and to the texts."""

    rejects: RejectShards
    reasons: Counter[str] = field(default_factory=Counter)
    facts: int = 0

    def drop(self, record: Record, reject: Reject) -> None:
        """Write what is not used, and why."""
        self.rejects.put(record, "knowledge", Reject(reject.reason, privacy.evidence(reject.evidence)))
        self.reasons[reject.reason] += 1


def run(
    cfg: KnowledgeConfig,
    split: SplitConfig,
    seed: int,
    assets: Path,
    splits: Path,
    balanced: Path,
    knowledge: Path,
    cloze: Path,
    entity_vectors: Path,
    knowledge_rejects: Path,
) -> dict[str, Any]:
    """Training rows to `knowledge`, questions to `cloze`, entities to `entity_vectors`; what is dropped to the rejects.

    Memory: the graph (see nightforge/knowledge.py), 24 bytes a text, and a sketch a row of the evaluation splits.

    Raises:
        AssetMissing: a source names no asset.
        RowsLost: texts kept + rejected are not the texts said.
    """
    with RejectShards(knowledge_rejects) as rejects:
        tally = Tally(rejects)
        whole, repeated = graph(_facts(cfg, assets, tally))
        held = held_out(whole, cfg.probe.phrasings, cfg.probe.held_out_share, seed)
        told = whole.keep(~held)
        probe = cfg.probe
        asked = questions(whole, held, probe.phrasings, probe.questions, probe.distractors, cfg.label, seed)
        room = int(shards.count(balanced) * cfg.share_max / (1 - cfg.share_max))
        said, kept = _write(cfg, split, seed, told, splits, knowledge, tally, room)
    with Shards(cloze, CLOZE) as out:
        for question in asked:
            out.add(question._asdict())
    with Shards(entity_vectors, ENTITIES) as out:
        for name, vector in _entities(cfg.entities, told):
            out.add({"name": name, "vector": vector})
    return {
        "facts_read": tally.facts,
        "facts": len(whole.edges),
        "facts_repeated": repeated,
        "facts_told": len(told.edges),
        "facts_held_out": int(held.sum()),
        "texts_said": said,
        "rows_kept": kept,
        "rows_rejected": rejects.rows,
        "rejected": {"knowledge": dict(sorted(tally.reasons.items()))} if tally.reasons else {},
        "share": kept / (kept + shards.count(balanced)),
        "questions_known": sum(q.known for q in asked),
        "questions_held_out": sum(not q.known for q in asked),
    }


def _facts(cfg: KnowledgeConfig, assets: Path, tally: Tally) -> Iterator[Triple]:
    """The facts of every source, each with its asset, file and place; what is none goes to the rejects."""
    for source in cfg.sources:
        folder = assets / source.asset
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if not files:
            raise AssetMissing(
                f"knowledge: no asset {source.asset!r}. Add to ingest.assets in params.yaml:\n"
                f"  - {{name: {source.asset}, address: <file or folder>, sha256: null, lf: false}}"
            )
        for file in files:
            place = f"{source.asset}:{file.relative_to(folder).as_posix()}#"
            for item in source.format.module.read(file, source.format.cfg):
                tally.facts += 1
                if isinstance(item, Triple) and not cfg.phrasings.keys() & {item.relation, "*"}:
                    item = Reject("no_phrasing", f"{item.place}: {item.relation}")  # noqa: PLW2901
                if isinstance(item, Reject):
                    tally.drop(Record(id=content_id(item.evidence), text="", source=place), item)
                else:
                    yield item._replace(place=place + item.place)


def _said(cfg: KnowledgeConfig, seed: int, told: Graph) -> Iterator[tuple[Record, int]]:
    """Every text as a record, with its rank; the same each time."""
    for at, verbaliser in enumerate(cfg.verbalisers):
        rng = random.Random(f"{seed} {at} {verbaliser.name}")  # noqa: S311  not for secrets
        for text, facts, rank in verbaliser.module.say(told, cfg.phrasings, verbaliser.cfg, rng):
            places = [told.places[fact] for fact in facts]
            meta = {"facts": places, "knowledge": verbaliser.name}
            yield Record(content_id(text, cfg.label), text, label=cfg.label, source=places[0], meta=meta), rank


def _write(
    cfg: KnowledgeConfig, split: SplitConfig, seed: int, told: Graph, splits: Path, out: Path, tally: Tally, room: int
) -> tuple[int, int]:
    """Write the texts there is room for, those of low rank first and else by lot; returns how many were said, kept."""
    others = sorted(folder for folder in splits.iterdir() if folder.is_dir() and folder.name != "train")
    judged = Index((sketch(r.text, split.near) for f in others for r in shards.read(f)), split.near)
    before, seen = tally.reasons.total(), set[str]()
    order: list[tuple[int, float]] = []
    problems: dict[int, Reject] = {}
    for at, (record, rank) in enumerate(_said(cfg, seed, told)):
        problem = _problem(record, seen, judged)
        seen.add(record.id)
        if problem:
            problems[at] = problem
        order.append((rank, draw(seed, record.id)))
    chosen = sorted((key, at) for at, key in enumerate(order) if at not in problems)
    kept = {at for _, at in chosen[:room]}
    with RecordShards(out) as rows:
        for at, (record, _) in enumerate(_said(cfg, seed, told)):
            if at in kept:
                rows.put(record)
            else:
                tally.drop(record, problems.get(at) or Reject("over_share_max", record.text))
    if rows.rows + (dropped := tally.reasons.total() - before) != len(order):
        raise RowsLost(f"knowledge: {len(order)} texts said, {rows.rows} kept, {dropped} rejected.")
    return len(order), rows.rows


def _problem(record: Record, seen: set[str], judged: Index) -> Reject | None:
    if record.id in seen:
        return Reject("said_before", record.text)
    if next(privacy.spans(record.text), None):
        return Reject("personal_data", record.text)
    if judged.find(sketch(record.text, judged.near)) is not None:
        return Reject("near_another_split", record.text)
    return None


def _entities(cfg: Entities, told: Graph) -> Iterator[tuple[str, list[float]]]:
    chosen = entities.busiest(told, cfg.tokens)
    if len(chosen) < 2:
        return
    places = entities.vectors(told, cfg.dims)
    for entity in chosen:
        yield told.names[entity], places[entity].tolist()
