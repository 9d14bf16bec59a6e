"""Random walks over the graph, told as one text: facts that hang together stand together.

Walks as training text: Perozzi et al. 2014 (DeepWalk) for embeddings, Agarwal et al. 2021 (KeLM) for verbalised
subgraphs.
"""

import random
from collections import defaultdict
from collections.abc import Iterator

from pydantic import Field

from nightforge import config
from nightforge.knowledge import Graph, tell
from nightforge.verbalise._said import Phrasings, Said


class Config(config.Config):
    """How far, and how often."""

    walks: int = Field(ge=1)
    """Walks from each entity that is the subject of a fact."""
    facts: int = Field(ge=2, le=50)
    """Facts of a walk at most; a walk of fewer than two is left out, for a template says it as well."""


SAMPLE = Config(walks=1, facts=3)


def say(graph: Graph, phrasings: Phrasings, cfg: Config, rng: random.Random) -> Iterator[Said]:
    """The texts of the walks; no fact stands twice in one, and a text that came before is left out."""
    leaving: dict[int, list[int]] = defaultdict(list)
    for fact, (subject, relation, _) in enumerate(graph.edges.tolist()):
        if graph.relations[relation] in phrasings or "*" in phrasings:
            leaving[subject].append(fact)
    for start in sorted(leaving):
        paths = {tuple(_walk(graph, leaving, start, cfg.facts, rng)) for _ in range(cfg.walks)}
        for path in sorted(path for path in paths if len(path) > 1):
            yield Said(" ".join(_sentence(graph, phrasings, fact, rng) for fact in path), list(path))


def _walk(graph: Graph, leaving: dict[int, list[int]], at: int, most: int, rng: random.Random) -> list[int]:
    path: list[int] = []
    while len(path) < most and (ways := [fact for fact in leaving.get(at, []) if fact not in path]):
        path.append(rng.choice(ways))
        at = int(graph.edges[path[-1]][2])
    return path


def _sentence(graph: Graph, phrasings: Phrasings, fact: int, rng: random.Random) -> str:
    triple = graph.triple(fact)
    return tell(rng.choice(phrasings.get(triple.relation) or phrasings["*"]), triple)
