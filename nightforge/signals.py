"""Numbers, flags and hashes that stand for a record: what a gate looks at, so that no text leaves its artifact.

A table of these is gated in seconds where raw text takes minutes and gigabytes, and its reports can be shown to anyone.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from nightforge import privacy
from nightforge.records import Record

_LETTERS = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d+")
_WORDS = re.compile(r"\w+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_MARKERS = re.compile(r"<\|[^|<>]*\|>")
_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_NAME = re.compile(r"[\w .,:/=+-]{0,80}")
MALFORMED = "malformed"
NAME_WORDS_MAX = 3
"""A label of more words is taken for prose."""
SECRETS: set[privacy.Kind] = {"private_key", "token", "entropy"}
"""Kinds that open something; the others lead to a person."""

COLUMNS: dict[str, str] = {
    "id": "string",  # of the record; what is no plain id shows as "malformed:<hash>"
    "label": "string",  # empty where there is none; what is no short name shows as "malformed"
    "source": "string",  # the address, without the place in it
    "language": "string",  # empty where there is none
    "media_type": "string",
    "n_chars": "int32",  # Unicode code points of the text
    "n_words": "int32",  # runs of non-space
    "n_bytes": "int32",  # of the content (an image, a sound); 0 for text
    "alpha_share": "float64",  # letters of any script / n_chars, 0 for an empty text
    "digit_share": "float64",
    "n_replacement": "int32",  # U+FFFD, left by a wrong decoding
    "n_control": "int32",  # C0 and C1 controls other than tab and line ends
    "n_markers": "int32",  # <|…|>: would be read as a special token, and break the prompt template
    "has_pii": "int8",
    "has_secret": "int8",
    "is_synthetic": "int8",  # names a parent
    "text_hash": "int64",  # equal for texts that differ in case and spacing only; covers the content too
    "words_hash": "int64",  # equal for texts of the same words in any order, whatever the punctuation
    "document_hash": "int64",  # of meta.document, or of the id
    "origin_hash": "int64",  # of meta.parent, or of the id
    "origin_label_hash": "int64",  # of that and the label
}
"""The columns that every record has, with their Arrow types: about 160 bytes a row."""


def of_record(record: Record) -> dict[str, Any]:
    """One row of the table of signals; its keys are those of `COLUMNS`."""
    text, meta = record.text, record.meta
    length = max(len(text), 1)
    found = {span.kind for span in privacy.spans(text)}
    origin = str(meta.get("parent") or record.id)
    return {
        "id": plain_id(record.id),
        "label": _name(record.label),
        "source": _name(record.source.partition("#")[0]),
        "language": _name(record.language),
        "media_type": _name(record.media_type),
        "n_chars": len(text),
        "n_words": len(text.split()),
        "n_bytes": len(record.content or b""),
        "alpha_share": _count(_LETTERS, text) / length,
        "digit_share": _count(_DIGITS, text) / length,
        "n_replacement": text.count("\ufffd"),
        "n_control": _count(_CONTROL, text),
        "n_markers": len(_MARKERS.findall(text)),
        "has_pii": int(not found <= SECRETS),
        "has_secret": int(not found.isdisjoint(SECRETS)),
        "is_synthetic": int("parent" in meta),
        "text_hash": hash64(" ".join(text.casefold().split()), record.content),
        "words_hash": hash64(" ".join(sorted(_WORDS.findall(text.casefold()))), record.content),
        "document_hash": hash64(str(meta.get("document") or record.id)),
        "origin_hash": hash64(origin),
        "origin_label_hash": hash64(f"{origin}\0{record.label}"),
    }


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested metrics as one level of numbers: `{"bpb": {"value": 1.9}}` → `{"bpb.value": 1.9}`.

    A list of mappings that carry a `term` or a `name` is keyed by it, any other list by position; truth values become
    0 and 1; texts are left out.
    """
    flat: dict[str, float] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{path}.")
        elif isinstance(value, list):
            flat |= flatten({_key(v, i): v for i, v in enumerate(value)}, f"{path}.")
        elif isinstance(value, int | float):
            flat[path] = float(value)
    return flat


def hash64(text: str, content: bytes | None = None) -> int:
    """A signed 64-bit BLAKE2b of a text, and of binary content where there is some."""
    h = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    if content:
        h.update(b"\0" + content)
    return int.from_bytes(h.digest(), signed=True)


def plain_id(raw: str) -> str:
    """An id as it is, unless it is no id: a broken reader may put anything there, and ids are shown."""
    return raw if _ID.fullmatch(raw) else f"{MALFORMED}:{hash64(raw) & 0xFFFFFFFF:08x}"


@lru_cache(4096)  # few names, many rows
def _name(raw: str | None) -> str:
    """A label, source or type as it is, unless it may be text or lead to a person: names are shown."""
    if raw is None:
        return ""
    if not _NAME.fullmatch(raw) or len(raw.split()) > NAME_WORDS_MAX:
        return MALFORMED
    # A long path taken whole looks as random as a key.
    found = any(next(privacy.spans(part), None) for part in raw.split("/"))
    return MALFORMED if found else raw


def _count(pattern: re.Pattern[str], text: str) -> int:
    return sum(map(len, pattern.findall(text)))


def _key(value: Any, position: int) -> str:
    named = value.get("term", value.get("name", position)) if isinstance(value, Mapping) else position
    return str(named)
