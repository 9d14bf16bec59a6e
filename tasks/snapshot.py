"""The manifest of the sources, data/source.json: what ingest reads is what was recorded, and new data is seen.

No stage of dvc.yaml: a stage that always runs would leave `dvc status` dirty for ever.
"""

import json
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nightforge.errors import ConfigError, DataError
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


def refuse_stale(project: Path, cfg: IngestConfig, found: dict[str, Any], home: Path) -> None:
    """Hold the newest file found of each source that params.yaml names under `freshness` against the days it gives.

    Asked when the sources are recorded, since what a stage makes must not depend on the clock. A file is as old as its
    modification time says.

    Raises:
        ConfigError: no such source, no number of days, or the files of the source are of no known age.
        DataError: the source is older.
    """
    limits = read_yaml(project / "params.yaml").get("freshness") or {}
    places = {place.name: place for place in cfg.sources}
    for name, days_max in limits.items():
        if name not in places or isinstance(days_max, bool) or not isinstance(days_max, int | float):
            raise ConfigError(
                f"params.yaml: freshness: expected sources and days, such as {{{cfg.sources[0].name}: 2}}."
            )
        files = [file["path"] for file in found["sources"][name].get("files", [])]
        if not files or "://" in places[name].address:
            raise ConfigError(
                f"params.yaml: freshness: {name}: {places[name].address} does not say how old it is. "
                f"A package is as its version is; of a remote address keep a local copy, or take the line away."
            )
        age_days = (time.time() - max((home / path).stat().st_mtime for path in files)) / 86_400
        if age_days > days_max:
            raise DataError(
                f"source {name}: its newest file is {age_days:.1f} days old, expected at most {days_max:g}. "
                f"Mend what brings the data, or change params.yaml: freshness.{name}."
            )


def write(project: Path) -> bool:
    """Record the sources that a project's params.yaml names; returns whether the record changed.

    Raises:
        ConfigError, DataError, Transient: as `config`, `manifest` and `refuse_stale`.
    """
    cfg, home = config(project), home_folder(project)
    found = manifest(cfg, home)
    refuse_stale(project, cfg, found, home)
    text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path = project / MANIFEST
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return True
