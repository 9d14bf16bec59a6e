"""The values that the Prefect form may override: each a key of params.yaml, typed, bounded and described.

An empty field overrides nothing. What a field means to the stages, and every other value, is in params.yaml.
"""

import json
from pathlib import Path, PurePath
from typing import Annotated, Any

import yaml
from pydantic import Field

from nightforge.errors import ConfigError
from tasks.sources import refuse_secret
from tasks.streams import OPENERS

Source = Annotated[str | None, Field(min_length=1)]
Seed = Annotated[int | None, Field(ge=0, le=2**31 - 1)]
LearningRate = Annotated[float | None, Field(gt=0, lt=1)]
MaxSteps = Annotated[int | None, Field(ge=1, le=10_000_000)]
MaxQualityLoss = Annotated[float | None, Field(ge=0, le=1)]
MaxSizeShare = Annotated[float | None, Field(gt=0, le=1)]

WHERE = {
    "source": "ingest.sources.0.address",
    "seed": "seed",
    "learning_rate": "train.loop.optimizer.lr",
    "max_steps": "train.loop.steps",
    "max_quality_loss": "contract.max_quality_loss",
    "max_size_share": "contract.max_size_share",
}
"""Field of the form → dotted path in params.yaml."""


def apply(project: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """Write the overrides that are not None into params.yaml; returns what changed, by dotted path.

    Only the values themselves are exchanged in the file's text: the rest of it stays to the byte.

    Raises:
        ConfigError: params.yaml has no such key, or a new source cannot be read as the old one was.
    """
    path = project / "params.yaml"
    text, changed = path.read_text(encoding="utf-8"), {}
    for field, value in overrides.items():
        if value is None:
            continue
        if field == "source":
            refuse_secret(value)
        node = _node(text, WHERE[field])
        if node is None:
            raise ConfigError(
                f"params.yaml has no {WHERE[field]}, which the form's {field} = {value!r} would override."
            )
        before = yaml.safe_load(text[node.start_mark.index : node.end_mark.index])
        if field == "source":
            _same_kind(before, value)
        if before != value:
            # quoted, a text is safe in `{}` too; JSON's 1e-05 would be a text to YAML 1.1
            new = json.dumps(value) if isinstance(value, str) else yaml.safe_dump(value).splitlines()[0]
            text = text[: node.start_mark.index] + new + text[node.end_mark.index :]
            changed[WHERE[field]] = value
    if changed:
        path.write_text(text, encoding="utf-8")
    return changed


def _node(text: str, dotted: str) -> yaml.ScalarNode | None:
    """Where a value stands in a YAML text, or None if there is no such key."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for step in dotted.split("."):
        if isinstance(node, yaml.MappingNode):
            node = _under(node, step)
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
        else:
            return None
    return node if isinstance(node, yaml.ScalarNode) else None


def _under(node: yaml.MappingNode, step: str) -> yaml.Node | None:
    """What a mapping has under a key, itself or by a block that `<<` takes in: there the value is exchanged."""
    own = {key.value: value for key, value in node.value}
    block = own.get("<<")
    return own[step] if step in own else _under(block, step) if isinstance(block, yaml.MappingNode) else None


def _same_kind(before: str, after: str) -> None:
    """Refuse an address of another kind: format and sha256 stay those of the old one."""
    if _kind(before) != _kind(after):
        raise ConfigError(
            f"the form's source = {after!r} takes the place of {before!r}, whose format and sha256 stay: expected an "
            f"address of the same kind (a package or none) and with the same file suffix. For another kind, set "
            f"address, format and sha256 in params.yaml, commit it, and leave the field empty (docs/data.md)."
        )


def _kind(address: str) -> tuple[bool, str]:
    """Whether it is a package, and the suffix of its files, compression apart."""
    suffixes = [s for s in PurePath(address.partition("?")[0]).suffixes[-2:] if s not in OPENERS]
    return address.startswith(("pkg:", "installed:")), "".join(suffixes[-1:])
