"""Every method there is, as text: what `nightforge methods` prints."""

from pkgutil import iter_modules

import nightforge
from nightforge import methods
from nightforge.errors import ConfigError


def stages() -> list[str]:
    """The folders that hold methods."""
    return sorted(m.name for m in iter_modules(nightforge.__path__) if m.ispkg)


def describe(stage: str | None = None) -> str:
    """Each method with its first line, and each of its values with an example and what it means.

    Raises:
        ConfigError: there is no such stage.
    """
    have = stages()
    if stage is not None and stage not in have:
        raise ConfigError(f"no stage {stage!r} has methods. There are: {', '.join(have)}.")
    lines: list[str] = []
    for folder in [stage] if stage else have:
        for name in methods.names(folder):
            module = methods.load(folder, name)
            lines += ["", f"{folder}/{name}: {(module.__doc__ or '').strip().splitlines()[0]}"]
            values = module.SAMPLE.model_dump(mode="json")
            for field, info in type(module.SAMPLE).model_fields.items():
                meaning = " ".join((info.description or "").split())
                lines.append(f"    {field}: {values[field]!r:<12} {meaning}")
    return "\n".join(lines[1:])
