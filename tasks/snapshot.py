"""The manifest of the sources, data/source.json: what ingest reads is what was recorded, and new data is seen.

No stage of dvc.yaml: a stage that always runs would leave `dvc status` dirty for ever.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nightforge.errors import ConfigError
from nightforge.methods import explain
from tasks.sources import IngestConfig, entry
from tasks.wiring import home_folder, read_yaml

MANIFEST = Path("data/source.json")


def config(project: Path) -> IngestConfig:
    """The section `ingest` of a project's params.yaml.

    Raises:
        ConfigError: it is missing or wrong.
    """
    try:
        return IngestConfig.model_validate(read_yaml(project / "params.yaml").get("ingest", {}))
    except ValidationError as e:
        raise ConfigError(f"params.yaml: ingest: {explain(e)}") from None


def manifest(cfg: IngestConfig, home: Path) -> dict[str, Any]:
    """What lies at every source and asset now.

    Raises:
        DataError: there is nothing at an address.
        Transient: a remote address cannot be reached.
    """
    return {
        "sources": {place.name: entry(place, home) for place in cfg.sources},
        "assets": {place.name: entry(place, home) for place in cfg.assets},
    }


def write(project: Path) -> bool:
    """Record the sources that a project's params.yaml names; returns whether the record changed.

    Raises:
        ConfigError, DataError, Transient: as `config` and `manifest`.
    """
    text = (
        json.dumps(manifest(config(project), home_folder(project)), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    )
    path = project / MANIFEST
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return True
