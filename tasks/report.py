"""Report: read what every stage wrote, and tell it on one page. It always succeeds; gate@compressed refuses."""

import base64
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from nightforge import config, report
from nightforge.contract import Contract
from nightforge.privacy import evidence
from nightforge.report import Story
from tasks import shards, wiring
from tasks.hashing import sha256_file
from tasks.wiring import Wiring, bound_name

DATA = ("ingest", "clean", "split", "balance", "augment", "represent", "knowledge")
REJECTS = "_rejects"
UNTITLED = "A run that failed"
KEY_PACKAGES = ("torch", "transformers", "onnxruntime", "onnxruntime-genai", "dvc", "prefect", "great-expectations")


class ReportConfig(config.Config):
    """What the page shows of what there is plenty of."""

    title: str = Field(min_length=1)
    """Heading of the page."""

    rejects_per_rule: int = Field(ge=0, le=50)
    """Examples shown of what each rule dropped, redacted."""

    samples: int = Field(ge=0, le=200)
    """Samples of the dense model shown."""


def run(cfg: ReportConfig, contract: Contract, wired: Wiring, source: Path, evaluation: Path, index: Path) -> None:
    """Write the page."""
    metrics = {bound_name(p): _read(p) for p in wired.deps if p.parts[0] == "metrics"}
    curves = [f for p in wired.deps if p.parts[0] == "plots" for f in sorted(p.glob("*.csv"))]
    story = Story(
        title=cfg.title,
        accept=metrics["accept"],
        compress=metrics["compress"],
        compress_speed=metrics["compress_speed"],
        evaluate=metrics["evaluate"],
        evaluate_speed=metrics["evaluate_speed"],
        train=metrics["train"],
        train_speed=metrics["train_speed"],
        data={name: metrics[name] for name in DATA if name in metrics},
        dropped=dropped([p for p in wired.deps if p.name.endswith(REJECTS)], cfg.rejects_per_rule),
        gates=[_read(path) for path in wired.gates],
        curves={p.name: _columns(p) for p in curves},
        samples=_samples(evaluation, cfg.samples),
        sources=_sources(_read(source)),
        hashes=_hashes(metrics["accept"], wired.gates, source),
        versions=_versions(wired.deps),
        contract=contract.model_dump(),
    )
    index.write_text(report.render(story), encoding="utf-8")


def _samples(evaluation: Path, most: int) -> list[dict[str, Any]]:
    """What the model made: texts, or pictures that stand in the page itself."""
    made = _read(evaluation / "samples.json")
    if not any("picture" in sample for sample in made):
        return report.in_turns(made, most)
    return [{**sample, "source": _data_uri(evaluation / sample["picture"])} for sample in made[:most]]


def _data_uri(png: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode()}"


class Failure(Protocol):
    """How a stage failed, as flows know it."""

    @property
    def kind(self) -> str:
        """Class of the error, such as `GateClosed`."""

    @property
    def message(self) -> str:
        """What it said."""


def render_failed(project: Path, outcomes: Mapping[str, str], failed: Mapping[str, Failure]) -> Path:
    """Write the page of a run that ended before its verdict, beside where the report would be; part of no stage.

    Args:
        project: the project folder.
        outcomes: stage → how it ended, such as `ran`, `cached`, `failed`, in order.
        failed: stage → why, for those that failed.
    """
    reports = project / wiring.stage("report", project).outs[0].parent
    closed = [p for name in failed if (p := reports / "closed" / f"{name.partition('@')[2]}.json").is_file()]
    section = wiring.read_yaml(project / "params.yaml").get("report")  # may itself be why the run failed
    title = str(section["title"]) if isinstance(section, dict) and "title" in section else UNTITLED
    out = reports / "failed.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    said = [(name, failure.kind, failure.message) for name, failure in failed.items()]
    out.write_text(report.render_failed(title, said, outcomes, [_read(path) for path in closed]), encoding="utf-8")
    return out


def dropped(folders: Sequence[Path], examples: int) -> list[dict[str, Any]]:
    """Rejected rows counted by stage, rule and reason, with the first few of each; most rows first."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for folder in folders:
        stage = folder.name.removesuffix(REJECTS)
        for row in shards.rows(folder):
            key = (stage, row["rule"], row["reason"])
            entry = found.setdefault(
                key, {**dict(zip(("stage", "rule", "reason"), key, strict=True)), "rows": 0, "examples": []}
            )
            entry["rows"] += 1
            if len(entry["examples"]) < examples:
                entry["examples"].append(
                    {"id": row["id"], "source": row["source"], "evidence": evidence(row["evidence"])}
                )
    return sorted(found.values(), key=lambda e: (-e["rows"], e["stage"], e["rule"], e["reason"]))


def _columns(path: Path) -> dict[str, Sequence[float]]:
    with path.open(encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    return {name: [float(row[name] or "nan") for row in rows] for name in (rows[0] if rows else {})}


def _sources(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Every source of the snapshot, and what it is identified by."""
    return [
        (name, json.dumps(entry, sort_keys=True, ensure_ascii=False)) for name, entry in manifest["sources"].items()
    ]


def _hashes(accept: dict[str, Any], gates: Sequence[Path], source: Path) -> list[tuple[str, str]]:
    gated = {g["artifact"]: g["artifact_sha256"] for g in map(_read, gates)}
    made = {"dense model": accept["dense_sha256"], "compressed model": accept["compressed_sha256"]}
    return [(source.as_posix(), sha256_file(source)), *gated.items(), *made.items()]


def _versions(deps: Sequence[Path]) -> list[tuple[str, str]]:
    """The pins of the lock file, the ones that a model depends on most first."""
    lock = next(p for p in deps if p.suffix == ".lock")
    pins = [line.split("#")[0].split(";")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines()]
    found = dict(pin.split("==", 1) for pin in pins if "==" in pin)
    first = {name: found[name] for name in KEY_PACKAGES if name in found}
    return [*first.items(), *sorted((k, v) for k, v in found.items() if k not in first)]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
