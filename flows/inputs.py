"""What a run refreshes before it starts, so that DVC sees what moved: small manifests in git that stages depend on.

Each is written only if it says something new, and only if the project's dvc.yaml has a stage that reads it.
"""

import os
from pathlib import Path
from typing import Any

from flows import graph, ledger
from nightforge.errors import ConfigError
from tasks import wiring
from tasks.hashing import sha256_file


def refresh(project: Path, home: Path) -> list[str]:
    """Refresh the manifests of the source and of the starting model; returns what was written, to be said.

    And the champion, where the recorded verdict was reached against an older one.

    Relative addresses resolve against `home`, the project folder of the user's own checkout.

    Raises:
        ConfigError: the project, or the starting model, is not there.
    """
    os.environ["NIGHTFORGE_HOME"] = str(home)
    reads = {name: path for stage in wiring.stages(project).values() for name, path in stage.paths.items()}
    written = []
    if "source" in reads:
        from tasks import reference, snapshot

        reference.remember(project, home)
        if snapshot.write(project):
            written.append(f"{reads['source']}: the source has moved on")
        if reference.refresh(project, home):
            written.append(f"{reads['reference']}: what tonight's data is compared with is another snapshot")
    if "base" in reads and ledger.write_if_changed(project / reads["base"], starting_model(project, home)):
        written.append(f"{reads['base']}: another starting model")
    if ledger.outdated(project, home) and ledger.refresh_champion(project, home):
        written.append(f"{reads['champion']}: the recorded verdict was reached against an older champion")
    return written


def before(stage: str, project: Path, home: Path) -> str | None:
    """What must be refreshed when all that a stage reads is there: the champion, if `accept` is about to rerun.

    Returns what was written, to be said. Asked only then, since a stale stage above may come out as before.
    """
    wired = wiring.stage(stage, project)
    if stage != "accept" or "champion" not in wired.paths or not graph.would_rerun(stage, project, home):
        return None
    return f"{wired.paths['champion']}: the last accepted model" if ledger.refresh_champion(project, home) else None


def starting_model(project: Path, home: Path) -> dict[str, Any]:
    """The manifest of the model that training starts from: `train.model` in params.yaml, a folder or `scratch`.

    Raises:
        ConfigError: the folder does not exist or is empty.
    """
    named = wiring.read_yaml(project / "params.yaml").get("train", {}).get("model", "scratch")
    if named in {None, "scratch"}:
        return {"from": "scratch"}
    folder = home / str(named)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    if not files:
        raise ConfigError(
            f"params.yaml: train.model is {named!r}, and there is no folder with files at {folder}. "
            f"Name a local Hugging Face folder (relative to {home}), or `scratch`."
        )
    return {"folder": str(named), "files": {p.relative_to(folder).as_posix(): sha256_file(p) for p in files}}
