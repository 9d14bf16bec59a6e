"""Inline SVG: lines over steps, and candidates against the contract. Colours come from the page's style sheet."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 18, 12, 30
MAX_POINTS = 300
LETTER, LINE = 7.0, 14.0
"""Of a label: width of a letter, and height of a line."""


class Point(NamedTuple):
    """A candidate: where it is, how sure that is, and what stands beside it."""

    label: str
    x: float
    y: float
    low: float
    high: float
    good: bool
    chosen: bool


class Scale(NamedTuple):
    """Values from `first` to `last` drawn from `start` to `end` (user units)."""

    first: float
    last: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.first) / (self.last - self.first) * (self.end - self.start)


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round values that cover low to high, about `wanted` steps of 1, 2 or 5 × 10ⁿ."""
    if high <= low:
        low, high = low - (abs(low) / 10 or 1), low + (abs(low) / 10 or 1)
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def line(xs: Sequence[float], ys: Sequence[float], x_name: str, y_name: str, dots: bool = False) -> Markup:
    """One curve with its axes; see `lines`."""
    return lines(xs, {y_name: ys}, x_name, y_name, dots)


def lines(
    xs: Sequence[float], curves: Mapping[str, Sequence[float]], x_name: str, y_name: str, dots: bool = False
) -> Markup:
    """Curves on common axes, the first the faintest; more than 300 points are averaged in bins, for a small page.

    A value that is not finite is no part of its curve: where it came, a mark stands over the whole height.
    """
    finite = {name: [(a, b) for a, b in zip(xs, ys, strict=True) if math.isfinite(b)] for name, ys in curves.items()}
    marked = sorted({a for ys in curves.values() for a, b in zip(xs, ys, strict=True) if not math.isfinite(b)})
    drawn = {
        name: list(zip(_thinned([a for a, _ in one]), _thinned([b for _, b in one]), strict=True))
        for name, one in finite.items()
    }
    if max(map(len, drawn.values()), default=0) < 2:
        return Markup('<p class="none">Too few points for a curve.</p>')
    values = [b for one in drawn.values() for _, b in one]
    x_ticks, y_ticks = ticks(0, max(xs)), ticks(min(values), max(values))
    x = Scale(x_ticks[0], x_ticks[-1], LEFT, WIDTH - RIGHT)
    y = Scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    body = _axes(x, y, x_ticks, y_ticks, x_name, y_name, WIDTH, HEIGHT)
    for at, (name, one) in enumerate(drawn.items(), 1):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in one)
        faint = "" if len(drawn) == 1 else f' stroke-opacity="{0.2 + 0.8 * at / len(drawn):.2f}"'
        body.append(f'<polyline class="curve" points="{path}"{faint}><title>{escape(name)}</title></polyline>')
        if dots:
            body += [f'<circle class="dot" cx="{x(a):.1f}" cy="{y(b):.1f}" r="2"/>' for a, b in one]
    body += [
        f'<line class="broken" x1="{x(a):.1f}" x2="{x(a):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
        f"<title>not finite at {_short(a)}</title></line>"
        for a in marked
    ]
    return _svg(WIDTH, HEIGHT, f"{y_name} over {x_name}", body)


def scatter(points: Sequence[Point], limit_x: float | None, limit_y: float | None, x_name: str, y_name: str) -> Markup:
    """Candidates with their intervals; what the contract allows is shaded, down and to the left of its limits."""
    width, height, left, right, bottom = 660, 330, 56, 96, 40
    if not points:
        return Markup('<p class="none">No candidate was measured.</p>')
    xs = [0.0, *(p.x for p in points), limit_x or 0.0]
    ys = [0.0, *(v for p in points for v in (p.low, p.high)), limit_y or 0.0]
    lowest = (
        min(ys) if min(ys) < -0.05 * max(ys) else 0.0
    )  # an interval that only just crosses zero needs no tick below
    x_ticks, y_ticks = ticks(min(xs), max(xs) * 1.02, 5), ticks(lowest, max(ys) * 1.02, 5)
    x, y = Scale(x_ticks[0], x_ticks[-1], left, width - right), Scale(y_ticks[0], y_ticks[-1], height - bottom, 16)
    edge_x = x(limit_x) if limit_x is not None else width - right
    edge_y = y(limit_y) if limit_y is not None else 16.0
    region = f'x="{left}" y="{edge_y:.1f}" width="{edge_x - left:.1f}" height="{height - bottom - edge_y:.1f}"'
    body = [f'<rect class="allowed" {region}/>']
    body += _axes(x, y, x_ticks, y_ticks, x_name, y_name, width, height)
    if limit_x is not None:
        body.append(f'<line class="limit" x1="{edge_x:.1f}" x2="{edge_x:.1f}" y1="16" y2="{height - bottom}"/>')
        body.append(f'<text class="limit-name" x="{edge_x + 5:.1f}" y="26">limit</text>')
    if limit_y is not None:
        body.append(f'<line class="limit" x1="{left}" x2="{width - right}" y1="{edge_y:.1f}" y2="{edge_y:.1f}"/>')
        body.append(f'<text class="limit-name" x="{width - right + 5}" y="{edge_y + 4:.1f}">limit</text>')
    labels = _apart([(x(p.x), y(p.y) + 4, LETTER * len(p.label)) for p in points])
    for p, label_y in zip(points, labels, strict=True):
        kind = "chosen" if p.chosen else "good" if p.good else "bad"
        cx, cy = x(p.x), y(p.y)
        body.append(
            f'<line class="whisker {kind}" x1="{cx:.1f}" x2="{cx:.1f}" y1="{y(p.low):.1f}" y2="{y(p.high):.1f}"/>'
        )
        body.append(f'<circle class="point {kind}" cx="{cx:.1f}" cy="{cy:.1f}" r="{6 if p.chosen else 4.5}"/>')
        if cy + 4 - label_y > LINE:
            body.append(f'<line class="leader" x1="{cx:.1f}" x2="{cx + 9:.1f}" y1="{cy:.1f}" y2="{label_y - 4:.1f}"/>')
        body.append(f'<text class="name {kind}" x="{cx + 10:.1f}" y="{label_y:.1f}">{escape(p.label)}</text>')
    return _svg(width, height, f"{y_name} against {x_name} of each candidate", body, "scatter")


def _apart(wanted: Sequence[tuple[float, float, float]]) -> list[float]:
    """Heights of labels, each wanted at (left end, height, width), moved up just enough that no two overlap."""
    placed: dict[int, float] = {}
    for i in sorted(range(len(wanted)), key=lambda i: -wanted[i][1]):
        left, height, width = wanted[i]
        beside = [placed[j] for j in placed if wanted[j][0] < left + width and left < wanted[j][0] + wanted[j][2]]
        for other in sorted(beside, reverse=True):
            if abs(other - height) < LINE:
                height = other - LINE
        placed[i] = height
    return [placed[i] for i in range(len(wanted))]


def _axes(
    x: Scale, y: Scale, x_ticks: list[float], y_ticks: list[float], x_name: str, y_name: str, width: int, height: int
) -> list[str]:
    marks = [f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>' for t in y_ticks]
    marks += [
        f'<text class="tick" x="{x.start - 6}" y="{y(t) + 3.5:.1f}" text-anchor="end">{_short(t)}</text>'
        for t in y_ticks
    ]
    marks += [
        f'<text class="tick" x="{x(t):.1f}" y="{y.start + 15}" text-anchor="middle">{_short(t)}</text>' for t in x_ticks
    ]
    middle = (x.start + x.end) / 2
    marks.append(f'<text class="axis" x="{middle:.1f}" y="{height - 3}" text-anchor="middle">{escape(x_name)}</text>')
    if width > WIDTH:
        at = f"{(y.start + y.end) / 2:.1f}"
        marks.append(
            f'<text class="axis" text-anchor="middle" transform="translate(13 {at}) rotate(-90)">'
            f"{escape(y_name)}</text>"
        )
    return marks


def _svg(width: int, height: int, title: str, body: Sequence[str], kind: str = "small") -> Markup:
    head = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>'
    return Markup(head + "".join(body) + "</svg>")  # noqa: S704  every text in body is escaped where it is made


def _thinned(values: Sequence[float]) -> list[float]:
    size = math.ceil(len(values) / MAX_POINTS)
    if size <= 1:
        return list(values)
    bins = [values[i : i + size] for i in range(0, len(values), size)]
    return [sum(b) / len(b) for b in bins]


def _short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}".replace("e-0", "e-").replace("-", "−")
