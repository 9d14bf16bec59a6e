"""Speculative decoding gives what the large model gives: the same tokens, or the same distribution."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge import sampling
from nightforge.compress import prune_layers, rtn
from nightforge.errors import ConfigError
from nightforge.speculative import decode, judged, shares
from tests.small_lm import Small

CHI_SQUARE_8 = 26.12
"""What a chi-square of 8 degrees of freedom exceeds with probability 0.001."""


def drafters(small: Small) -> dict[str, Any]:
    """A good one, a poor one, and one that knows nothing."""
    coarse = rtn.apply(small.held(), small.given, rtn.SAMPLE.model_copy(update={"bits": 3})).model
    shallow = prune_layers.apply(small.held(), small.given, prune_layers.Config(remove=1, by="even")).model
    torch.manual_seed(1)
    blank = type(small.model)(small.model.config).eval()
    return {"coarse": coarse, "shallow": shallow, "blank": blank}


def test_greedy_decoding_gives_the_same_tokens(small: Small) -> None:
    rates = {}
    for name, drafter in drafters(small).items():
        drafted = accepted = 0
        for document in small.documents[:6]:
            prompt = document.ids[:4]
            (wanted,) = _greedy(small.model, prompt, 24)
            for drafts in (1, 4):
                got = decode(small.model, drafter, prompt, 24, drafts, 0.0, 1.0, 0)
                assert got.tokens == wanted, name
                assert got.calls + got.accepted >= len(wanted)
                drafted, accepted = drafted + got.drafted, accepted + got.accepted
        rates[name] = accepted / drafted
    assert rates["coarse"] > 0.8 > rates["shallow"] > rates["blank"]


def _greedy(model: Any, prompt: list[int], new_tokens: int) -> list[list[int]]:
    """With a cache, a token at a time; of sampling, a nucleus of one token."""
    return sampling.sample(model, [prompt], new_tokens, 1.0, 1e-9, 0)


def test_a_model_that_drafts_for_itself_is_always_right(small: Small) -> None:
    """Also where tokens are drawn: then p / q is one."""
    prompt = small.documents[0].ids[:3]
    got = decode(small.model, copy.deepcopy(small.model), prompt, 12, 3, 0.0, 1.0, 5)
    assert got.accepted == got.drafted and got.calls < 12
    drawn = decode(small.model, copy.deepcopy(small.model), prompt, 12, 3, 1.0, 0.9, 5)
    assert drawn.accepted >= drawn.drafted - 1  # float noise of other batch shapes
    assert drawn == decode(small.model, copy.deepcopy(small.model), prompt, 12, 3, 1.0, 0.9, 5)


def test_no_more_tokens_than_there_is_room_for(small: Small) -> None:
    prompt = small.documents[0].ids[:3]
    for new_tokens in (0, 1, 2, 5):
        assert len(decode(small.model, small.model, prompt, new_tokens, 4, 0.0, 1.0, 0).tokens) == new_tokens
    long = [*prompt, *([prompt[-1]] * 59)]  # 62 of a context of 64
    assert len(decode(small.model, small.model, long, 9, 4, 0.0, 1.0, 0).tokens) <= 2


def test_drafted_tokens_are_distributed_as_the_model_says() -> None:
    """Two tokens from bigrams of three words: the nine pairs against what p says, drafted from another q."""
    p = torch.tensor([[0.6, 0.3, 0.1], [0.05, 0.05, 0.9], [0.4, 0.4, 0.2]])
    q = torch.tensor([[0.1, 0.3, 0.6], [0.5, 0.4, 0.1], [0.4, 0.4, 0.2]])
    generator, count = torch.Generator().manual_seed(4), 6_000
    seen, stood = np.zeros((3, 3)), 0
    for _ in range(count):
        made: list[int] = []
        while len(made) < 2:
            last = made[-1] if made else 0
            first = int(torch.multinomial(q[last], 1, generator=generator))
            draft = [first, int(torch.multinomial(q[first], 1, generator=generator))]
            new = judged(p[[last, *draft]], [q[last], q[first]], draft, generator)
            stood, made = stood + len(new) - 1, made + new
        seen[made[0], made[1]] += 1
    expected = count * (p[0][:, None] * p).double().numpy()
    assert ((seen - expected) ** 2 / expected).sum() < CHI_SQUARE_8
    naive = count * (q[0][:, None] * q).double().numpy()
    assert ((naive - expected) ** 2 / expected).sum() > 100 * CHI_SQUARE_8  # the test can tell them apart
    assert stood > 0


def test_what_is_drawn_with_caches_is_distributed_as_the_model_says() -> None:
    """Two tokens of three from a tiny network, drafted by another: the nine pairs against its own probabilities."""
    shape = {"hidden_size": 8, "num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 8}
    cfg = transformers.LlamaConfig(vocab_size=3, num_hidden_layers=1, eos_token_id=99, initializer_range=1.0, **shape)
    torch.manual_seed(2)
    model, drafter = (transformers.LlamaForCausalLM(cfg).eval() for _ in range(2))
    count, seen = 250, np.zeros((3, 3))
    for seed in range(count):
        one, other = decode(model, drafter, [0], 2, 2, 1.0, 1.0, seed).tokens
        seen[one, other] += 1
    with torch.inference_mode():
        rows = model(input_ids=torch.tensor([[0, 0], [0, 1], [0, 2]])).logits.softmax(-1)  # (first token, place, vocab)
    expected = count * (rows[0, 0][:, None] * rows[:, 1]).double().numpy()
    assert ((seen - expected) ** 2 / expected).sum() < CHI_SQUARE_8


@settings(deadline=None)
@given(st.integers(0, 9999), st.floats(0.2, 3), st.floats(0.05, 1))
def test_shares_are_what_sampling_draws_from(seed: int, temperature: float, top_p: float) -> None:
    logits = torch.randn(2, 7, generator=torch.Generator().manual_seed(seed))
    p = shares(logits, temperature, top_p)
    torch.testing.assert_close(p.sum(-1), torch.ones(2))
    drawn = [sampling.draw(logits / temperature, top_p, torch.Generator().manual_seed(again))[0] for again in range(20)]
    assert all(p[0, token] > 0 for token in drawn)
    kept = p > 0
    assert (kept.float() * (logits / temperature).softmax(-1)).sum(-1).ge(min(top_p, 0.999)).all()
    assert shares(logits, 0.0, top_p).equal(torch.nn.functional.one_hot(logits.argmax(-1), 7).float())


def test_other_words_and_windows_are_refused(small: Small) -> None:
    other = copy.deepcopy(small.model)
    other.resize_token_embeddings(416)
    with pytest.raises(ConfigError, match="the model's 400 tokens, got one with 416"):
        decode(small.model, other, [1], 3, 2, 0.0, 1.0, 0)
    windowed = transformers.MistralConfig(**small.model.config.to_dict() | {"sliding_window": 8})
    with pytest.raises(ConfigError, match="with a sliding window"):
        decode(small.model, transformers.MistralForCausalLM(windowed).eval(), [1], 3, 2, 0.0, 1.0, 0)
