"""The verdict: bounds decide, limits are monotone, MET iff every term is."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightforge.contract import Contract, Evidence, Term, best, judge, refuse_infeasible, strain
from nightforge.errors import ConfigError

NOTHING = {
    "confidence": 0.95,
    "max_quality_loss": None,
    "max_size_share": None,
    "max_size_mb": None,
    "max_latency_ratio": None,
    "max_latency_ms_p95": None,
    "max_peak_memory_mb": None,
    "max_kernel_distance_rise": None,
    "max_plausible_gain": 0.02,
}
SEEN = Evidence(
    bpb_loss_share={"value": 0.004, "low": 0.002, "high": 0.006},
    size_mb=2.0,
    dense_size_mb=10.0,
    latency_ms_p50=1.0,
    dense_latency_ms_p50=4.0,
    latency_ms_p95=1.5,
    peak_memory_mb=120.0,
    kernel_distance_rise={"value": 0.003, "low": -0.004, "high": 0.01},
)


def contract(**limits: float) -> Contract:
    return Contract(**{**NOTHING, **limits})  # type: ignore[arg-type]


def test_the_bound_decides_and_not_the_point_estimate() -> None:
    assert judge(contract(max_quality_loss=0.006), SEEN).verdict == "MET"
    refused = judge(contract(max_quality_loss=0.005), SEEN)  # the estimate, 0.004, would pass
    assert refused.verdict == "NOT MET"
    assert refused.rows() == [
        {"term": "bpb_loss_share", "limit": 0.005, "measured": 0.004, "bound": 0.006, "met": False},
        {"term": "implausible_gain", "limit": 0.02, "measured": -0.004, "bound": -0.004, "met": True},
    ]
    assert refused.reasons == ("bpb_loss_share: bound 0.006 (measured 0.004) is over the limit 0.005",)


def test_one_percent_is_met_where_three_in_a_thousand_is_not() -> None:
    assert judge(contract(max_quality_loss=0.01), SEEN).met
    assert not judge(contract(max_quality_loss=0.003), SEEN).met


def test_each_threshold_works_alone() -> None:
    close = {
        "max_quality_loss": (0.0059, 0.0061),
        "max_size_share": (0.19, 0.2),
        "max_size_mb": (1.9, 2.0),
        "max_latency_ratio": (0.24, 0.25),
        "max_latency_ms_p95": (1.4, 1.5),
        "max_peak_memory_mb": (119, 120),
        "max_kernel_distance_rise": (0.0099, 0.01),
    }
    for limit, (below, enough) in close.items():
        assert not judge(contract(**{limit: below}), SEEN).met, limit
        assert judge(contract(**{limit: enough}), SEEN).met, limit


def test_a_gain_that_cannot_be_is_never_met_and_never_chosen() -> None:
    better = replace(SEEN, bpb_loss_share={"value": -0.021, "low": -0.03, "high": -0.01})
    verdict = judge(contract(max_size_mb=5), better)
    assert not verdict.met and verdict.reasons == ("implausible_gain: bound 0.021 is over the limit 0.02",)
    assert judge(contract(max_size_mb=5, max_plausible_gain=0.03), better).met
    worse = judge(contract(max_size_mb=5), SEEN)
    assert best({"better": verdict, "worse": worse}, {"better": 1.0, "worse": 2.0}) == "worse"


def test_what_was_not_measured_is_not_met() -> None:
    for missing in (replace(SEEN, peak_memory_mb=None), replace(SEEN, peak_memory_mb=math.nan)):
        verdict = judge(contract(max_peak_memory_mb=500), missing)
        assert verdict.verdict == "NOT MET"
        assert "not measured" in verdict.reasons[0]
        assert strain(verdict) == math.inf


def test_a_contract_that_asks_for_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one"):
        contract()


def test_a_size_out_of_reach_is_refused_with_the_range() -> None:
    least = {"int8": 2.6, "int4": 1.4}
    refuse_infeasible(contract(max_size_share=0.15), least, 10.0)
    with pytest.raises(ConfigError, match=r"max_size_share: 0\.1 cannot be met.*int4.*more than 0\.14"):
        refuse_infeasible(contract(max_size_share=0.1), least, 10.0)
    with pytest.raises(ConfigError, match="max_size_mb"):
        refuse_infeasible(contract(max_size_mb=1.0), least, 10.0)
    refuse_infeasible(contract(max_quality_loss=0.01), least, 10.0)


limits = st.fixed_dictionaries(
    {
        "max_quality_loss": st.none() | st.floats(0, 0.05),
        "max_size_share": st.none() | st.floats(0.01, 1),
        "max_latency_ratio": st.none() | st.floats(0.01, 3),
        "max_size_mb": st.floats(0.1, 20),
    }
)
evidence = st.builds(
    lambda loss, width, size, p50: replace(
        SEEN,
        bpb_loss_share={"value": loss, "low": loss - width, "high": loss + width},
        size_mb=size,
        latency_ms_p50=p50,
    ),
    st.floats(-0.02, 0.04),
    st.floats(0, 0.02),
    st.floats(0.1, 12),
    st.floats(0.1, 12),
)


@given(limits, evidence, st.sampled_from(["max_quality_loss", "max_size_share", "max_latency_ratio", "max_size_mb"]))
def test_loosening_a_limit_never_closes_what_was_open(asked: dict[str, float], seen: Evidence, which: str) -> None:
    before = judge(contract(**asked), seen)
    loose = {**asked, which: None} if asked[which] is None else {**asked, which: min(1.0, asked[which] * 1.5)}
    if which in {"max_latency_ratio", "max_size_mb"} and asked[which] is not None:
        loose[which] = asked[which] * 1.5
    assert judge(contract(**loose), seen).met >= before.met


@given(limits, evidence)
def test_met_if_and_only_if_every_term_is_met(asked: dict[str, float], seen: Evidence) -> None:
    verdict = judge(contract(**asked), seen)
    assert len(verdict.terms) == 1 + sum(v is not None for v in asked.values())
    assert verdict.met == all(t.bound is not None and t.bound <= t.limit for t in verdict.terms)
    assert len(verdict.reasons) == sum(not t.met for t in verdict.terms)
    assert (strain(verdict) <= 1) == verdict.met


@given(evidence)
def test_a_term_judged_elsewhere_counts_like_the_others(seen: Evidence) -> None:
    champion = Term("champion_loss_share", 0.0, 0.01, 0.02, met=False)
    assert not judge(contract(max_size_mb=100), seen, [champion]).met


def test_the_choice_loses_least_quality_among_those_that_are_small_enough() -> None:
    asked = contract(max_quality_loss=0.01, max_size_share=0.25)

    def candidate(high: float, size: float) -> Evidence:
        return replace(SEEN, bpb_loss_share={"value": high, "low": high, "high": high}, size_mb=size)

    tight = judge(asked, candidate(0.0095, 1.5))  # smallest, but a few other documents may refuse it
    roomy = judge(asked, candidate(0.004, 2.4))
    large = judge(asked, candidate(0.0001, 4.0))  # over the size
    sizes = {"tight": 1.5, "roomy": 2.4, "large": 4.0}
    assert best({"tight": tight, "roomy": roomy, "large": large}, sizes) == "roomy"
    assert best({"tight": tight, "large": large}, sizes) == "tight"
    worse = judge(asked, candidate(0.1, 1.5))
    assert best({"large": large, "worse": worse}, {**sizes, "worse": 1.5}) == "large"  # 1.6 × its limit, not 10 ×
    by_size = contract(max_size_share=0.25)
    only = {name: judge(by_size, candidate(0.5, size)) for name, size in sizes.items()}
    assert best(only, sizes) == "tight"  # quality is not asked: the smallest


def test_a_preset_gives_what_is_not_named_beside_it() -> None:
    edge = Contract.model_validate({"preset": "edge", "max_peak_memory_mb": 256, "max_latency_ms_p95": None})
    assert (edge.max_size_mb, edge.max_size_share, edge.max_quality_loss) == (128, 0.16, 0.05)
    assert (edge.max_peak_memory_mb, edge.max_latency_ms_p95, edge.max_latency_ratio) == (256, None, None)
    with pytest.raises(ValidationError, match="preset: expected edge, got 'desk'"):
        Contract.model_validate({"preset": "desk"})
    with pytest.raises(ValidationError, match="preset: expected edge"):
        Contract.model_validate({"preset": ["edge"]})
    with pytest.raises(ValidationError, match="max_size"):
        Contract.model_validate({"preset": "edge", "max_size": 3})
