"""knowledge: facts from triples and tables, in words for training, and questions that tell whether they were learnt."""

import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field, model_validator

from nightforge import entities, privacy
from nightforge.config import Config
from nightforge.errors import AssetMissing, ConfigError, RowsLost
from nightforge.knowledge import Graph, Triple, draw, graph, held_out, questions
from nightforge.methods import Chosen, Method
from nightforge.records import Record, Reject, content_id
from nightforge.similar import Index, sketch
from nightforge.verbalise._said import Said
from tasks import shards
from tasks.shards import RecordShards, RejectShards, Shards
from tasks.split import SplitConfig, judged_rows

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

    @model_validator(mode="after")
    def _fillable(self) -> Self:
        asked = self.probe.phrasings
        for phrasing in (*asked.values(), *(p for some in self.phrasings.values() for p in some)):
            if "{subject}" not in phrasing or "{object}" not in phrasing:
                raise ValueError(f"expected {{subject}} and {{object}} in a phrasing, got {phrasing!r}")
        if "*" in asked:
            raise ValueError("probe.phrasings: expected a relation, got '*'")
        for relation, phrasing in asked.items():
            told = self.phrasings.get(relation) or self.phrasings.get("*", [])
            if phrasing.split() in (p.replace("{relation}", relation).split() for p in told):
                raise ValueError(f"probe.phrasings: expected words of its own, but training tells {phrasing!r}")
        return self


class Written(NamedTuple):
    """What became of the texts."""

    said: int
    kept: int
    facts: list[int]
    """Those that a kept text tells."""


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

    Memory: the graph (see nightforge/knowledge.py), some 100 bytes a text, 150 a fact that may be asked, and an index
    of the evaluation splits' rows (nightforge/similar.py).

    Raises:
        AssetMissing: a source names no asset.
        RowsLost: texts kept + rejected are not the texts said.
    """
    with RejectShards(knowledge_rejects) as rejects:
        tally = Tally(rejects)
        whole, repeated = graph(_facts(cfg, assets, tally))
        held = held_out(whole, cfg.probe.phrasings, cfg.probe.held_out_share, seed)
        tellable = whole.keep(~held)
        room = int(shards.count(balanced) * cfg.share_max / (1 - cfg.share_max))
        written = _write(cfg, split, seed, tellable, splits, knowledge, tally, room)
        told = np.zeros(len(held), bool)
        told[np.flatnonzero(~held)[written.facts]] = True
        probe = cfg.probe
        asked = questions(whole, told, held, probe.phrasings, probe.questions, probe.distractors, cfg.label, seed)
    _put(cloze, CLOZE, (question._asdict() for question in asked))
    _put(entity_vectors, ENTITIES, _entities(cfg.entities, tellable))
    return {
        "facts_read": tally.facts,
        "facts": len(whole.edges),
        "facts_repeated": repeated,
        "facts_told": int(told.sum()),
        "facts_held_out": int(held.sum()),
        "facts_untold": int((~told & ~held).sum()),
        "texts_said": written.said,
        "rows_kept": written.kept,
        "rows_rejected": rejects.rows,
        "rejected": {"knowledge": dict(sorted(tally.reasons.items()))} if tally.reasons else {},
        "share": written.kept / (written.kept + shards.count(balanced)),
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


def _said(cfg: KnowledgeConfig, seed: int, told: Graph) -> Iterator[tuple[Record, Said]]:
    """Every text as a record, and as it was said; the same each time."""
    for at, verbaliser in enumerate(cfg.verbalisers):
        rng = random.Random(f"{seed} {at} {verbaliser.name}")  # noqa: S311  not for secrets
        for said in verbaliser.module.say(told, cfg.phrasings, verbaliser.cfg, rng):
            places = [told.places[fact] for fact in said.facts]
            meta = {"facts": places, "knowledge": verbaliser.name}
            record = Record(content_id(said.text, cfg.label), said.text, label=cfg.label, source=places[0], meta=meta)
            yield record, said


def _write(
    cfg: KnowledgeConfig, split: SplitConfig, seed: int, told: Graph, splits: Path, out: Path, tally: Tally, room: int
) -> Written:
    """Write the texts there is room for: by lot, but those first that tell a fact which none before them told."""
    if split.near is None:
        raise ConfigError("knowledge: split.near is null, so nothing holds told facts apart from judged rows; set it.")
    judged = judged_rows(splits, split.near)
    before, seen, heard = tally.reasons.total(), set[int](), np.zeros(len(told.edges), bool)
    why: list[str] = []
    lots, again = array("d"), array("B")
    for record, said in _said(cfg, seed, told):
        why.append(_problem(record, seen, judged))
        lots.append(draw(seed, record.id))
        again.append(bool(heard[said.facts].all()))
        if not why[-1]:
            heard[said.facts] = True
    order = np.lexsort((np.array(lots), np.array(again)))
    fit = order[np.array([not why[at] for at in order], bool)]
    for at in fit[room:]:
        why[at] = "over_share_max"
    facts: set[int] = set()
    with RecordShards(out) as rows:
        for reason, (record, said) in zip(why, _said(cfg, seed, told), strict=True):
            if reason:
                tally.drop(record, Reject(reason, record.text))
            else:
                rows.put(record)
                facts.update(said.facts)
    if rows.rows + (dropped := tally.reasons.total() - before) != len(why):
        raise RowsLost(f"knowledge: {len(why)} texts said, {rows.rows} kept, {dropped} rejected.")
    return Written(len(why), rows.rows, sorted(facts))


def _problem(record: Record, seen: set[int], judged: Index) -> str:
    """Why a text is not used; empty where nothing speaks against it."""
    if (key := xxhash.xxh3_64_intdigest(record.id.encode())) in seen:
        return "said_before"
    seen.add(key)
    if next(privacy.spans(record.text), None):
        return "personal_data"
    return "" if judged.find(sketch(record.text, judged.near)) is None else "near_another_split"


def _entities(cfg: Entities, told: Graph) -> Iterator[dict[str, Any]]:
    chosen = entities.busiest(told, cfg.tokens)
    if len(chosen) < 2:
        return
    places = entities.vectors(told, cfg.dims)
    for entity in chosen:
        yield {"name": told.names[entity], "vector": places[entity].tolist()}


def _put(folder: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
    with Shards(folder, schema) as out:
        for row in rows:
            out.add(row)
