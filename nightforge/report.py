"""One self-contained page from plain data: it loads nothing, every value is escaped, equal inputs give equal bytes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from nightforge import charts, summary
from nightforge.charts import Point

Json = Mapping[str, Any]
WATCHED = {
    "grad_norm": "Norm of the gradient by layer, clipped",
    "weight_norm": "Norm of the weights by layer",
    "update_ratio": "Norm of a step ÷ norm of the weights, by layer",
}
"""A figure of nightforge/watch/ → what its chart is called; others go by their own names."""
RATES = {"tokens_per_s": "Tokens/s", "samples_per_s": "Samples/s"}
"""Figure of the probes → heading of its column."""
SEARCHES = {
    "ladder": "Recipes were tried in order, the cheapest first, until one kept the contract.",
    "all": "Every recipe was tried; of those that keep the contract, the one that loses least quality was chosen.",
    "pareto": "Values of recipes were explored; of what keeps the contract, that which loses least quality was chosen.",
}
"""compress.search → what was done."""
LAYERS = 6
"""Names of layers that were left alone for one reason, before the rest is counted."""
SLICES = {
    "by_label": "By label",
    "by_length": "By length of the text, in bytes",
    "judged_by_label": "Samples that the judge reads as what they should be",
}
PICTURED = {
    "judged": "samples that the judge reads as what they should be",
    "judged_real": "real records that it reads right",
    "kernel_distance": "kernel distance of samples, on the judge's features",
    "kernel_distance_real": "of real training records",
    "precision": "precision: samples like real records",
    "recall": "recall: real records like samples",
    "variety": "variety within a label, of that of real records",
    "nearest_training_ratio": "distance to the nearest training record, of that of real ones",
    "copied_share": "samples that are copies of training records",
}
"""Figures of evaluate_array → what they say."""


@dataclass(frozen=True, slots=True)
class Story:
    """All that the page tells, as the stages wrote it. What is empty is left out, or said to be absent."""

    title: str
    accept: Json
    """The metrics of the stage accept, as the other metrics are of theirs."""
    compress: Json
    compress_speed: Json
    evaluate: Json
    evaluate_speed: Json
    train: Json
    train_speed: Json
    data: Json
    """Stage → its metrics, in order: ingest, clean, split, balance, augment, represent, knowledge."""
    dropped: Sequence[Json]
    """{stage, rule, reason, rows, examples: [{id, source, evidence}]}, most rows first."""
    gates: Sequence[Json]
    """The verdict files of the gates."""
    curves: Mapping[str, Mapping[str, Sequence[float]]]
    """Name of the file → column → values."""
    samples: Sequence[Json]
    """{prompt, label, text} of texts; {source, text, labels} of pictures: a data URI, a caption, each line's label."""
    sources: Sequence[tuple[str, str]]
    """What was read, and how it is identified."""
    hashes: Sequence[tuple[str, str]]
    """Artifact → sha256."""
    versions: Sequence[tuple[str, str]]
    """Package → version."""
    contract: Json = field(default_factory=dict)
    """The contract as it stands in params.yaml."""


def render(story: Story) -> str:
    """The report as one HTML document."""
    candidates, metric = _candidates(story), summary.metric(story.accept)
    return _template("page.html.j2").render(
        story=story,
        headline=summary.headline(story.accept),
        terms=[
            {**t, "name": _term_name(t["term"]), "note": _term_note(t["term"], metric)}
            for t in story.accept["contract"]
        ],
        funnel=_funnel(story.data),
        slices=_slices(story.evaluate, SLICES),
        pictured=PICTURED.items(),
        losses=_slices(story.accept, {"loss_by_label": "Where quality was lost, by label"}),
        metric=metric,
        curves=_curves(story.curves),
        candidates=candidates,
        searched=SEARCHES[story.compress["search"]],
        rate=next((name for key, name in RATES.items() if key in story.compress_speed.get("dense", {})), "Tokens/s"),
        scatter=_scatter(story, candidates, metric),
    )


def render_failed(
    title: str, failed: Sequence[tuple[str, str, str]], outcomes: Mapping[str, str], gates: Sequence[Json]
) -> str:
    """The page of a run that ended before there was a verdict.

    Args:
        title: heading of the page.
        failed: (stage, class of the error, what it said) of each stage that failed.
        outcomes: stage → how it ended.
        gates: verdict files of the gates that closed, with what failed and the ids of rows.
    """
    return _template("failed.html.j2").render(title=title, failed=failed, outcomes=outcomes, gates=gates)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("nightforge", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "figure": lambda value, term: summary.figure(term, value),
        "percent": summary.percent,
        "thousands": lambda value: f"{value:,}",
        "rounded": lambda value, digits=3: "—" if value is None else f"{value:.{digits}f}".replace("-", "−"),
        "brief": lambda value: f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}",
    }
    return found


def _template(name: str) -> Template:
    return _environment().get_template(name)


def _term_name(term: str) -> str:
    return summary.TERMS.get(term, (term, ""))[0]


def _term_note(term: str, metric: str) -> str:
    return summary.TERMS.get(term, ("", ""))[1].format(metric=metric)


def _funnel(data: Json) -> list[dict[str, Any]]:
    """Rows after each stage of the data, each as a share of the most there ever were."""
    counted = [
        ("ingested", data.get("ingest", {}).get("rows_read"), data.get("ingest", {}).get("rows_rejected", 0)),
        ("kept by cleaning", data.get("clean", {}).get("rows_kept"), data.get("clean", {}).get("rows_rejected", 0)),
        ("in the train split", data.get("split", {}).get("rows", {}).get("train"), None),
        (
            "kept by balancing",
            data.get("balance", {}).get("rows_kept"),
            data.get("balance", {}).get("rows_rejected", 0),
        ),
        ("trained on, with varied copies", _trained_on(data.get("augment", {})), None),
        ("facts told beside them", data.get("knowledge", {}).get("rows_kept") or None, None),
    ]
    rows = [{"name": name, "rows": n, "dropped": dropped} for name, n, dropped in counted if n is not None]
    most = max((r["rows"] for r in rows), default=1) or 1
    return [{**r, "share": r["rows"] / most} for r in rows]


def _trained_on(augment: Json) -> int | None:
    return augment["originals"] + augment["copies_made"] if "originals" in augment else None


def _slices(evaluate: Json, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Groups of slices with their intervals, and where each lies on the group's common axis, in percent."""
    groups = []
    for key, name in names.items():
        found = {k: v.get("bpb", v) if isinstance(v, Mapping) else v for k, v in evaluate.get(key, {}).items()}
        found = {k: v for k, v in found.items() if isinstance(v, Mapping) and "value" in v}
        if not found:
            continue
        low, high = min(v["low"] for v in found.values()), max(v["high"] for v in found.values())
        span = (high - low) or 1.0
        rows = [
            {
                "name": k,
                "documents": evaluate[key][k].get("documents"),
                **v,
                "left": 100 * (v["low"] - low) / span,
                "width": 100 * (v["high"] - v["low"]) / span,
                "at": 100 * (v["value"] - low) / span,
            }
            for k, v in sorted(found.items(), key=lambda item: _in_order(item[0]))
        ]
        named = "share" if key.startswith("judged") else ""
        groups.append({"name": name, "named": named, "rows": rows, "low": low, "high": high})
    return groups


def _in_order(name: str) -> tuple[int, bool, str]:
    """Ranges of length by where they begin (`<40` before `40–79`), names by the alphabet."""
    number = re.search(r"\d+", name)
    return int(number[0]) if number else 0, not name.startswith("<"), name


def in_turns(samples: Sequence[Json], most: int) -> list[dict[str, Any]]:
    """At most so many samples, one of each label before the second of any, without their special tokens."""
    seen: Counter[str] = Counter()
    turns = []
    for at, sample in enumerate(samples):
        label = str(sample.get("label"))
        turns.append((seen[label], at))
        seen[label] += 1
    chosen = [samples[at] for _, at in sorted(turns)[:most]]
    return [{**s, "prompt": re.sub(r"<\|[^|]*\|>", "", s.get("prompt") or "")} for s in chosen]


def _curves(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> list[tuple[str, Markup]]:
    watched = [column for column in curves.get("validation.csv", {}) if column not in {"step", "best"}]
    wanted = [
        ("steps.csv", "loss", "Training loss", False),
        *(("validation.csv", name, f"Validation, {summary.METRICS.get(name, name)}", True) for name in watched),
        ("steps.csv", "lr", "Learning rate", False),
        ("steps.csv", "grad_norm", "Norm of the gradient", False),
    ]
    return [
        (name, charts.line(curves[file]["step"], curves[file][column], "step", name, dots))
        for file, column, name, dots in wanted
        if column in curves.get(file, {})
    ] + _watched(curves.get("watched.csv", {}))


def _watched(columns: Mapping[str, Sequence[float]]) -> list[tuple[str, Markup]]:
    """What the watchers saw: one chart a figure, with a curve for each layer, from the input to the output."""
    groups: dict[str, dict[str, Sequence[float]]] = {}
    for column in sorted(columns, key=_by_numbers):
        if column != "step":
            figure, _, layer = column.rpartition("/")
            groups.setdefault(figure or layer, {})[layer] = columns[column]
    made = []
    for figure, several in groups.items():
        name = WATCHED.get(figure, figure.replace("_", " "))
        first, *_, last = [*several, ""] if len(several) == 1 else list(several)
        caption = f"{name}, from {first} (faint) to {last}" if last else name
        made.append((caption, charts.lines(columns["step"], several, "step", name)))
    return made


def _by_numbers(name: str) -> list[tuple[bool, int, str]]:
    """Names in which `layers.2` comes before `layers.10`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _candidates(story: Story) -> list[dict[str, Any]]:
    """Each recipe with its figures and its speed, the chosen one first, failed ones last."""
    front = story.compress_speed.get("front", [])
    rows = []
    for name, found in story.compress.get("candidates", {}).items():
        speed = story.compress_speed.get("candidates", {}).get(name, {})
        faster = speed["dense_latency_ms_p50"] / speed["latency_ms_p50"] if speed else None
        absent = {"failed": None, "latency_ms_p50": None}
        per_s = next((value for key, value in speed.items() if key in RATES), None)
        rows.append(
            {
                **absent,
                "per_s": per_s,
                **found,
                **speed,
                "name": name,
                "chosen": name == story.compress["chosen"],
                "faster": faster,
                "front": name in front,
                "told": _told(found),
            }
        )
    return sorted(rows, key=lambda r: (not r["chosen"], r["failed"] is not None, r.get("size_mb", 0)))


def _told(found: Json) -> list[str]:
    """What a recipe's passes say: layers that they left alone, by the reason; their figures; what to know of it."""
    reasons: dict[str, list[str]] = {}
    for layer, why in chain(found.get("skipped", {}).items(), found.get("held_in_more_bits", {}).items()):
        reasons.setdefault(why, []).append(layer)
    left = [
        f"{len(layers)} layer{'s' if len(layers) > 1 else ''}, {why}: {', '.join(layers[:LAYERS])}"
        + (f" and {len(layers) - LAYERS} more" if len(layers) > LAYERS else "")
        for why, layers in reasons.items()
    ]
    lines = list(found.get("remarks", []))
    for note in found.get("notes", []):
        said = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in note.items() if key != "pass")
        lines.append(f"{note['pass']}: {said}")
    return lines + left


def _scatter(story: Story, candidates: Sequence[Json], metric: str) -> Markup:
    points = [
        Point(
            label=c["name"],
            x=c["size_share"] * 100,
            y=c["bpb_loss_share"]["value"] * 100,
            low=c["bpb_loss_share"]["low"] * 100,
            high=c["bpb_loss_share"]["high"] * 100,
            good=bool(c["meets"]),
            chosen=bool(c["chosen"]),
        )
        for c in candidates
        if not c["failed"]
    ]
    size, loss = story.contract.get("max_size_share"), story.contract.get("max_quality_loss")
    limits = size * 100 if size is not None else None, loss * 100 if loss is not None else None
    return charts.scatter(points, *limits, "size, % of the dense model's", f"{metric} lost, %")
