"""Regular expressions that a person wrote (Python's re), compiled when params.yaml is read."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator


def _compiled(value: Any) -> Any:
    try:
        return re.compile(value) if isinstance(value, str) else value
    except re.error as e:
        raise ValueError(
            f"no regular expression of Python's re: {e}. In YAML, write it in single quotes: '\\bword\\b'"
        ) from None


Regex = Annotated[re.Pattern[str], BeforeValidator(_compiled)]
"""The type of a config's field; flags stand inside, as in `(?im)^subject:`."""
