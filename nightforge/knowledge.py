"""Facts as a graph: what is told to a model in training, and what it is asked afterwards.

A fact is a triple with the place it came from. Which facts are held out of training hangs on (seed, fact) alone, so a
fact stays held out when others are added.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

_PLACE = re.compile(r"\{(subject|relation|object)\}")


class Triple(NamedTuple):
    """One fact and its provenance."""

    subject: str
    relation: str
    object: str
    place: str
    """Where it was read, such as `line 7`."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Distinct facts by number. Memory a fact: 12 bytes, its place, and each name once."""

    names: list[str]
    """Entity → name."""
    relations: list[str]
    """Relation → name."""
    edges: NDArray[np.int32]
    """(facts, 3): subject, relation, object."""
    places: list[str]
    """Fact → where it was read first."""

    def triple(self, fact: int) -> Triple:
        """A fact in words."""
        subject, relation, object_ = self.edges[fact].tolist()
        return Triple(self.names[subject], self.relations[relation], self.names[object_], self.places[fact])

    def keep(self, facts: NDArray[np.bool_]) -> "Graph":
        """The graph of some of its facts; entities keep their numbers."""
        places = [place for place, kept in zip(self.places, facts, strict=True) if kept]
        return Graph(self.names, self.relations, self.edges[facts], places)


class Cloze(NamedTuple):
    """One question: which of these sentences is likeliest; the first is true, the others name a wrong object."""

    relation: str
    texts: list[str]
    known: bool
    """Whether the fact was told in training, in other words than these."""
    place: str
    label: str | None
    """What the sentences are conditioned on, as those of training were."""


def graph(triples: Iterable[Triple]) -> tuple[Graph, int]:
    """The graph of these facts, and how many repeated an earlier one."""
    names: dict[str, int] = {}
    relations: dict[str, int] = {}
    seen: dict[tuple[int, int, int], str] = {}
    repeated = 0
    for triple in triples:
        key = (
            names.setdefault(triple.subject, len(names)),
            relations.setdefault(triple.relation, len(relations)),
            names.setdefault(triple.object, len(names)),
        )
        repeated += key in seen
        seen.setdefault(key, triple.place)
    edges = np.array(list(seen), dtype=np.int32).reshape(-1, 3)
    return Graph(list(names), list(relations), edges, list(seen.values())), repeated


def tell(phrasing: str, triple: Triple) -> str:
    """A fact in the words of a phrasing with `{subject}`, `{object}` and, where it likes, `{relation}`."""
    # In one pass: a name that itself holds `{object}` must not be filled in again.
    return _PLACE.sub(lambda place: str(getattr(triple, place[1])), phrasing)


def draw(seed: int, what: str) -> float:
    """A number of [0, 1) that hangs on the seed and the thing alone."""
    return xxhash.xxh3_64_intdigest(f"{seed}\0{what}".encode()) / 2**64


def held_out(facts: Graph, relations: Iterable[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which facts training does not see (facts,): about `share` of those whose relation can be asked for.

    With a fact goes every other one that joins the same two names, either way round, of whatever relation: an inverse
    would give the answer away.
    """
    asked = set(relations)
    pairs = [(min(s, o), max(s, o)) for s, _, o in facts.edges.tolist()]
    askable = (
        pair for pair, edge in zip(pairs, facts.edges[:, 1].tolist(), strict=True) if facts.relations[edge] in asked
    )
    drawn = {pair for pair in askable if draw(seed, "\0".join(sorted(facts.names[i] for i in pair))) < share}
    return np.array([pair in drawn for pair in pairs], dtype=bool)


def questions(
    facts: Graph,
    told: NDArray[np.bool_],
    held: NDArray[np.bool_],
    phrasings: Mapping[str, str],
    most: int,
    distractors: int,
    label: str | None,
    seed: int,
) -> list[Cloze]:
    """At most `most` questions about facts that were told, and as many about facts that were held out.

    The wrong candidates are objects that the relation has elsewhere and that are not true here too; a fact for which
    there are none is not asked.

    Args:
        facts: all of them; those neither told nor held out are not asked.
        told: those that stand in a training text (facts,).
        held: from `held_out` (facts,).
        phrasings: relation → phrasing with `{subject}` and `{object}`, one that training never uses.
        most: questions of each kind.
        distractors: wrong candidates of a question at most.
        label: of the records that tell facts.
        seed: decides which facts are asked, and which candidates are shown.
    """
    objects: dict[int, set[int]] = defaultdict(set)
    true: dict[tuple[int, int], set[int]] = defaultdict(set)
    for subject, relation, object_ in facts.edges.tolist():
        objects[relation].add(object_)
        true[subject, relation].add(object_)
    found: list[Cloze] = []
    candidates = np.flatnonzero(told | held).tolist()
    keyed = [(draw(seed, "ask\0" + "\0".join(facts.triple(i)[:3])), i) for i in candidates]
    left = {True: most, False: most}
    for _, fact in sorted(keyed):
        triple, known = facts.triple(fact), bool(told[fact])
        if triple.relation not in phrasings or not left[known]:
            continue
        subject, relation, _ = facts.edges[fact].tolist()
        if not (wrong := sorted(objects[relation] - true[subject, relation])):
            continue
        rng = random.Random(f"{seed} {triple}")  # noqa: S311  not for secrets
        chosen = rng.sample(wrong, min(distractors, len(wrong)))
        objects_shown = [triple.object, *(facts.names[i] for i in chosen)]
        texts = [tell(phrasings[triple.relation], triple._replace(object=name)) for name in objects_shown]
        found.append(Cloze(triple.relation, texts, known, triple.place, label))
        left[known] -= 1
    return found
