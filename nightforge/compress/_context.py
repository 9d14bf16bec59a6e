"""What a pass is told of the dense model, and the refusal of a model that it does not work on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from nightforge.blocks import EMBEDDING, HEAD
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
    config: Mapping[str, Any] = field(default_factory=dict)
    """Of a family of images or sounds: its values, as model.json says them."""


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


def check_layers(context: Context, patterns: Iterable[str], table: bool = False) -> None:
    """Refuse a pattern that names no layer of the model; only for some passes the table of embeddings is one.

    Raises:
        ConfigError: with names that there are.
    """
    layers = {name.removesuffix(".weight") for name, shape in context.shapes.items() if len(shape) > 1} | {HEAD}
    layers -= set() if table and not context.tied else {EMBEDDING}
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            some = ", ".join(sorted(layers)[:9])
            raise ConfigError(f"expected layers named like {pattern!r}; there are {some} …")
