"""The values that the Prefect form may override: each a key of params.yaml, typed, bounded and described.

An empty field overrides nothing. What a field means to the stages, and every other value, is in params.yaml.
"""

from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import Field
from ruamel.yaml import YAML

from nightforge.errors import ConfigError
from tasks.sources import OPENERS, refuse_secret

Source = Annotated[str | None, Field(min_length=1)]
Seed = Annotated[int | None, Field(ge=0, le=2**31 - 1)]
LearningRate = Annotated[float | None, Field(gt=0, lt=1)]
MaxSteps = Annotated[int | None, Field(ge=1, le=10_000_000)]
MaxQualityLoss = Annotated[float | None, Field(ge=0, le=1)]
MaxSizeShare = Annotated[float | None, Field(gt=0, le=1)]

WHERE = {
    "source": "ingest.sources.0.address",
    "seed": "seed",
    "learning_rate": "train.loop.lr",
    "max_steps": "train.loop.steps",
    "max_quality_loss": "contract.max_quality_loss",
    "max_size_share": "contract.max_size_share",
}
"""Field of the form → dotted path in params.yaml."""


def apply(project: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """Write the overrides that are not None into params.yaml, comments kept; returns what changed, by dotted path.

    Raises:
        ConfigError: params.yaml has no such key, or a new source cannot be read as the old one was.
    """
    path = project / "params.yaml"
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    values = yaml.load(path.read_text(encoding="utf-8"))
    changed = {}
    for field, value in overrides.items():
        if value is None:
            continue
        if field == "source":
            refuse_secret(value)
        *steps, last = (int(step) if step.isdigit() else step for step in WHERE[field].split("."))
        try:
            section = values
            for step in steps:
                section = section[step]
            before = section[last]
        except (KeyError, IndexError, TypeError):
            raise ConfigError(
                f"params.yaml has no {WHERE[field]}, which the form's {field} = {value!r} would override."
            ) from None
        if field == "source":
            _same_kind(before, value)
        if before != value:
            section[last] = value
            changed[WHERE[field]] = value
    if changed:
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(values, file)
    return changed


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
    return address.startswith("pkg:"), "".join(suffixes[-1:])
