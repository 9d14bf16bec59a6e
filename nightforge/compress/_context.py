"""What a pass is told of the dense model, and the refusal of a model that it does not work on."""

from collections.abc import Mapping
from dataclasses import dataclass

from nightforge.errors import ConfigError

Kinds = Mapping[str, set[str]]


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of the dense model without loading its weights."""

    family: str
    loader: str
    tied: bool
    """The output projection is the embedding table."""
    shapes: Mapping[str, tuple[int, ...]]
    """Tensor name → shape, as in model.safetensors, or as in the graphs that it was exported to."""


def refuse_other(name: str, compatible: Kinds, context: Context) -> None:
    """Refuse what a pass says that it does not work on.

    Raises:
        ConfigError: the family or the loader is none of those in COMPATIBLE.
    """
    for key, value in (("family", context.family), ("loader", context.loader)):
        if value not in compatible[key]:
            raise ConfigError(
                f"compress: {name} works on {key} {' or '.join(sorted(compatible[key]))}, the dense model is {value!r}."
            )
