"""Packed equals unpacked, and no document sees another."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nightforge import packing, tokenizer
from nightforge.corpus import Corpus, corpus
from nightforge.errors import ConfigError
from nightforge.records import Record, pair_text
from nightforge.scoring import END, GIVEN, IGNORE, TEXT, Encoded
from nightforge.train import causal_lm
from nightforge.training import At

TEXTS = [f"a {size} {kind} of the {place}" for size in ("tall", "small") for kind in ("tree", "herb", "fern")
         for place in ("tropics", "Alps", "far north of it")]  # fmt: skip
WORDS = tokenizer.train(TEXTS, {"plant"}, 300, 64)
RECORDS = [
    Record(str(i), pair_text("of what?", t), prompt="of what?", response=t) if i % 3 == 0 else Record(str(i), t)
    for i, t in enumerate(TEXTS)
]
LLAMA = causal_lm.SAMPLE
NETWORKS = {"llama": {}, "window": {"window": 5}, "qk_norm": {"qk_norm": True}, "both": {"window": 5, "qk_norm": True}}


def documents(sizes: list[int]) -> Corpus:
    """Rows of those sizes."""
    made = [Encoded(list(range(100 * i, 100 * i + n)), [GIVEN, *[TEXT] * (n - 2), END]) for i, n in enumerate(sizes)]
    return corpus(made, 64)


def test_rows_are_filled_best_fit_and_positions_restart() -> None:
    packed = packing.pack(documents([3, 6, 2, 4]), 9)  # 6 and 3 fill a row; 4 and 2 the next
    assert packed.sizes.tolist() == [9, 6]
    assert packed.ids.tolist() == [*range(100, 106), *range(3), *range(300, 304), *range(200, 202)]
    batch = packed.batch([0, 1])
    assert batch.tensors["positions"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 2], [0, 1, 2, 3, 0, 1, 0, 1, 2]]
    assert batch.tensors["targets"][1].tolist() == [IGNORE, 301, 302, 303, IGNORE, 201, *[IGNORE] * 3]
    assert batch.units == 5 + 2 + 3 + 1
    assert "positions" not in documents([3, 6]).batch([0, 1]).tensors


@given(st.lists(st.integers(2, 20), min_size=1, max_size=60))
def test_every_document_is_in_one_row_whole(sizes: list[int]) -> None:
    packed = packing.pack(documents(sizes), 20)
    assert packed.sizes.max() <= 20
    assert set(packed.starts.tolist()) <= set(packed.parts.tolist())
    parts = [packed.ids[a:b].tolist() for a, b in zip(packed.parts, packed.parts[1:], strict=False)]
    assert sorted(parts) == sorted(list(range(100 * i, 100 * i + n)) for i, n in enumerate(sizes))
    assert int(packed.learnt.sum()) == sum(sizes) - len(sizes)


def network(changes: dict[str, Any]) -> Any:
    torch.manual_seed(5)
    return causal_lm.build(LLAMA.model_copy(update=changes), WORDS)


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_packed_equals_unpacked(changes: dict[str, Any]) -> None:
    data = corpus(tokenizer.encode_all(WORDS, RECORDS), 64)
    packed = packing.pack(data, 64)
    assert len(packed.sizes) < len(data.sizes) / 2
    sums = []
    for rows in (data, packed):
        model, batch = network(changes), rows.batch(list(range(len(rows.sizes))))
        nats, _ = causal_lm.loss(model, batch.tensors, LLAMA, At(0, 1))
        (nats / batch.units).backward()  # type: ignore[no-untyped-call]
        sums.append((float(nats), batch.units, {k: p.grad for k, p in model.named_parameters()}))
    (whole, units, gradients), (ours, same_units, same_gradients) = sums
    assert units == same_units
    assert ours == pytest.approx(whole, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[name], gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_no_document_sees_another(changes: dict[str, Any]) -> None:
    model, packed = network(changes).eval(), packing.pack(corpus(tokenizer.encode_all(WORDS, RECORDS), 64), 64)
    tensors = packed.batch([0]).tensors
    first = int(packed.parts[1])
    changed = tensors["ids"].clone()
    changed[0, 1:first] = changed[0, 1:first].flip(0)
    places = {"position_ids": tensors["positions"], "use_cache": False}
    with torch.inference_mode():
        before, after = (model(input_ids=x.clamp_min(0), **places).logits for x in (tensors["ids"], changed))
    assert not torch.equal(before[:, :first], after[:, :first])
    assert torch.equal(before[:, first:], after[:, first:])
    packing.check(model)


def test_a_network_that_mixes_documents_is_refused() -> None:
    model = network({})
    forward = model.forward

    def deaf(**given: Any) -> Any:
        """As of a network that knows positions, and makes no mask of them."""
        mask = torch.tril(torch.ones(given["input_ids"].shape[1], given["input_ids"].shape[1], dtype=torch.bool))
        return forward(**given, attention_mask=mask[None, None])

    model.forward = deaf
    with pytest.raises(ConfigError, match=r"the second sees the first\. Set train\.packing: false"):
        packing.check(model)
