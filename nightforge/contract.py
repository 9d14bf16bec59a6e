"""The contract: how much a compressed model may lose, weigh, wait and hold; and the verdict on what was measured.

A limit that is null is not asked. Quality is judged on the far end of the interval, never on the point estimate, so
that a lucky sample of documents does not pass; the verdict is MET if every term asked for is met.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from pydantic import Field, model_validator

from nightforge.config import Config
from nightforge.errors import ConfigError

MET, NOT_MET = "MET", "NOT MET"
GAIN = "implausible_gain"
NO_EFFECT, RELOADED = "no_effect", "reload_kl_nats"
RELOAD_KL_NATS_MAX = 0.05
"""Mean KL a token between the model in memory and the artifact; above it, something else was written than was made."""


PRESETS: dict[str, dict[str, float | None]] = {
    "edge": {
        "confidence": 0.95,
        "max_quality_loss": 0.05,
        "max_size_share": 0.16,
        "max_size_mb": 128,
        "max_latency_ratio": None,
        "max_latency_ms_p95": 100,
        "max_peak_memory_mb": 512,
        "max_kernel_distance_rise": None,
        "max_plausible_gain": 0.02,
    }
}
"""Name → limits. `edge` is for devices: size and memory decide, and latency is bounded by itself and not by the dense
model's, so it is measured where it must hold."""


class Contract(Config):
    """What the compressed model must satisfy. Null means not asked; at least one limit must be.

    `preset: edge` gives each limit that is not named beside it.
    """

    confidence: float = Field(gt=0.5, lt=1)
    """Of the two-sided paired bootstrap intervals; 0.95 leaves 2.5% beyond the bound that decides."""

    max_quality_loss: float | None = Field(ge=0, le=1)
    """Share by which bits per byte may be worse than the dense model's, on the upper bound: 0.01 is 1%."""

    max_size_share: float | None = Field(gt=0, le=1)
    """Bytes of the whole compressed folder over those of the whole dense fp32 folder."""

    max_size_mb: float | None = Field(gt=0)
    """Bytes of the whole compressed folder, in MB (10⁶ bytes)."""

    max_latency_ratio: float | None = Field(gt=0)
    """Median latency per token over that of the dense model in PyTorch, measured in turns with it. The median, since
    on a shared machine the 95th percentile measures the neighbours."""

    max_latency_ms_p95: float | None = Field(gt=0)
    """95th percentile of the latency per token, in ms."""

    max_peak_memory_mb: float | None = Field(gt=0)
    """Peak resident memory of a process that loads the model and generates, in MB."""

    max_kernel_distance_rise: float | None = Field(ge=0)
    """By how much the kernel distance of samples (images, sounds) to records, in the judge's features, may be above the
    dense model's, on the upper bound."""

    max_plausible_gain: float = Field(ge=0, le=1)
    """A compressed model better than its dense original by more than this share points at a broken measurement, and
    is refused until a person has looked."""

    @model_validator(mode="before")
    @classmethod
    def _from_a_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "preset" not in values:
            return values
        own = {key: value for key, value in values.items() if key != "preset"}
        if not isinstance(values["preset"], str) or values["preset"] not in PRESETS:
            raise ValueError(f"preset: expected {' or '.join(PRESETS)}, got {values['preset']!r}")
        return PRESETS[values["preset"]] | own

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        limits = type(self).model_fields.keys() - {"confidence", "max_plausible_gain"}
        if all(getattr(self, name) is None for name in limits):
            raise ValueError("every limit is null, so any model would be MET; set at least one")
        return self


@dataclass(frozen=True, slots=True)
class Term:
    """One line of the contract. `bound` is what is held against `limit`; None means that it was not measured."""

    term: str
    limit: float
    measured: float | None
    bound: float | None
    met: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of a compressed model and of its dense original; None where it was not."""

    bpb_loss_share: Mapping[str, float] | None
    """Relative loss in bits per byte: value, low, high."""
    size_mb: float | None
    dense_size_mb: float | None
    latency_ms_p50: float | None
    dense_latency_ms_p50: float | None
    latency_ms_p95: float | None
    peak_memory_mb: float | None
    kernel_distance_rise: Mapping[str, float] | None
    """Of samples, above the dense model's: value, low, high; of texts there is none."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, with the line for each term and a sentence for each that is not met."""

    terms: tuple[Term, ...]
    reasons: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Every term is met, and there is one."""
        return bool(self.terms) and all(t.met for t in self.terms)

    @property
    def verdict(self) -> str:
        """`MET` or `NOT MET`."""
        return MET if self.met else NOT_MET

    def rows(self) -> list[dict[str, Any]]:
        """The terms as plain data, for metrics and tables."""
        return [asdict(t) for t in self.terms]


def judge(contract: Contract, seen: Evidence, more: Sequence[Term] = ()) -> Judgement:
    """Hold what was measured against every limit that is asked; `more` are terms that the caller has judged itself."""
    loss, rise = seen.bpb_loss_share or {}, seen.kernel_distance_rise or {}
    limits = [
        ("bpb_loss_share", contract.max_quality_loss, loss.get("value"), loss.get("high")),
        ("size_share", contract.max_size_share, *_same(_ratio(seen.size_mb, seen.dense_size_mb))),
        ("size_mb", contract.max_size_mb, *_same(seen.size_mb)),
        ("latency_ratio", contract.max_latency_ratio, *_same(_ratio(seen.latency_ms_p50, seen.dense_latency_ms_p50))),
        ("latency_ms_p95", contract.max_latency_ms_p95, *_same(seen.latency_ms_p95)),
        ("peak_memory_mb", contract.max_peak_memory_mb, *_same(seen.peak_memory_mb)),
        ("kernel_distance_rise", contract.max_kernel_distance_rise, rise.get("value"), rise.get("high")),
    ]
    asked = [at_most(name, limit, value, bound) for name, limit, value, bound in limits if limit is not None]
    if "value" in loss:
        asked.append(at_most(GAIN, contract.max_plausible_gain, -loss["value"], -loss["value"]))
    terms = (*asked, *more)
    return Judgement(terms, tuple(_reason(t) for t in terms if not t.met))


def at_most(name: str, limit: float, measured: float | None, bound: float | None) -> Term:
    """A term that is met if its bound was measured and does not exceed the limit."""
    known = bound is not None and math.isfinite(bound)
    return Term(name, limit, measured, bound if known else None, known and bound is not None and bound <= limit)


def proofs(described: Mapping[str, Any]) -> list[Term]:
    """What no contract excuses: a recipe without effect, and an artifact that is another model than was made.

    Args:
        described: `changed_share` (of the weights), `output_max_difference`, `size_share` and, where it was measured,
            `reload_kl_nats`. Who changed no weight, or nothing that comes out, or saved no byte had no effect.
    """
    idle = described["changed_share"] == 0 or described["output_max_difference"] == 0 or described["size_share"] >= 1
    found = [at_most(NO_EFFECT, 0, float(idle), float(idle))]
    if (reloaded := described.get(RELOADED)) is not None:
        found.append(at_most(RELOADED, RELOAD_KL_NATS_MAX, reloaded, reloaded))
    return found


def strain(judgement: Judgement) -> float:
    """How much of its tightest allowance a model uses up: the largest bound / limit; ≤ 1 if all are met.

    ∞ where a term was not measured, or exceeds a limit of zero.
    """
    return max((_used(t) for t in judgement.terms), default=math.inf)


def best(judged: Mapping[str, Judgement], size_mb: Mapping[str, float]) -> str:
    """The candidate that meets every term and loses least quality, by its bound; where none does, the least over.

    Size is the same on any documents and quality is not, so among models that are small enough the one with most room
    in quality is the likeliest to be accepted. Where none meets the contract, it is the one with the least strain, and
    whoever reads the choice must read its verdict too. Ties go to the smaller, then to the first by name.
    """

    def rank(name: str) -> tuple[bool, float, float, str]:
        verdict = judged[name]
        quality = next((_used(t) for t in verdict.terms if t.term == "bpb_loss_share"), 0.0)
        return not verdict.met, quality if verdict.met else strain(verdict), size_mb[name], name

    return min(judged, key=rank)


def refuse_infeasible(contract: Contract, least_size_mb: Mapping[str, float], dense_size_mb: float) -> None:
    """Refuse a size that no recipe can reach, before any work is spent on it.

    Args:
        contract: what is asked.
        least_size_mb: for each recipe, the least that its weights can weigh, known from shapes alone.
        dense_size_mb: the dense folder.

    Raises:
        ConfigError: the limit is below the least of all recipes; the message gives the range that can be reached.
    """
    name, least = min(least_size_mb.items(), key=lambda item: item[1])
    for key, limit, reach in (
        ("max_size_share", contract.max_size_share, least / dense_size_mb),
        ("max_size_mb", contract.max_size_mb, least),
    ):
        if limit is not None and limit < reach:
            raise ConfigError(
                f"contract: {key}: {limit:g} cannot be met: the weights of the smallest recipe, {name}, alone come to "
                f"{reach:.3g}. Ask for more than {reach:.3g}, or add a smaller recipe to compress.recipes."
            )


def _used(term: Term) -> float:
    if term.bound is None:
        return math.inf
    if term.limit > 0:
        return max(0.0, term.bound / term.limit)
    return 0.0 if term.met else math.inf


def _reason(term: Term) -> str:
    if term.bound is None:
        return f"{term.term} was not measured, and the contract asks for at most {term.limit:g}"
    bound, point = f"{term.bound:.4g}", "" if term.measured is None else f"{term.measured:.4g}"
    said = "" if point in {"", bound} else f" (measured {point})"
    return f"{term.term}: bound {bound}{said} is over the limit {term.limit:g}"


def _same(value: float | None) -> tuple[float | None, float | None]:
    return value, value


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None
