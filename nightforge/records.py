"""The row type that crosses every stage of the data: one document, with where it came from."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One document. `id` is a content hash, so equal documents have equal ids."""

    id: str
    text: str
    prompt: str | None = None
    response: str | None = None
    content: bytes | None = None
    media_type: str = "text/plain"
    label: str | None = None
    source: str = ""
    """Where it came from: `<address>#<place>`."""
    language: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    """JSON-able facts: `document` groups records of one origin, `parent` names the row that a synthetic one varies,
    `messages` are the turns of a chat, each a mapping of `role` and `content`."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a record was dropped: the reason becomes a metric, the evidence is shown to a person (redacted)."""

    reason: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What a rule found out about a record: `language` becomes its language, any other name a fact of its meta."""

    name: str
    value: str | float


@dataclass(frozen=True, slots=True)
class Edit:
    """A text as a rule changed it, and how often it did what; the counts become metrics."""

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)


def content_id(text: str, label: str | None = None, content: bytes | None = None) -> str:
    """First 16 hex digits of sha256 over label, text and content (64 bits: a collision in 10⁷ rows has p < 10⁻⁵)."""
    h = hashlib.sha256(json.dumps([label, text]).encode())
    h.update(content or b"")
    return h.hexdigest()[:16]


def with_text(record: Record, text: str) -> Record:
    """The same record with another text; the id stays, so that a row can be followed through cleaning."""
    return record if text == record.text else replace(record, text=text)


def pair_text(prompt: str, response: str) -> str:
    """The text of a prompt and its response."""
    return f"{prompt}\n{response}"


def chat_text(messages: list[dict[str, str]]) -> str:
    """The text of a chat: what was said, without who said it."""
    return "\n\n".join(m["content"] for m in messages)


def turns(record: Record) -> list[tuple[str, str]]:
    """Role and content of each turn of a chat; a prompt and its response are a chat of two. None for a plain text."""
    if messages := record.meta.get("messages"):
        return [(str(m.get("role")), str(m.get("content") or "")) for m in messages]
    if record.prompt is None and record.response is None:
        return []
    return [("user", record.prompt or ""), ("assistant", record.response or "")]


def written(record: Record) -> str:
    """What a model learns to write: a plain text, or what the assistant says, for all else is the condition."""
    if said := turns(record):
        return "".join(content for role, content in said if role == "assistant")
    return record.text


def edited(record: Record, change: Callable[[str], str]) -> Record:
    """The record with each of its parts changed: the turns of a chat, prompt and response, the text.

    The text of a chat or a pair is composed anew of its parts; the id stays.
    """
    if messages := record.meta.get("messages"):
        messages = [{**m, "content": change(m["content"])} for m in messages]
        return replace(record, text=chat_text(messages), meta={**record.meta, "messages": messages})
    if record.prompt is None and record.response is None:
        return with_text(record, change(record.text))
    prompt, response = (None if part is None else change(part) for part in (record.prompt, record.response))
    pair = record.text == pair_text(str(record.prompt), str(record.response))
    text = pair_text(str(prompt), str(response)) if pair else change(record.text)
    return replace(record, text=text, prompt=prompt, response=response)


def document(record: Record) -> str:
    """The document that a record is a text of: records that share it are of one origin, and are not independent."""
    return str(record.meta.get("document", record.id))
