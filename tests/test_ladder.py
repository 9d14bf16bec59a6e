"""What the ladder's log says, by hand, and the front against brute force."""

from hypothesis import given
from hypothesis import strategies as st

from nightforge.contract import Contract, Judgement, Term
from nightforge.ladder import front, reachable, too_large, why_next

LIMITS = {
    "confidence": 0.95,
    "max_quality_loss": 0.01,
    "max_size_share": 0.25,
    "max_size_mb": None,
    "max_latency_ratio": 1.0,
    "max_latency_ms_p95": None,
    "max_peak_memory_mb": None,
    "max_kernel_distance_rise": None,
    "max_plausible_gain": 0.02,
}
CONTRACT = Contract.model_validate(LIMITS)


def judged(loss: float, size: float, slow: float = 0.5) -> Judgement:
    terms = (
        Term("bpb_loss_share", 0.01, loss, loss, loss <= 0.01),
        Term("size_share", 0.25, size, size, size <= 0.25),
        Term("latency_ratio", 1.0, slow, slow, slow <= 1),
    )
    return Judgement(terms, ())


def test_a_size_out_of_reach_is_known_from_shapes() -> None:
    assert too_large(CONTRACT, 2.4, 10.0) is None
    assert too_large(CONTRACT, 2.6, 10.0) == "its weights alone come to 0.26, and max_size_share is 0.25"
    in_mb = CONTRACT.model_copy(update={"max_size_share": None, "max_size_mb": 2.5})
    assert too_large(in_mb, 2.6, 10.0) == "its weights alone come to 2.6, and max_size_mb is 2.5"


def test_why_the_next_is_taken() -> None:
    assert why_next(None, None, None) == "the first, and cheapest, of the ladder"
    assert why_next("int8", None, "no room") == "int8 failed: no room"
    said = why_next("int8", judged(0.02, 0.625, 1.234), None)
    assert said == (
        "int8 does not keep the contract: bpb_loss_share 0.02 is over 0.01; size_share 0.625 is over 0.25; "
        "latency_ratio is over 1"
    )


def test_what_is_reachable_where_none_keeps_the_contract() -> None:
    some = {"int8": judged(0.001, 0.5), "int4": judged(0.03, 0.2), "int4_slow": judged(0.02, 0.2, 2.0)}
    assert reachable(some) == [
        "bpb_loss_share: 0.03 can be had (int4, with all else kept); 0.01 is asked",
        "latency_ratio: 0.5 can be had (int4, with other terms missed); 1 is asked",
        "size_share: 0.5 can be had (int8, with all else kept); 0.25 is asked",
    ]
    assert reachable(some | {"good": judged(0.001, 0.2)}) == []
    nothing = Judgement((Term("bpb_loss_share", 0, 0.001, 0.001, met=False), Term("no_effect", 0, 1, 1, met=False)), ())
    assert reachable({"int8": nothing}) == [
        "bpb_loss_share: 0.001 can be had (int8, with other terms missed); 0 is asked"
    ]


def test_front_by_hand() -> None:
    points = {"a": (1, 9), "b": (2, 5), "c": (3, 5), "d": (4, 1), "e": (4, 1)}
    assert front(points) == ["a", "b", "d", "e"]


@given(st.dictionaries(st.text(min_size=1), st.tuples(*[st.integers(0, 4)] * 3), min_size=1))
def test_every_other_point_is_beaten_by_one_of_the_front(points: dict[str, tuple[int, int, int]]) -> None:
    best = front(points)
    assert best
    for name, mine in points.items():
        by = [b for b in best if all(x <= y for x, y in zip(points[b], mine, strict=True)) and points[b] != mine]
        assert bool(by) is (name not in best)
