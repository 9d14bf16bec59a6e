"""From a row of any table to a record, by a mapping of columns; shared by the formats that have columns."""

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Annotated, Any, BinaryIO, Literal, Self

from pydantic import Field, model_validator

from nightforge import config
from nightforge.errors import ConfigError
from nightforge.ingest import _chats
from nightforge.records import Record, Reject, chat_text, content_id, pair_text

LOOKED_AT = 1_000
"""Rows in which a mapped column must occur at least once; enough for sparse columns, and a typo is seen at once."""
TEXT_MAX = 16_000_000
"""Most bytes of a line and characters of a text: ten times a long book, and what bounds the memory of a reader."""
RESERVED = {"document", "messages", "parent"}
"""Keys of a record's meta that have a meaning of their own."""
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
"""What other encodings than UTF-8 begin with; UTF-32's little-endian mark begins with UTF-16's."""

Target = Literal["text", "prompt", "response", "messages", "label", "language", "document"]


class Table(config.Config):
    """How the columns of a table become a record."""

    columns: Annotated[dict[Target, str], Field(min_length=1)]
    """Field of the record → name of the column. `text` is needed, or `prompt` and `response`, or `messages` (a chat),
    of which the text is then composed. `document` groups rows that must stay in one split."""
    keep: list[str]
    """Further columns, kept as they are in the record's meta."""

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        given = self.columns.keys()
        if "messages" in given and given & {"text", "prompt", "response"}:
            raise ValueError("columns map messages, of which the text is composed, and text, prompt or response beside")
        if not given & {"text", "messages"} and not {"prompt", "response"} <= given:
            raise ValueError("columns must map text, or both prompt and response, or messages")
        if taken := RESERVED & set(self.keep):
            raise ValueError(f"keep: {sorted(taken)} mean something in a record's meta; map them in columns")
        return self


def records(rows: Iterable[tuple[str, dict[str, Any] | Reject]], cfg: Table) -> Iterator[Record | Reject]:
    """Turn `(place, row)` pairs into records; a row that is already a `Reject` passes.

    Raises:
        ConfigError: a mapped column is in none of the first LOOKED_AT rows; the message names the nearest.
    """
    have = set[str]()
    missing = {*cfg.columns.values(), *cfg.keep}
    for at, (place, row) in enumerate(rows, 1):
        if missing and isinstance(row, dict):
            have.update(row)
            missing -= have
        yield row if isinstance(row, Reject) else compose(row, cfg, place)
        if missing and at >= LOOKED_AT:
            check_columns(have, cfg)
    if missing:
        check_columns(have, cfg)


def check_columns(have: set[str], cfg: Table) -> None:
    """Raise `ConfigError` for a mapped column that the table lacks; an empty table is not asked."""
    for name in [*cfg.columns.values(), *cfg.keep]:
        if have and name not in have:
            near = get_close_matches(name, have, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            shown = ", ".join(_shown(column) for column in sorted(have)[:30])
            raise ConfigError(f"ingest: no column {name!r}.{hint} The source has: {shown}.")


def _shown(name: str) -> str:
    """A column's name as it can be printed: it may be half a character, full of NULs, or a whole document."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name[:40])


def compose(row: dict[str, Any], cfg: Table, place: str) -> Record | Reject:
    """One row as a record, or why not."""
    values: dict[str, Any] = {target: row.get(column) for target, column in cfg.columns.items()}
    meta = {name: None if _nan(row.get(name)) else row.get(name) for name in cfg.keep}
    chat = values.pop("messages", None)
    plain: dict[str, str | None] = {}
    for target, value in values.items():
        if isinstance(value, dict | list | bytes):
            return Reject("not_a_plain_value", f"{place}: {target} is a {type(value).__name__}")
        plain[target] = None if value is None or _nan(value) or not str(value).strip() else str(value)
    if (document := plain.pop("document", None)) is not None:
        meta["document"] = document
    if "messages" in cfg.columns:
        return _chat(chat, place, meta, plain)
    text = plain.pop("text", None)
    asked = {"text": text} if "text" in cfg.columns else {t: plain[t] for t in ("prompt", "response")}
    for target, value in asked.items():
        if value is None:
            return Reject(f"no_{target}", place)
    if text is None:
        text = pair_text(str(plain["prompt"]), str(plain["response"]))
    return record(text, place, meta, **plain)


def _nan(value: Any) -> bool:
    """Whether a value is the not-a-number by which some tables say that there is none."""
    return isinstance(value, float) and value != value  # noqa: PLR0124  only it is unequal to itself


def _chat(value: Any, place: str, meta: dict[str, Any], plain: dict[str, Any]) -> Record | Reject:
    if value is None:
        return Reject("no_messages", place)
    try:
        turns = _chats.turns(value)
    except _chats.Malformed as e:
        return Reject(str(e), place)
    text = chat_text(turns)
    return record(text, place, {**meta, "messages": turns}, **plain) if text.strip() else Reject("no_text", place)


def record(text: str, place: str, meta: dict[str, Any], **fields: Any) -> Record | Reject:
    """A record of a text, its id made from its content; what no file can hold, or none should, is a `Reject`.

    The id of a pair or a chat covers where one part ends and the next begins, and who speaks.
    """
    if len(text) > TEXT_MAX:
        return Reject("too_long", f"{place}: {len(text)} characters, at most {TEXT_MAX} are read")
    try:
        for value in (text, *fields.values()):
            if value is not None and "\0" in value:
                return Reject("nul_character", place)
            (value or "").encode()
        if meta:
            written = json.dumps(meta, default=str, allow_nan=False, ensure_ascii=False)
            written.encode()
            meta = json.loads(written)
    except UnicodeEncodeError:
        return Reject("lone_surrogate", place)
    except (ValueError, TypeError, RecursionError) as e:
        return Reject("not_json_able", f"{place}: {e}")
    parts = meta.get("messages") or [fields[part] for part in ("prompt", "response") if fields.get(part) is not None]
    content = json.dumps(parts).encode() if parts else None
    return Record(id=content_id(text, fields.get("label"), content), text=text, source=place, meta=meta, **fields)


def lines(handle: BinaryIO) -> Iterator[tuple[str, str | Reject]]:
    """The lines of a file as `(place, text)` without line ends, TEXT_MAX bytes in memory at most.

    A line that is not UTF-8 or too long is a `Reject`; so is a whole file that says it is in another encoding.
    """
    number = 0
    while raw := handle.readline(TEXT_MAX + 1):
        number += 1
        place = f"line {number}"
        if number == 1 and (encoding := _BOMS.get(raw[:2])):
            yield place, Reject("not_utf8", f"the file is {encoding}; convert it: iconv -f {encoding} -t UTF-8")
            return
        if len(raw) > TEXT_MAX and not raw.endswith(b"\n"):
            while raw and not raw.endswith(b"\n"):
                raw = handle.readline(TEXT_MAX)
            yield place, Reject("too_long", f"{place}: at most {TEXT_MAX} bytes are read")
            continue
        try:
            yield place, (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).decode().rstrip("\r\n")
        except UnicodeDecodeError as e:
            yield place, Reject("not_utf8", f"{place}, byte {e.start}")
