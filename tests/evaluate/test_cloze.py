"""Cloze questions: a model that prefers the truth is right, blind guessing is at chance."""

import numpy as np
import pytest
import torch

from nightforge.evaluate import cloze
from nightforge.evaluate._subject import Subject
from nightforge.knowledge import Cloze


def ask(true: str, *wrong: str, known: bool = True) -> Cloze:
    return Cloze("r", [true, *wrong], known, "", None)


def test_the_true_sentence_must_cost_least_by_byte(subject: Subject) -> None:
    """A model whose next byte is surely `a` finds `aaaa` the likeliest of all."""
    words = subject.loaded.tokenizer
    favourite = words("a", add_special_tokens=False)["input_ids"][-1]

    class Fixed(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            logits = torch.zeros(*input_ids.shape, 400)
            logits[..., favourite] = 5.0
            return type("Out", (), {"logits": logits})

    loaded = type(subject.loaded)(Fixed(), words, {"context_length": 64, "family": "causal_lm"})
    questions = [ask("xaaa", "xqqq", "xzzz"), ask("xqqq", "xaaa"), ask("xaaaaaaaa", "xqq")]
    assert cloze.right(loaded, questions).tolist() == [True, False, True]


def test_measured_before_and_after(subject: Subject) -> None:
    questions = [ask("a tall tree", "a tall qzx"), ask("bread", "qzqzq", "xjx"), ask("noon", "nnnn", known=False)]
    asked = subject._replace(questions=questions, before=subject.loaded)
    found = cloze.measure(asked, cloze.SAMPLE).metrics["cloze"]
    assert found["told"]["facts"] == 2 and found["held_out"]["facts"] == 1
    assert found["told"]["chance"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    hits = cloze.right(subject.loaded, questions[:2])
    assert found["told"]["after"]["value"] == found["told"]["before"]["value"] == np.mean(hits)
    none = cloze.measure(subject, cloze.SAMPLE).metrics["cloze"]
    assert none == {"told": {"facts": 0}, "held_out": {"facts": 0}}
