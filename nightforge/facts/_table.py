"""From a row of any table to facts: one column is the subject, each other named one a relation."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import Field

from nightforge import config
from nightforge.errors import DataError
from nightforge.knowledge import Triple
from nightforge.records import Reject


class Rows(config.Config):
    """Which columns of a row are facts."""

    subject: str
    """Column that names what the row is about."""
    relations: Annotated[dict[str, str], Field(min_length=1)]
    """Column that holds an object → the relation that it stands for."""


def facts(rows: Iterable[tuple[str, dict[str, Any]]], cfg: Rows) -> Iterator[Triple | Reject]:
    """The facts of `(place, row)` pairs: one for each relation whose cell is not empty.

    Raises:
        DataError: a named column is not in the rows.
    """
    for place, row in rows:
        if missing := [name for name in (cfg.subject, *cfg.relations) if name not in row]:
            raise DataError(f"the query gives no column {missing[0]!r}; it gives: {', '.join(map(str, row))}.")
        if not (subject := _word(row[cfg.subject])):
            yield Reject("no_subject", place)
            continue
        for column, relation in cfg.relations.items():
            if object_ := _word(row[column]):
                yield Triple(subject, relation, object_, place)


def triple(values: Iterable[Any], place: str) -> Triple | Reject:
    """The fact of three cells, or why they are none."""
    cells = [_word(value) for value in values]
    for name, cell in zip(("subject", "relation", "object"), cells, strict=True):
        if not cell:
            return Reject(f"no_{name}", place)
        if any("\ud800" <= character <= "\udfff" for character in cell):  # half of a pair: no UTF-8 can hold it
            return Reject("not_unicode", f"{place}: {name}")
    subject, relation, object_ = cells
    return Triple(subject, relation, object_, place)


def _word(value: Any) -> str:
    """A cell as a name on one line; whole numbers without the decimals that a column with gaps gives them."""
    if value is None or value != value:  # noqa: PLR0124  NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if isinstance(value, dict | list | bytes) else " ".join(str(value).split())
