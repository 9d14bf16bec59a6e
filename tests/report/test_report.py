"""The page: self-contained, escaped, whole when optional parts are missing, the same bytes for the same story."""

import math
import re
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge import charts, report, summary
from nightforge.contract import Contract, Evidence, judge
from nightforge.report import Story

EVIL = "<script>alert('x')</script>\"'&"
INTERVAL = {"value": 0.0054, "low": 0.0048, "high": 0.0061}
BPB = {"value": 1.6, "low": 1.55, "high": 1.65}
SPEED = {"latency_ms_p50": 0.07, "latency_ms_p95": 0.1, "tokens_per_s": 9000.0, "peak_memory_mb": 60.0}
CONTRACT = {
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


def accepted(max_quality_loss: float = 0.01) -> dict[str, Any]:
    contract = Contract.model_validate(CONTRACT | {"max_quality_loss": max_quality_loss})
    verdict = judge(contract, Evidence(INTERVAL, 1.2, 7.1, 0.07, 2.1, 0.1, 60.0, None))
    return {
        "verdict": verdict.verdict,
        "met": int(verdict.met),
        "reasons": list(verdict.reasons),
        "alarms": [],
        "contract": verdict.rows(),
        "bpb_loss_share": INTERVAL,
        "loss_by_label": {"plant": INTERVAL | {"documents": 300}},
        "champion": None,
        "documents": 2023,
        "chosen": "int4",
        "size_mb": 1.2,
        "dense_size_mb": 7.1,
        "dense_sha256": "d" * 64,
        "compressed_sha256": "c" * 64,
    }


def represented(name: str) -> dict[str, Any]:
    """As the stage represent tells it."""
    row = {"name": name, "before": 90, "after": 120, "share_before": 0.9, "share_after": 0.6}
    shortcut = {"ngram": name, "label": name, "rows": 40, "label_share": 0.95, "z": 7.1, "bits": 0.1, "accuracy": 0.5}
    association = {"group": name, "label": name, "rows": 30, "log_odds": 1.2, "low": 0.4, "high": 2.0}
    return {
        "rows_before": 100,
        "rows_after": 200,
        "facets": {facet: [row, row | {"name": "b"}] for facet in ("label", "source", "language", "length")},
        "target": {
            "texts": 12,
            "halves_js_bits": 0.1,
            "before_js_bits": 0.4321,
            "after_js_bits": 0.321,
            "by_label": {name: {"before_js_bits": None, "after_js_bits": 0.2}},
        },
        "associations": [association | {"log_odds_before": 1.1}],
        "groups_too_rare": [name],
        "shortcuts": [shortcut | {"rows_before": None, "label_share_before": None}],
        "shortcut_baseline_accuracy": 0.4,
    }


def cleaned(name: str) -> dict[str, Any]:
    """As the stage clean tells it."""
    fired = {"fired": 8, "alone": 7, "first": 9}
    return {
        "rows_read": 99,
        "rows_kept": 90,
        "rows_rejected": 9,
        "rules": {name: fired | {"share": 8 / 99, "reasons": {name: fired}}},
        "edits": {name: {"rows": 1234, "counts": {name: 5}}},
        "warnings": [f"{name} fires on 8.1% of the rows"],
    }


def story(label: str = "plant", **changes: Any) -> Story:
    candidate = {
        "bpb": BPB,
        "bpb_loss_share": INTERVAL,
        "size_mb": 1.2,
        "size_share": 0.17,
        "changed_share": 0.99,
        "meets": True,
        "why": [label],
        "skipped": {label: label},
        "notes": [{"pass": label, "bits_a_weight": 4.85}],
        "remarks": [label],
    }
    gate = {"gate": "raw", "artifact": "a", "artifact_sha256": "ab" * 32, "evaluated": 7, "verdict": "open"}
    example = {"id": "00ff", "source": label, "evidence": label}
    whole = Story(
        title=label,
        accept=accepted(),
        compress={
            "chosen": "int4",
            "search": "ladder",
            "ladder": [{"recipe": label, "taken": False, "why": label}, {"recipe": "int4", "taken": True, "why": "x"}],
            "reachable": [label],
            "artifacts": {
                label: {"failed": label},
                "gguf": {"size_mb": 1.0, "difference": 0.01, "tolerance": 0.1, "remarks": [label]},
            },
            "dense": {"size_mb": 7.1},
            "candidates": {"int4": candidate, label: {"failed": label, "meets": False, "why": [label]}},
        },
        compress_speed={
            "dense": SPEED,
            "candidates": {"int4": SPEED | {"dense_latency_ms_p50": SPEED["latency_ms_p50"]}},
            "front": ["int4"],
        },
        evaluate={"bpb": BPB, "gain_over_ngram_bpb": INTERVAL, "by_label": {label: BPB | {"documents": 3}}},
        evaluate_speed=SPEED,
        train={"steps": 900, "loss_last": 2.7},
        train_speed={},
        data={
            "ingest": {"rows_read": 100, "rows_rejected": 1},
            "clean": cleaned(label),
            "represent": represented(label),
        },
        dropped=[{"stage": "clean", "rule": "length", "reason": label, "rows": 9, "examples": [example]}],
        gates=[gate],
        curves={"steps.csv": {"step": [1.0, 2.0, 3.0], "loss": [3.0, 2.0, 1.5], "lr": [0.1, 0.2, 0.1]}},
        samples=[{"prompt": label, "label": label, "text": label}],
        sources=[(label, label)],
        hashes=[("model", "ab" * 32)],
        versions=[("torch", "2.13.0")],
        contract=CONTRACT,
    )
    return replace(whole, **changes)


class Tags(HTMLParser):
    """Every tag with its attributes, and whether each that needs an end has one."""

    VOID = frozenset({"meta", "br", "line", "circle", "rect", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def test_nothing_is_loaded_from_anywhere() -> None:
    page = report.render(story())
    tags = parsed(page)
    assert not {t for t, _ in tags.seen} & {"script", "link", "img", "iframe", "object", "base", "form"}
    for tag, attributes in tags.seen:
        assert not attributes.keys() & {"src", "srcset", "action", "background", "data"}, tag
        assert (attributes.get("href") or "#").startswith("#"), tag
        assert not [a for a in attributes if a.startswith("on")], tag
    assert not re.search(r"url\(|@import|https?:", page)


def test_facts_are_shown_where_some_were_told_beside_what_guessing_brings() -> None:
    assert "facts told" not in report.render(story())
    asked = {"facts": 30, "chance": 0.1, "after": {"value": 0.8, "low": 0.7, "high": 0.9}}
    whole = story()
    cloze = {"told": asked, "held_out": {"facts": 0}}
    page = report.render(replace(whole, evaluate=whole.evaluate | {"cloze": cloze}))
    assert "facts told, found again (chance 0.100)" in page and "0.800" in page and "held out" not in page
    told = replace(whole, data=whole.data | {"knowledge": {"rows_kept": 7}})
    assert "facts told beside them" in report.render(told)


def test_every_value_is_escaped() -> None:
    page = report.render(story(label=EVIL))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10  # title, candidate, reason, slice, rule, evidence, sample, source, chart
    assert {t for t, _ in parsed(page).seen} == {t for t, _ in parsed(report.render(story())).seen}
    failed = report.render_failed(EVIL, [(EVIL, EVIL, EVIL)], {EVIL: "failed"}, [])
    assert "<script" not in failed
    parsed(failed)


def test_the_verdict_comes_first_with_a_row_for_each_term() -> None:
    page = report.render(story())
    assert page.index("<strong>MET</strong>") < page.index('id="contract"') < page.index('id="candidates"')
    for term in ("Quality lost", "Size, of the dense model", "Latency, of the dense model"):
        assert term in page
    refused = report.render(story(accept=accepted(0.003)))
    assert "<strong>NOT MET</strong>" in refused
    assert "bound 0.0061 (measured 0.0054) is over the limit 0.003" in refused


@pytest.mark.parametrize(
    "missing",
    [
        {"dropped": []},
        {"samples": []},
        {"curves": {}},
        {"curves": {"steps.csv": {"step": [1.0], "loss": [3.0], "lr": [0.1]}}},
        {"gates": []},
        {"evaluate": {}},
        {"compress_speed": {}},
        {"data": {}},
        {"train": {}},
        {"contract": {}},
    ],
    ids=lambda m: next(iter(m)),
)
def test_what_is_missing_leaves_the_page_whole(missing: dict[str, Any]) -> None:
    page = report.render(story(**missing))
    parsed(page)
    for section in ("contract", "candidates", "data", "gates", "training", "evaluation", "samples", "provenance"):
        assert f'id="{section}"' in page


def test_what_is_slower_than_the_dense_model_says_so() -> None:
    speed = story().compress_speed
    late = SPEED | {"dense_latency_ms_p50": SPEED["latency_ms_p50"] / 2}
    page = report.render(story(compress_speed=speed | {"candidates": {"int4": late}}))
    assert "0.5× as fast" in page and page.count(">slower<") == 1
    assert ">slower<" not in report.render(story())


def test_what_the_passes_of_a_recipe_left_alone_is_told_with_the_reason() -> None:
    layers = {f"model.layers.{i}.mlp.up_proj": "not pruned: 6 inputs are no multiple of 4" for i in range(8)}
    told = {"skipped": layers, "held_in_more_bits": {"lm_head": "its 3-bit integers take 4 bits"}}
    base = story()
    candidates = base.compress["candidates"]
    found = (
        candidates["int4"] | told | {"notes": [{"pass": "mixed", "bits_a_weight": 4.85}], "remarks": ["no speed-up"]}
    )
    page = report.render(story(compress=base.compress | {"candidates": candidates | {"int4": found}}))
    lines = re.findall(r"<li>([^<]*)</li>", page[page.index("int4: what its passes tell") :])
    names = ", ".join(list(layers)[:6])
    assert lines[:4] == [
        "no speed-up",
        "mixed: bits a weight 4.85",
        f"8 layers, not pruned: 6 inputs are no multiple of 4: {names} and 2 more",
        "1 layer, its 3-bit integers take 4 bits: lm_head",
    ]


def test_representation_is_told_before_and_after() -> None:
    page = report.render(story())
    told = page[page.index('id="representation"') : page.index('id="gates"')]
    for said in ("100 rows", "200 rows", "90.0%", "60.0%", "0.432", "0.321", "“plant”", "95.0%", "1.20", "—"):
        assert said in told, said
    assert told.count("<details>") == 6, "all but the labels is folded"
    bare: dict[str, Any] = {"target": None, "shortcuts": [], "associations": [], "groups_too_rare": []}
    page = report.render(story(data={"represent": represented("x") | bare}))
    parsed(page)
    assert "No n-gram gives a label away" in page and "Named in too few" not in page
    assert 'id="representation"' not in report.render(story(data={}))


def test_a_champion_is_compared_where_there_is_one() -> None:
    assert "No model was accepted before" in report.render(story())
    accept = accepted() | {"champion": {"bpb_loss_share": INTERVAL, "margin": 0.005}}
    page = report.render(story(accept=accept))
    assert "No model was accepted before" not in page
    assert "at most 0.50% is allowed" in page


def test_the_same_story_gives_the_same_bytes_and_is_not_changed() -> None:
    told = story()
    before = deepcopy(told)
    assert report.render(told) == report.render(told)
    assert told == before


def test_markdown_says_the_same_and_no_name_can_break_its_table() -> None:
    text = summary.markdown(accepted() | {"chosen": "a|b<script>"}, "http://localhost/x")
    assert text.startswith("# MET\n")
    assert "0.54% worse" in text
    assert "5.9× smaller, 30× faster" in text
    assert r"a\|b\<script\>" in text
    assert "| Quality lost | ≤ 1.00% | 0.54% | 0.61% | yes |" in text
    assert summary.table(accepted(0.003))[0]["met"] == "NO"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 50, 100]),
        (0, 0.9, [0, 0.5, 1.0]),
        (1.4, 1.97, [1.4, 1.6, 1.8, 2.0]),
        (-0.3, 1.02, [-0.5, 0, 0.5, 1.0, 1.5]),
        (0, 0.003, [0, 0.001, 0.002, 0.003]),
        (5, 5, [4.5, 5, 5.5]),
    ],
)
def test_ticks_are_round_and_cover_the_values(low: float, high: float, expected: list[float]) -> None:
    found = charts.ticks(low, high)
    assert found[0] <= low and found[-1] >= high
    assert found == pytest.approx(expected)


def test_points_lie_where_their_values_say() -> None:
    points = [
        charts.Point("a", 10, 1, 0.5, 1.5, good=True, chosen=True),
        charts.Point("b", 20, 1, 0.5, 1.5, good=False, chosen=False),
        *(charts.Point(f"long {i}", 10 + i / 10, 1, 0.5, 1.5, good=True, chosen=False) for i in range(3)),
    ]
    drawn = str(charts.scatter(points, 25, 2, "size", "loss"))
    xs = [float(x) for x in re.findall(r'<circle[^>]* cx="([\d.]+)"', drawn)]
    edge = float(re.search(r'class="limit" x1="([\d.]+)"', drawn)[1])  # type: ignore[index]
    assert (edge - xs[1]) / (xs[1] - xs[0]) == pytest.approx(0.5, abs=0.01)  # 25 lies half as far from 20 as 20 from 10
    heights = [float(y) for y in re.findall(r'<text class="name[^>]* y="([\d.]+)"', drawn)]
    stacked = sorted([heights[0], *heights[2:]])
    assert min(b - a for a, b in pairwise(stacked)) >= 14  # labels in each other's way are moved apart
    assert heights[1] == max(heights), "and no others"
    assert drawn.count('class="leader"') == 2, "from a point to a label that is more than a line away"


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 300), st.integers(5, 90)), max_size=14))
def test_labels_never_overlap_and_only_go_up(wanted: list[tuple[float, float, float]]) -> None:
    placed = charts._apart(wanted)
    assert all(height <= one[1] for height, one in zip(placed, wanted, strict=True))
    for (a, at), (b, other) in combinations(zip(wanted, placed, strict=True), 2):
        assert a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or abs(at - other) >= charts.LINE


def test_samples_come_one_of_each_label_before_the_second_of_any_and_bare() -> None:
    drawn = [
        {"label": label, "prompt": f"<|label:{label}|>{prompt}", "text": text}
        for label, prompt, text in [("a", "", "1"), ("a", "", "2"), ("b", "so ", "3"), ("b", "", "4")]
    ]
    shown = report.in_turns(drawn, 3)
    assert [s["text"] for s in shown] == ["1", "3", "2"]
    assert [s["prompt"] for s in shown] == ["", "so ", ""]


def test_ranges_of_length_stand_in_their_order() -> None:
    names = ["40–79", "160–319", "≥320", "<40", "80–159"]
    assert sorted(names, key=report._in_order) == ["<40", "40–79", "80–159", "160–319", "≥320"]


def test_the_page_tells_what_each_rule_of_cleaning_did() -> None:
    page = report.render(story("length"))
    assert '<li class="no">length fires on 8.1% of the rows</li>' in page
    assert re.search(
        r"<td>length</td><td class=\"num\">8</td><td class=\"num\">8\.08%</td><td class=\"num\">7</td>", page
    )
    assert "<b>length</b> changed 1,234 rows: length 5." in page


def test_what_was_watched_is_one_chart_a_figure_and_a_curve_a_layer() -> None:
    layers = {f"grad_norm/layers.{i}": [1.0, float(i), 2.0] for i in (10, 2, 0)}
    curves = {"watched.csv": {"step": [1.0, 2.0, 3.0], **layers, "logit_std": [1.0, math.inf, 1.2]}}
    page = report.render(story(curves=curves))
    assert "Norm of the gradient by layer, clipped, from layers.0 (faint) to layers.10" in page
    assert re.findall(r"<title>(layers\.\d+)</title>", page) == ["layers.0", "layers.2", "layers.10"]
    assert "<figcaption>logit std</figcaption>" in page
    assert "not finite at 2" in page, "what is not finite is marked, and the curve goes on beside it"
