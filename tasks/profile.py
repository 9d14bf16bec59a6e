"""Profile: what data/raw is like in numbers, and how far that is from yesterday's snapshot, for gate@drift to hold.

The profile kept in git (`reference`) is of the last snapshot whose gate opened; tasks/reference.py says when it moves.
"""

import json
from pathlib import Path
from typing import Any

from nightforge import drift
from tasks import gate_table
from tasks.hashing import sha256_file

SNAPSHOT = "snapshot"
"""The key of a profile under which stands the hash of the source manifest that it is of."""


def run(raw: Path, source: Path, reference: Path, profile: Path) -> dict[str, Any]:
    """Write the profile of the raw records; returns their distance from the reference.

    Where there is no reference yet, the records are held against themselves, and `has_reference` is 0.
    """
    rows = gate_table.table(raw)
    now = drift.profile(rows)
    then = json.loads(reference.read_text(encoding="utf-8"))
    profile.write_text(dumped(now | {SNAPSHOT: sha256_file(source)}), encoding="utf-8")
    if not then:
        print("no earlier snapshot to compare with yet: every distance is 0")
    return {"has_reference": int(bool(then)), **drift.compare(then or now, rows)}


def dumped(profile: dict[str, Any]) -> str:
    """A profile as it lies on disk."""
    return json.dumps(profile, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
