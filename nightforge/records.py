"""The row type that crosses every stage of the data: one document, with where it came from."""

import hashlib
import json
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
    """JSON-able facts: `document` groups records of one origin, `parent` names the row that a synthetic one varies."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a record was dropped: the reason becomes a metric, the evidence is shown to a person (redacted)."""

    reason: str
    evidence: str


def content_id(text: str, label: str | None = None, content: bytes | None = None) -> str:
    """First 16 hex digits of sha256 over label, text and content (64 bits: a collision in 10⁷ rows has p < 10⁻⁵)."""
    h = hashlib.sha256(json.dumps([label, text]).encode())
    h.update(content or b"")
    return h.hexdigest()[:16]


def with_text(record: Record, text: str) -> Record:
    """The same record with another text; the id stays, so that a row can be followed through cleaning."""
    return record if text == record.text else replace(record, text=text)


def document(record: Record) -> str:
    """The document that a record is a text of: records that share it are of one origin, and are not independent."""
    return str(record.meta.get("document", record.id))
