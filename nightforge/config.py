"""The one base that every config shares: frozen, deaf to unknown keys, documented field by field."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Values come from `params.yaml`; a field here has a type, bounds and a docstring, never a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
