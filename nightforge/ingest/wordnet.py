"""WordNet's data.noun (wndb(5WN), WordNet 3.0): the definitions and usage examples of noun classes.

A line is `offset lex_filenum ss_type w_cnt word lex_id … | gloss`, and a gloss is `definition; "example"; "example"`.
The class of a synset is its lexicographer file (lexnames(5WN)).
"""

import re
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal

from pydantic import Field

from nightforge import config
from nightforge.ingest._columns import lines, record
from nightforge.records import Record, Reject, pair_text

_FILES = (
    "Tops act animal artifact attribute body cognition communication event feeling food group location motive object "
    "person phenomenon plant possession process quantity relation shape state substance time"
)
_CLASS = {f"{number:02d}": name for number, name in enumerate(_FILES.split(), 3)}
_EXAMPLE = re.compile(r'"([^"]+)"?')
_EXAMPLES = re.compile(r'(?:^|; *|: *|(?<!e\.g\.), *)"')
"""Where the examples begin: the first quotation mark after a separator; one inside a sentence is the definition's."""


class Config(config.Config):
    """The noun file of a WordNet database."""

    classes: Annotated[list[str], Field(min_length=1)]
    """Noun lexicographer files to read, such as plant; the label of a record is its class."""
    parts: Annotated[list[Literal["definition", "example"]], Field(min_length=1)]
    """Which parts of a gloss become records."""
    prompt: Annotated[str, Field(pattern=r"\{word\}")] | None
    """What a part is the response to, `{word}` being the first of its synset, such as `What is {word}?`: pairs to tune
    on, without a label, for the prompt is their condition. null reads plain texts."""


SAMPLE = Config(classes=["plant", "time"], parts=["definition", "example"], prompt=None)


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """A record for each chosen part of each synset of the chosen classes; `meta.document` is the synset, and of a pair
    `meta.class` its class."""
    wanted = set(cfg.classes)
    for place, line in lines(handle):
        if isinstance(line, Reject):
            yield line
            continue
        if line.startswith("  ") or not line.strip():
            continue  # the licence stands at the head, indented
        head, bar, gloss = line.partition(" | ")
        fields = head.split(" ")
        if not bar or len(fields) < 6 or fields[1] not in _CLASS:
            yield Reject("not_a_synset", f"{place}: {line}")
        elif (label := _CLASS[fields[1]]) in wanted:
            yield from _synset(fields[0], label, fields[4].replace("_", " "), gloss, cfg)


def _synset(offset: str, label: str, word: str, gloss: str, cfg: Config) -> Iterator[Record | Reject]:
    definition, examples = parts(gloss)
    texts = [("definition", definition)] if definition else []
    texts += [("example", example) for example in examples]
    for kind, text in texts:
        if kind in cfg.parts:
            meta = {"document": f"wordnet-3.0:{offset}-n", "kind": kind}
            if cfg.prompt is None:
                yield record(text, f"{offset}-n", meta, label=label, language="en")
            else:
                asked, meta = cfg.prompt.replace("{word}", word), meta | {"class": label}
                both = pair_text(asked, text)
                yield record(both, f"{offset}-n", meta, prompt=asked, response=text, language="en")


def parts(gloss: str) -> tuple[str, list[str]]:
    """The definition of a gloss and its usage examples, without quotation marks."""
    gloss = gloss.strip()
    found = _EXAMPLES.search(gloss)
    if found is None:
        return gloss.strip("; "), []
    quoted = gloss[found.end() - 1 :]
    return gloss[: found.start()].strip("; "), [e.strip() for e in _EXAMPLE.findall(quoted) if e.strip()]
