"""A gate: its verdict file exists only while every expectation of its suite holds for the artifact."""

import json
from pathlib import Path
from typing import Any

from nightforge import privacy
from nightforge.errors import GateClosed
from tasks import gate_suite, gate_table
from tasks.gate_suite import Result
from tasks.hashing import sha256_file, sha256_tree
from tasks.wiring import Wiring

EXAMPLE_CHARS = 80


def run(wired: Wiring, gates: Path, passed: Path) -> None:
    """Hold `item.artifact` against the stage's suite, with `item.beside` to compare it with.

    Open: the verdict goes to `gates`, and to `passed` what the next stage needs of it: that it holds for this very
    artifact. Closed: the verdict goes to `reports/closed/<key>.json`, and nothing to those two. Data Docs go to
    `reports/data_docs/<key>/` either way; those two folders are no DVC outputs. Ids, counts and limits are all that is
    written; a redacted, shortened example of the first rows is printed.

    Raises:
        GateClosed: an expectation failed; the message names each with its `why`.
        ConfigError: the suite is empty or wrong.
    """
    key, artifact = wired.item["key"], Path(wired.item["artifact"])
    verdict_path, suite = wired.outs[0], next(p for p in wired.deps if p.suffix == ".yaml")
    reports = verdict_path.parent.parent
    closed = reports / "closed" / f"{key}.json"
    for old in wired.outs:  # DVC does so too; a gate that is run by hand must not leave an old verdict
        old.unlink(missing_ok=True)
    expectations = gate_suite.load(suite)
    tables = gate_table.of(artifact, Path(wired.item["beside"]))
    results = gate_suite.hold(expectations, tables, key, reports / "data_docs" / key)
    failed = [r for r in results if not r.met]
    verdict = {
        "gate": key,
        "artifact": artifact.as_posix(),
        "artifact_sha256": sha256_tree(artifact),
        "suite": suite.as_posix(),
        "suite_sha256": sha256_file(suite),
        "gx_version": gate_suite.VERSION,
        "evaluated": len(results),
        "verdict": "closed" if failed else "open",
        "results": [_entry(r) for r in results],
    }
    if failed:
        _write(closed, verdict)
        examples = gate_table.texts(artifact, {i for r in failed for i in r.ids})
        print("\n".join(line for r in failed for line in _lines(r, examples)), flush=True)
        raise GateClosed(
            f"{len(failed)} of {len(results)} expectations of {suite} failed for {artifact}, which is left as it is: "
            f"{'; '.join(_said(r) for r in failed)}. See {closed} and {reports / 'data_docs' / key / 'index.html'}. "
            f"Mend the data or the stage before it; where the limit is wrong, change it in {suite}."
            f"{_meant(tables.facts)}"
        )
    _write(gates, verdict)
    _write(passed, {name: verdict[name] for name in ("gate", "artifact", "artifact_sha256", "verdict")})
    closed.unlink(missing_ok=True)
    print(f"gate@{key}: open, {len(results)} expectations hold")


def _meant(facts: gate_table.Facts) -> str:
    """The way out of a change that someone has made on purpose."""
    return " Where this change is meant: nightforge gates accept" if "has_reference" in facts else ""


def _entry(r: Result) -> dict[str, Any]:
    e = r.expectation
    limits = {k: v for k, v in e.limits.items() if k != "column"}
    entry = {"expectation": e.expect, "of": e.of, "column": e.column, "limits": limits, "why": e.why}
    return entry | {"met": r.met, "observed": r.observed, "ids": r.ids}


def _said(r: Result) -> str:
    observed = ", ".join(f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in r.observed.items())
    return f"{r.expectation.column or 'the table'}: {r.expectation.why} (observed: {observed})"


def _lines(r: Result, examples: dict[str, str]) -> list[str]:
    limits = ", ".join(f"{k} {v}" for k, v in r.expectation.limits.items() if k != "column")
    head = f"✗ {_said(r)}\n    {r.expectation.expect} {limits}"
    return [head, *(f"    {i}  {_example(examples[i])}" for i in r.ids if i in examples)]


def _example(text: str) -> str:
    """A piece of a text around the first thing redacted in it, harmless to a terminal."""
    safe, counts = privacy.redact(text)
    found = min((safe.find(f"[{kind.upper()}]") for kind in counts), default=0)
    start = max(found - EXAMPLE_CHARS // 2, 0)
    piece = "".join(c if c.isprintable() else " " for c in safe[start : start + EXAMPLE_CHARS])
    return f"{'…' * (start > 0)}{' '.join(piece.split())}{'…' * (start + EXAMPLE_CHARS < len(safe))}"


def _write(path: Path, verdict: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(verdict, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
