"""From a row of any table to a record, by a mapping of columns; shared by the formats that have columns."""

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain, islice
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from nightforge import config
from nightforge.errors import ConfigError
from nightforge.records import Record, Reject, content_id

LOOKED_AT = 1_000
"""Rows in which a mapped column must occur at least once; enough for sparse columns, and a typo is seen at once."""

Target = Literal["text", "prompt", "response", "label", "language", "document"]


class Table(config.Config):
    """How the columns of a table become a record."""

    columns: Annotated[dict[Target, str], Field(min_length=1)]
    """Field of the record → name of the column. `text` is needed, or `prompt` and `response`, of which the text is
    then composed. `document` groups rows that must stay in one split."""
    keep: list[str]
    """Further columns, kept as they are in the record's meta."""

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if "text" not in self.columns and not {"prompt", "response"} <= self.columns.keys():
            raise ValueError("columns must map text, or both prompt and response")
        return self


def records(rows: Iterable[tuple[str, dict[str, Any] | Reject]], cfg: Table) -> Iterator[Record | Reject]:
    """Turn `(place, row)` pairs into records; a row that is already a `Reject` passes.

    Raises:
        ConfigError: a mapped column is in none of the first LOOKED_AT rows; the message names the nearest.
    """
    stream = iter(rows)
    first = list(islice(stream, LOOKED_AT))
    have = {name for _, row in first if isinstance(row, dict) for name in row}
    check_columns(have, cfg)
    for place, row in chain(first, stream):
        yield row if isinstance(row, Reject) else compose(row, cfg, place)


def check_columns(have: set[str], cfg: Table) -> None:
    """Raise `ConfigError` for a mapped column that the table lacks; an empty table is not asked."""
    for name in [*cfg.columns.values(), *cfg.keep]:
        if have and name not in have:
            near = get_close_matches(name, have, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"ingest: no column {name!r}.{hint} The source has: {', '.join(sorted(have))}.")


def compose(row: dict[str, Any], cfg: Table, place: str) -> Record | Reject:
    """One row as a record, or why not."""
    values: dict[str, Any] = {target: row.get(column) for target, column in cfg.columns.items()}
    for target, value in values.items():
        if isinstance(value, dict | list | bytes):
            return Reject("not_a_plain_value", f"{place}: {target} is a {type(value).__name__}")
    plain = {target: None if value is None else str(value) for target, value in values.items()}
    asked = ["text"] if "text" in plain else ["prompt", "response"]
    if missing := [target for target in asked if not (plain[target] or "").strip()]:
        return Reject(f"no_{missing[0]}", place)
    text = plain.get("text") or "\n".join(plain[target] or "" for target in asked)
    meta = {name: row.get(name) for name in cfg.keep}
    if plain.get("document") is not None:
        meta["document"] = plain["document"]
    return record(text, place, meta, **{t: v for t, v in plain.items() if t not in {"text", "document"}})


def record(text: str, place: str, meta: dict[str, Any], **fields: Any) -> Record | Reject:
    """A record of a text, its id made from its content; a text or meta that no file can hold is a `Reject`."""
    try:
        text.encode()
        meta = json.loads(json.dumps(meta, default=str))
    except UnicodeEncodeError:
        return Reject("lone_surrogate", place)
    return Record(id=content_id(text, fields.get("label")), text=text, source=place, meta=meta, **fields)


def lines(handle: Iterable[bytes]) -> Iterator[tuple[str, str | Reject]]:
    """The lines of a file as `(place, text)` without line ends; a line that is not UTF-8 is a `Reject`."""
    for number, raw in enumerate(handle, 1):
        place = f"line {number}"
        try:
            yield place, (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).decode().rstrip("\r\n")
        except UnicodeDecodeError as e:
            yield place, Reject("not_utf8", f"{place}, byte {e.start}")
