"""JSON Lines (jsonlines.org): one object a line."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from nightforge.errors import DataError
from nightforge.ingest._columns import Table, lines, records
from nightforge.records import Record, Reject


class Config(Table):
    """A JSON Lines file; a column is a key of the objects."""


SAMPLE = Config(columns={"text": "text", "label": "label"}, keep=[])


def read(handle: BinaryIO, cfg: Config) -> Iterator[Record | Reject]:
    """One item for every line that is not blank.

    Raises:
        ConfigError: a mapped column occurs nowhere.
        DataError: the file is one JSON array.
    """
    return records(_objects(handle), cfg)


def _objects(handle: BinaryIO) -> Iterator[tuple[str, dict[str, Any] | Reject]]:
    first = True
    for place, line in lines(handle):
        if isinstance(line, Reject):
            yield place, line
        elif line and not line.isspace():
            found = _parse(line, place)
            if first and isinstance(found, Reject) and _opens_array(line):
                raise DataError(
                    "jsonl: expected one object a line, and the file is a JSON array. Write its items on lines of "
                    "their own: jq -c '.[]' in.json > out.jsonl"
                )
            first = False
            yield place, found


def _opens_array(line: str) -> bool:
    """Whether a first line can only be that of an array of objects, on this line or on several."""
    begun = line.strip()
    return begun == "[" or begun.startswith(("[{", "[ {"))


def _parse(line: str, place: str) -> dict[str, Any] | Reject:
    try:
        found = _DECODER.decode(line)
    except (ValueError, RecursionError) as e:
        return Reject("not_json", f"{place}: {e}: {line}")
    return found if isinstance(found, dict) else Reject("not_an_object", f"{place}: {line}")


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
"""Python's own takes NaN and Infinity, which RFC 8259 does not know."""
