"""Distinct-n and repetition by hand; sampling with a seed."""

from dataclasses import replace

import pytest
import torch

from nightforge.evaluate import diversity
from nightforge.evaluate._subject import Subject
from nightforge.sampling import draw, sample


def test_distinct_by_hand() -> None:
    texts = [["a", "b", "a", "b"], ["a", "b", "c"]]
    assert diversity.distinct(texts, 1, 100) == 3 / 7
    assert diversity.distinct(texts, 2, 100) == 3 / 5  # ab ba bc of ab ba ab, ab bc
    assert diversity.distinct(texts, 1, 5) == 2 / 5  # only the first five words
    assert diversity.distinct([[]], 2, 100) == 0


def test_repetition_by_hand() -> None:
    assert diversity.repetition([["a", "b", "a", "b", "a", "b"]], 2) == 1 - 2 / 5
    assert diversity.repetition([["a", "b", "c"], ["a", "a", "a"], ["a"]], 2) == (0 + 1 / 2) / 2
    assert diversity.repetition([], 2) == 0


def test_every_label_is_sampled_and_a_few_are_shown(subject: Subject) -> None:
    cfg = diversity.SAMPLE.model_copy(update={"texts_per_label": 3, "shown_per_label": 2})
    got = diversity.measure(subject, cfg)
    assert got.metrics["sampled_texts"] == 9
    assert [s["label"] for s in got.samples] == ["food", "food", "plant", "plant", "time", "time"]
    assert got.samples[0]["prompt"] == "<|label:food|>"
    assert got == diversity.measure(subject, cfg)
    assert got.samples != diversity.measure(subject._replace(seed=2), cfg).samples


def test_a_copy_of_a_training_text_is_counted(subject: Subject) -> None:
    assert diversity.measure(subject, diversity.SAMPLE).metrics["copied_share"] == 0
    copied = diversity.measure(subject, diversity.SAMPLE).samples[1]["text"]
    record = replace(subject.records[0], text=f"  {copied.upper()} ")
    known = diversity.measure(subject._replace(training=lambda: [record]), diversity.SAMPLE)
    assert known.metrics["copied_share"] == pytest.approx(1 / 6)


def test_samples_follow_the_model_with_and_without_its_cache(subject: Subject) -> None:
    """At a temperature near zero, sampling is the greedy path, worked out here without a cache."""
    model, start = subject.loaded.model, [4]
    [got] = sample(model, [start], 6, temperature=1e-6, top_p=1.0, seed=0)
    ids = list(start)
    for _ in range(6):
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    end = model.config.eos_token_id
    want = ids[1:]
    assert got == (want[: want.index(end)] if end in want else want)


def test_the_nucleus_is_the_smallest_set_with_that_probability() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(4000, 4)
    drawn = draw(logits, 0.75, torch.Generator().manual_seed(0))
    assert drawn.unique().tolist() == [0, 1]
    assert (drawn == 0).float().mean().item() == pytest.approx(0.5 / 0.8, abs=0.03)


def test_the_context_bounds_a_sample(subject: Subject) -> None:
    rows = sample(subject.loaded.model, [[4], [3]], 10_000, 1.0, 1.0, seed=0)
    assert all(len(r) <= subject.loaded.model.config.max_position_embeddings - 1 for r in rows)


def test_prompts_of_different_lengths_are_gone_on_from_as_each_alone(subject: Subject) -> None:
    model, prompts = subject.loaded.model, [[4, 60, 61, 62, 63], [4], [5, 70, 71]]
    together = sample(model, prompts, 6, temperature=1e-6, top_p=1.0, seed=0)
    assert together == [sample(model, [p], 6, temperature=1e-6, top_p=1.0, seed=0)[0] for p in prompts]


def test_a_chat_is_begun_by_what_it_asks(subject: Subject) -> None:
    pairs = [
        replace(r, prompt=f"what is {r.text}?", response="a thing", text=f"what is {r.text}?\na thing")
        for r in subject.records
    ]
    cfg = diversity.SAMPLE.model_copy(update={"shown_per_label": 2})
    got = diversity.measure(subject._replace(records=pairs), cfg)
    first = [r.prompt for r in pairs if r.label == "food"][:2]
    assert [s["prompt"] for s in got.samples if s["label"] == "food"] == first
