"""Each fact as one sentence, in each of the phrasings of its relation.

Several phrasings of one fact are what lets a model give it back in yet another (Allen-Zhu and Li 2023, "Physics of
Language Models, part 3.1", arXiv 2309.14316).
"""

import random
from collections.abc import Iterator

from pydantic import Field

from nightforge import config
from nightforge.knowledge import Graph, tell
from nightforge.verbalise._said import Phrasings, Said


class Config(config.Config):
    """How often a fact is told."""

    phrasings_max: int = Field(ge=1)
    """Phrasings of a fact at most; which ones is drawn for each."""


SAMPLE = Config(phrasings_max=3)


def say(graph: Graph, phrasings: Phrasings, cfg: Config, rng: random.Random) -> Iterator[Said]:
    """The sentences of every fact whose relation has a phrasing."""
    for fact in range(len(graph.edges)):
        triple = graph.triple(fact)
        known = phrasings.get(triple.relation) or phrasings.get("*", [])
        for phrasing in rng.sample(known, min(cfg.phrasings_max, len(known))):
            yield Said(tell(phrasing, triple), [fact])
