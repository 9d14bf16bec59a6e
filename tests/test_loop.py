"""The loop: a resumed run is the uninterrupted one bit for bit, and nothing that goes wrong is hidden."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nightforge import batching, loop, precision, tokenizer
from nightforge.corpus import corpus
from nightforge.errors import DataError
from nightforge.records import Record, content_id
from nightforge.scoring import END, GIVEN, TEXT, Encoded
from nightforge.train import causal_lm
from nightforge.training import At, Due, Evaluated, Settings, Stepped, Timed, Turn
from tests import training_contracts

TEXTS = [f"a {size} {kind} of the {place}" for size in ("tall", "small") for kind in ("tree", "herb", "fern")
         for place in ("tropics", "Alps", "far north")]  # fmt: skip
WORDS = tokenizer.train(TEXTS, {"plant"}, 300, 64)
RECORDS = [Record(id=content_id(t), text=t, label="plant") for t in TEXTS]
DATA = corpus(tokenizer.encode_all(WORDS, RECORDS), context=64)
SETTINGS = training_contracts.settings(
    steps=12, batch_size=80, eval_every=4, save_every=100, patience=2,
    optimizer={"name": "adamw", "lr": 3e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1},
    schedule={"name": "cosine", "warmup_share": 0.25, "floor": 0.0},
)  # fmt: skip


def model() -> Any:
    torch.manual_seed(5)
    shape = causal_lm.SAMPLE.model_copy(update={"hidden": 32, "ffn": 32})
    return causal_lm.build(shape, WORDS)


def loss(net: Any, tensors: Any, at: At | None = None) -> tuple[torch.Tensor, dict[str, float]]:
    return causal_lm.loss(net, tensors, causal_lm.SAMPLE, at or At(0, 1))


def evaluate(trained: Any) -> float:
    batch = DATA.batch(list(range(len(TEXTS))))
    with torch.inference_mode():
        return float(loss(trained, batch.tensors)[0]) / batch.units


def start(settings: Settings = SETTINGS, moves: Any = loss, seed: int = 3) -> loop.Run:
    return loop.start(model(), [Turn("", "", moves)], settings, seed, "fp32")


def trained(settings: Settings, evaluation: Callable[[Any], float] = evaluate) -> tuple[loop.Run, list[Any]]:
    run = start(settings)
    return run, list(loop.steps(run, DATA, evaluation))


def same_each_time(events: list[Any]) -> list[Any]:
    return [e for e in events if not isinstance(e, Timed)]


def weights(run: loop.Run) -> dict[str, torch.Tensor]:
    return run.model.state_dict()


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns_and_says_what_it_does() -> None:
    run, events = trained(SETTINGS)
    steps = [e for e in events if isinstance(e, Stepped)]
    assert [s.step for s in steps] == list(range(1, 13))
    assert [e.step for e in events if isinstance(e, Evaluated)] == [4, 8, 12]
    assert steps[-1].loss < steps[0].loss - 0.5
    assert run.best_step == 12 and run.best == evaluate(run.model)


@pytest.mark.parametrize("killed_after", [4, 8])
def test_resumed_is_uninterrupted_bit_for_bit(tmp_path: Path, killed_after: int) -> None:
    whole, whole_events = trained(SETTINGS)
    first = start()
    before = []
    for event in loop.steps(first, DATA, evaluate):
        before.append(event)
        if isinstance(event, Due) and event.step == killed_after:
            torch.save(loop.state(first), tmp_path / "state.pt")
            break
    torch.manual_seed(999)  # what a new process would have
    second = start()
    loop.restore(second, torch.load(tmp_path / "state.pt", weights_only=True))
    after = list(loop.steps(second, DATA, evaluate))
    assert same_each_time([*before, *after]) == same_each_time(whole_events)
    assert_same(weights(second), weights(whole))


def test_training_may_begin_on_another_corpus() -> None:
    """The rows of the first steps are of that corpus alone, those of the others of the main one."""
    early = corpus([Encoded([299, 299, 1], [GIVEN, TEXT, END])] * 30, 64)
    seen: list[set[int]] = []

    def spying(net: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
        seen.append({int(row[0]) for row in tensors["ids"]})
        return loss(net, tensors)

    run = start(moves=spying)
    list(loop.steps(run, DATA, evaluate, (early, 5)))
    assert all(batch == {299} for batch in seen[:5])
    assert len(seen) > 5 and all(299 not in batch for batch in seen[5:])


def test_the_first_corpus_neither_ends_training_nor_gives_the_best_weights() -> None:
    """On told facts alone validation grows worse; patience and the choice of the best are for what comes after."""
    early = corpus([Encoded([299, 299, 1], [GIVEN, TEXT, END])] * 30, 64)
    values = iter([1.0, 2.0, 3.0, 4.0, 3.5, 3.6, 3.7])
    run = start(SETTINGS.model_copy(update={"steps": 100}))
    events = list(loop.steps(run, DATA, lambda _: next(values), (early, 14)))
    best = [(e.step, e.best) for e in events if isinstance(e, Evaluated)]
    assert best == [(4, False), (8, False), (12, False), (16, True), (20, True), (24, False), (28, False)]
    assert (run.best_step, run.best) == (20, 3.5)
    short = start(SETTINGS.model_copy(update={"steps": 1}))
    list(loop.steps(short, DATA, evaluate, (early, 1)))  # one step, and it is of the first corpus
    assert short.best_step == 1


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    one, two = trained(SETTINGS)[0], trained(SETTINGS)[0]
    assert_same(weights(one), weights(two))
    other = start(seed=4)
    list(loop.steps(other, DATA, evaluate))
    assert not all(torch.equal(weights(one)[k], weights(other)[k]) for k in weights(one))


def test_stops_when_it_no_longer_gets_better_and_keeps_the_best() -> None:
    values = iter([3.0, 2.0, 2.5, 2.4, 1.0])
    seen = []

    def pretended(trained: Any) -> float:
        seen.append({k: v.clone() for k, v in trained.state_dict().items()})
        return next(values)

    run, events = trained(SETTINGS.model_copy(update={"steps": 100}), pretended)
    assert [e.value for e in events if isinstance(e, Evaluated)] == [3.0, 2.0, 2.5, 2.4]
    assert (run.step, run.best_step, run.best) == (16, 8, 2.0)
    assert_same(weights(run), seen[1])
    assert not run.model.training


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_names_the_step(bad: float) -> None:
    calls = []

    def breaks(net: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
        calls.append(1)
        nats, logged = loss(net, tensors)
        return (nats * bad if len(calls) == 3 else nats), logged

    run = start(moves=breaks)
    with pytest.raises(DataError, match=r"step 3 has loss .*train\.loop\.optimizer\.lr"):
        list(loop.steps(run, DATA, evaluate))
    assert run.step == 2
    assert all(torch.isfinite(v).all() for v in weights(run).values())


def test_an_evaluation_that_is_not_finite_stops() -> None:
    with pytest.raises(DataError, match="evaluation after step 4 gave nan"):
        trained(SETTINGS, lambda _: math.nan)


def test_padding_changes_neither_loss_nor_gradient() -> None:
    net = model()
    rows = [0, 5, 17]
    batch = DATA.batch(rows)
    together, _ = loss(net, batch.tensors)
    together.backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    parts = [DATA.batch([r]) for r in rows]
    nats = [loss(net, part.tensors)[0] for part in parts]
    sum(nats).backward()
    assert batch.units == sum(part.units for part in parts) == int((DATA.sizes[rows] - 1).sum())
    assert together.item() == pytest.approx(sum(n.item() for n in nats), rel=1e-6)
    for alone, p in zip(gradients, net.parameters(), strict=True):
        torch.testing.assert_close(alone, p.grad, rtol=1e-4, atol=1e-5)


def test_every_row_once_an_epoch_within_the_bound_and_shuffled() -> None:
    order = batching.order(DATA.sizes, 80, seed=1)
    epochs = []
    for _ in range(2):
        rows: list[int] = []
        while len(rows) < len(TEXTS):
            batch = next(order)
            assert len(batch) == 1 or len(batch) * DATA.sizes[batch].max() <= 80
            rows += batch
        epochs.append(rows)
        assert sorted(rows) == list(range(len(TEXTS)))
    assert epochs[0] != epochs[1]


def test_only_matrices_decay() -> None:
    run = start()
    decayed, kept = run.movers[0][0].param_groups
    names = {id(p): n for n, p in run.model.named_parameters()}
    assert all("proj" in names[id(p)] for p in decayed["params"])
    assert all("norm" in names[id(p)] or "embed" in names[id(p)] for p in kept["params"])
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


def test_precision_is_measured_and_bf16_must_earn_its_place() -> None:
    net = model()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    batch = DATA.batch([0, 1])
    seconds = precision.seconds(net, lambda trial: loss(trial, batch.tensors)[0], "cpu", repeats=1)
    assert seconds.keys() == {"fp32", "bf16"} and min(seconds.values()) > 0
    assert_same(net.state_dict(), before)
    assert all(p.grad is None for p in net.parameters())
    assert precision.faster({"fp32": 1.0, "bf16": 0.95}) == "fp32"
    assert precision.faster({"fp32": 1.0, "bf16": 0.5}) == "bf16"


@given(st.integers(0, 60), st.integers(1, 60))
def test_watched_documents_are_whole_spaced_and_the_same_again(total: int, wanted: int) -> None:
    texts = [f"d{i}" for i in range(total) for _ in range(1 + i % 3)]
    watched = batching.watched(texts, wanted)
    assert len(watched) <= min(wanted, (total + 1) // 2)
    assert len(watched) == wanted or 2 * wanted > total  # as many as asked, where there are twice as many
    if watched:
        assert batching.watched(texts, len(watched)) == watched  # so the count in model.json names them


def test_watched_documents_by_hand() -> None:
    assert batching.watched(["a", "a", "b", "c", "a", "d", "e", "f"], 2) == {"a", "d"}
    assert batching.watched(["a"], 5) == {"a"}


def test_seeding_each_micro_batch_leaves_nothing_behind() -> None:
    """torch.manual_seed keeps every call, with its stack, for an accelerator that may come yet."""
    queued = len(torch.cuda._queued_calls)
    trained(SETTINGS)
    assert len(torch.cuda._queued_calls) == queued
