"""RDF 1.1 N-Triples (w3.org/TR/n-triples): one statement a line.

An IRI or a blank node is named by its label where the file gives one, else by the last part of the IRI, parted into
words: `http://example.org/capitalOf` is `capital of`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from nightforge import config
from nightforge.facts._table import triple
from nightforge.knowledge import Triple
from nightforge.records import Reject

_TERM = r"(<[^<>\"{}|^`\x00-\x20]*>|_:[\w.·-]+)"
_LITERAL = r'"((?:[^"\\\n\r]|\\.)*)"(?:@([A-Za-z]+(?:-[A-Za-z0-9]+)*)|\^\^<[^<>]*>)?'
_STATEMENT = re.compile(rf"\s*{_TERM}\s*(<[^<>]*>)\s*(?:{_TERM}|{_LITERAL})\s*\.\s*(?:#.*)?$")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_PLAIN = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f"}
_HUMP = re.compile(r"([a-z0-9])([A-Z](?=[a-z]))")


class Config(config.Config):
    """How things are named."""

    label: str | None
    """IRI of the property that names a thing, such as `http://www.w3.org/2000/01/rdf-schema#label`; its statements are
    names and no facts. Null: the IRIs alone name things."""
    language: str | None
    """Literals in another language are rejected, those without a language stay; null takes all."""


SAMPLE = Config(label="http://www.w3.org/2000/01/rdf-schema#label", language="en")


class Statement(NamedTuple):
    """The terms of one line; the object is a thing or a text."""

    subject: str
    relation: str
    thing: str
    text: str
    language: str


def read(file: Path, cfg: Config) -> Iterator[Triple | Reject]:
    """One item a statement, but for labels. Memory: the labels."""
    label = f"<{cfg.label}>"
    names = {
        said.subject: said.text
        for _, said in _statements(file)
        if isinstance(said, Statement) and said.relation == label and _ours(said, cfg)
    }
    for place, said in _statements(file):
        if isinstance(said, Reject):
            yield said
        elif said.relation != label and not _ours(said, cfg):
            yield Reject("other_language", f"{place}: {said.language}")
        elif said.relation != label:
            object_ = names.get(said.thing) or name(said.thing) if said.thing else said.text
            subject = names.get(said.subject) or name(said.subject)
            yield triple((subject, names.get(said.relation) or name(said.relation), object_), place)


def _ours(said: Statement, cfg: Config) -> bool:
    return not (cfg.language and said.language) or said.language.partition("-")[0] == cfg.language


def _statements(file: Path) -> Iterator[tuple[str, Statement | Reject]]:
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            place = f"line {number}"
            try:
                line = raw.decode().strip()
            except UnicodeDecodeError as e:
                yield place, Reject("not_utf8", f"{place}, byte {e.start}")
                continue
            if not line or line.startswith("#"):
                continue
            found = _STATEMENT.match(line)
            try:
                terms = [_unescaped(term or "") for term in found.groups()] if found else None
            except ValueError:  # beyond the last character of Unicode
                terms = None
            yield place, Statement(*terms) if terms else Reject("not_a_statement", f"{place}: {line}")


def name(term: str) -> str:
    """The last part of an IRI in words: percent codes and underscores undone, camel case parted."""
    last = unquote(re.split(r"[/#:]", term.strip("<>").rstrip("/#"))[-1]).replace("_", " ")
    return _HUMP.sub(lambda m: f"{m[1]} {m[2].lower()}", last)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)) if m[1] or m[2] else _PLAIN.get(m[3], m[3]), text)
