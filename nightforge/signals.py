"""Numbers, flags and hashes that stand for records: what a gate looks at, so that no text leaves its artifact.

A table of these is gated in seconds where raw text takes minutes and gigabytes, and its reports can be shown to anyone.
They are worked out a batch of rows at a time: characters are counted by a table of their classes, the rest by polars.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nightforge import media_signals, privacy

if TYPE_CHECKING:
    import polars as pl

MALFORMED = "malformed"
NAME_WORDS_MAX = 3
"""A label of more words is taken for prose."""
SECRETS: set[privacy.Kind] = {"private_key", "token", "entropy"}
"""Kinds that open something; the others lead to a person."""

READ = ["id", "text", "content", "media_type", "label", "source", "language", "meta"]
"""The columns of records that signals are worked out from."""
REQUIRED = ["id", "text", "source", "media_type"]
NAMES = ["label", "source", "language", "media_type"]
"""Columns of few values, each a plain name; empty where there is none, and what is no short name shows as malformed."""
COLUMNS: dict[str, str] = {
    "id": "String",  # of the record; what is no plain id shows as "malformed:<hash>"
    **dict.fromkeys(NAMES, "Categorical"),  # of the source its address, without the place in it
    "n_missing": "Int8",  # of the fields REQUIRED those that are null, or empty but for the text
    "n_chars": "Int32",  # Unicode code points of the text
    "n_words": "Int32",  # runs of non-space
    "n_bytes": "Int32",  # of the content (an image, a sound); 0 for text
    "alpha_share": "Float32",  # letters of any script / n_chars, 0 for an empty text
    "digit_share": "Float32",
    "n_replacement": "Int32",  # U+FFFD, left by a wrong decoding
    "n_control": "Int32",  # C0 and C1 controls other than tab and line ends
    "n_markers": "Int32",  # <|…|>: would be read as a special token, and break the prompt template
    "has_pii": "Int8",
    "has_secret": "Int8",
    "is_synthetic": "Int8",  # names a parent
    "text_hash": "UInt64",  # equal for texts that differ in case and spacing only; covers the content too
    "words_hash": "UInt64",  # equal for texts of the same words in any order, whatever the punctuation
    "document_hash": "UInt64",  # of meta.document, or of the id
    "origin_hash": "UInt64",  # of meta.parent, or of the id
    "origin_label_hash": "UInt64",  # of that and the label
}
"""The columns that every record has, with their polars types: some 110 bytes a row. Hashes hold within one process."""

_CLASSES = {
    "letter": r"[^\W\d_]+",
    "digit": r"\d+",
    "space": r"\s+",
    "control": r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+",
    "replacement": "\ufffd",
}
_BIT = {name: 1 << i for i, name in enumerate(_CLASSES)}
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_NAME = re.compile(r"[\w .,:/=+-]{0,80}")
_SUSPECT = (
    r"\d(?:[ ().\-/\x{a0}\x{2011}\x{2013}]{0,3}\d){6}|\d(?:\.\d{1,3}){3}|[A-Z]{2}\d\d[ \x{a0}]?[A-Z0-9]{2}"
    r"|@|(?i:at)[\])]|::|://|:(?:[^:]*:){6}|\S{20}|(?i:passw|passphrase|pwd|secret|key|token|bearer)"
)
"""Every text that `privacy.may_hold` lets through matches this; of other prose few do."""


def of_batch(batch: pa.RecordBatch) -> "pl.DataFrame":
    """The signals of a batch of records with the columns `READ`: a row each, with the columns `COLUMNS`; and where a
    record is a picture or a sound, with those of nightforge/media_signals.py."""
    import polars as pl

    raw = pl.DataFrame(pl.from_arrow(batch))
    frame = raw.with_columns(pl.col(pl.String).fill_null(""), pl.col("content").fill_null(b""))
    lacks = [raw["text"].is_null(), *(frame[name] == "" for name in REQUIRED if name != "text")]
    ids, places = frame["id"], frame["source"].str.splitn("#", 2).struct.field("field_0")
    no_ids = ids.filter(~ids.str.contains(f"^{_ID.pattern}$")).unique()
    found = frame.select(**_of_text(), **_of_meta()).with_columns(
        ids.replace(no_ids, [plain_id(raw) for raw in no_ids]),
        *(_names(places if name == "source" else frame[name]).alias(name) for name in NAMES),
        pl.sum_horizontal(lacks).alias("n_missing"),
        **_characters(frame["text"].to_arrow()),
        **_findings(frame["text"]),
    )
    found = found.select(pl.col(name).cast(getattr(pl, kind)) for name, kind in COLUMNS.items())
    return found.hstack(media_signals.of(frame["media_type"], frame["content"]).get_columns())


def _of_text() -> dict[str, "pl.Expr"]:
    import polars as pl

    text, content = pl.col("text"), pl.col("content")
    folded = text.str.to_uppercase().str.to_lowercase()  # upper first, so that ß and ss are the same
    words = folded.str.extract_all(r"\w+").list.eval(pl.element().hash()).list.sum()  # mod 2⁶⁴, the same in any order
    size = content.bin.size()
    seen = pl.when(size > 0).then(content.hash()).otherwise(0)
    return {
        "n_bytes": size,
        "n_markers": text.str.count_matches(r"<\|[^|<>]*\|>"),
        "text_hash": folded.str.replace_all(r"\s+", " ").str.strip_chars().hash() ^ seen,
        "words_hash": words ^ seen,
    }


def _of_meta() -> dict[str, "pl.Expr"]:
    import polars as pl

    meta = pl.col("meta").str
    origin = pl.coalesce(meta.json_path_match("$.parent"), "id")
    return {
        "is_synthetic": meta.json_path_match("$.parent").is_not_null(),
        "document_hash": pl.coalesce(meta.json_path_match("$.document"), "id").hash(),
        "origin_hash": origin.hash(),
        "origin_label_hash": pl.concat_str(origin, "label", separator="\0").hash(),
    }


def _characters(texts: pa.Array) -> dict[str, "pl.Series"]:
    """What is counted character by character, each looked up in a table of all characters there are."""
    import polars as pl

    texts = texts.cast(pa.large_string())
    _, places, data = texts.buffers()
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    raw = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    flags = _classes()[np.frombuffer(raw.tobytes().decode().encode("utf-32-le"), np.uint32)]
    lengths = _per_row((raw & 0xC0) != 0x80, offsets - offsets[0])  # in characters, not bytes
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    spaces = (flags & _BIT["space"]) != 0
    begins = np.ones(len(flags), bool)  # after a space, or at the start of a row
    begins[1:] = spaces[:-1]
    begins[bounds[bounds < len(flags)]] = True
    counts = {name: _per_row((flags & bit) != 0, bounds) for name, bit in _BIT.items() if name != "space"}
    found = {
        "n_chars": lengths,
        "n_words": _per_row(begins & ~spaces, bounds),
        "alpha_share": counts["letter"] / np.maximum(lengths, 1),
        "digit_share": counts["digit"] / np.maximum(lengths, 1),
        "n_replacement": counts["replacement"],
        "n_control": counts["control"],
    }
    return {name: pl.Series(values) for name, values in found.items()}


def _per_row(marks: npt.NDArray[np.bool_], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many characters are marked in each row; those of row i are bounds[i] … bounds[i + 1]."""
    counts = np.zeros(len(bounds) - 1, np.int64)
    filled = np.flatnonzero(np.diff(bounds))
    if len(filled):
        counts[filled] = np.add.reduceat(marks.view(np.uint8), bounds[filled], dtype=np.int32)
    return counts


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """The classes of every Unicode character, as bits."""
    table = np.zeros(0x110000, np.uint8)
    every = "".join(map(chr, range(len(table))))
    for name, pattern in _CLASSES.items():
        for match in re.finditer(pattern, every):
            table[match.start() : match.end()] |= _BIT[name]
    return table


def _findings(texts: "pl.Series") -> dict[str, "pl.Series"]:
    """Whether each text holds personal data, and whether a secret."""
    import polars as pl

    suspects = texts.str.contains(_SUSPECT).arg_true()
    flags = np.zeros((2, len(texts)), np.int8)
    for row, text in zip(suspects.to_list(), texts.gather(suspects).to_list(), strict=True):
        kinds = {span.kind for span in privacy.spans(text)}
        flags[:, row] = not kinds <= SECRETS, not kinds.isdisjoint(SECRETS)
    return {"has_pii": pl.Series(flags[0]), "has_secret": pl.Series(flags[1])}


def _names(raw: "pl.Series") -> "pl.Series":
    """What may be shown in place of each value; worked out once a value."""
    unique = raw.unique()
    return raw.replace_strict(unique, [_name(value) for value in unique])


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


def plain_id(raw: str) -> str:
    """An id as it is, unless it is no id: a broken reader may put anything there, and ids are shown."""
    return raw if _ID.fullmatch(raw) else f"{MALFORMED}:{blake2b(raw.encode(), digest_size=4).hexdigest()}"


@lru_cache(4096)  # few names, many rows
def _name(raw: str) -> str:
    """A label, source or type as it is, unless it may be text or lead to a person: names are shown."""
    if not _NAME.fullmatch(raw) or len(raw.split()) > NAME_WORDS_MAX:
        return MALFORMED
    # A long path taken whole looks as random as a key.
    found = any(next(privacy.spans(part), None) for part in raw.split("/"))
    return MALFORMED if found else raw


def _key(value: Any, position: int) -> str:
    named = value.get("term", value.get("name", position)) if isinstance(value, Mapping) else position
    return str(named)
