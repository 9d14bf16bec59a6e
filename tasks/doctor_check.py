"""What every part of `nightforge doctor` answers with."""

from typing import Literal, NamedTuple


class Check(NamedTuple):
    """One thing looked at: how it stands, what was found, and where it is not well the way out."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    way_out: str = ""
