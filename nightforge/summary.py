"""The verdict in words: a headline, a table, and both as Markdown. Reads the metrics of the stage accept."""

from collections.abc import Mapping
from typing import Any

METRICS = {"bpb": "bits per byte", "judge_bits": "bits of the judge's surprise", "kid": "kernel distance"}
"""What nats by unit are called in a model's card, and early stopping's column → in words."""

TERMS = {
    "bpb_loss_share": ("Quality lost", "{metric} against the dense model; the upper end of the interval decides"),
    "size_share": ("Size, of the dense model's", "the whole folder over the whole dense fp32 folder"),
    "size_mb": ("Size", "the whole folder"),
    "latency_ratio": ("Latency, of the dense model's", "median per token or sample, in turns with it in PyTorch"),
    "latency_ms_p95": ("Latency, 95th percentile", "per token or sample"),
    "peak_memory_mb": ("Peak memory", "of a fresh process that loads the model and generates"),
    "kernel_distance_rise": (
        "Samples further from records",
        "kernel distance above the dense model's, in the judge's features; the upper end decides",
    ),
    "implausible_gain": ("Implausible gain", "better than the dense model by more than this points at a mistake"),
    "champion_loss_share": ("Against the champion", "{metric} against the last accepted model, upper end"),
    "no_effect": ("No effect", "a recipe that changes no weight or saves no byte is refused"),
    "reload_kl_nats": ("Other than what was made", "nats a token between the artifact and the model in memory"),
}
"""Term → its name on the page, and what it means."""


def metric(accept: Mapping[str, Any]) -> str:
    """What quality is measured in, in words."""
    name = str(accept.get("metric", "bpb"))
    return METRICS.get(name, name.replace("_", " "))


def percent(value: float) -> str:
    """`0.00538` → `0.54%`; two significant digits at least, and a minus that looks like one."""
    digits = 2 if abs(value) < 0.1 else 1
    return f"{value * 100:.{digits}f}%".replace("-", "−")


def figure(term: str, value: float | None) -> str:
    """A term's figure with its unit; a dash where it was not measured."""
    if value is None:
        return "—"
    if term.endswith(("_share", "_gain")):
        return percent(value)
    if term.endswith("_ratio"):
        return f"{value:.3g}×"
    unit = " MB" if "_mb" in term else " ms" if "_ms" in term else ""
    return f"{value:.3g}{unit}"


def table(accept: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a term of the contract, all as text: term, limit, measured, bound, met."""
    return [
        {
            "term": TERMS.get(t["term"], (t["term"], ""))[0],
            "limit": f"≤ {figure(t['term'], t['limit'])}",
            "measured": figure(t["term"], t["measured"]),
            "bound": figure(t["term"], t["bound"]),
            "met": "yes" if t["met"] else "NO",
        }
        for t in accept["contract"]
    ]


def headline(accept: Mapping[str, Any]) -> str:
    """One sentence: what was chosen, what it costs in quality, what it saves."""
    loss = accept["bpb_loss_share"]
    change = "worse" if loss["value"] >= 0 else "better"
    smaller = accept["dense_size_mb"] / accept["size_mb"]
    said = (
        f"{accept['chosen']} is {percent(abs(loss['value']))} {change} in {metric(accept)} than the dense model "
        f"(interval {percent(loss['low'])} to {percent(loss['high'])}, {accept['documents']:,} documents) "
        f"and {smaller:.1f}× smaller"
    )
    ratio = next((t["measured"] for t in accept["contract"] if t["term"] == "latency_ratio"), None)
    if ratio:
        said += f", {1 / ratio:.3g}× faster" if ratio <= 1 else f", {ratio:.3g}× slower"
    return f"{said}."


def markdown(accept: Mapping[str, Any], link: str | None = None) -> str:
    """The verdict as Markdown, for a Prefect artifact or a pull request."""
    lines = [f"# {accept['verdict']}", "", _plain(headline(accept)), ""]
    lines += [f"- {_plain(reason)}" for reason in (*accept["reasons"], *accept.get("alarms", []))]
    lines += ["", "| term | limit | measured | bound | met |", "| --- | --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(_plain(cell) for cell in row.values()) + " |" for row in table(accept)]
    if link:
        lines += ["", f"[The whole report]({link})"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: no cell, tag or link can be made by a name in it."""
    for char in "\\`*_[]<>|#":
        text = text.replace(char, f"\\{char}")
    return text.replace("\n", " ")
