"""New tokens: the merges that continued BPE training would learn, rows begun as means, and nothing else changes."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from nightforge import models, tokenizer, vocabulary
from nightforge.errors import ConfigError
from nightforge.train import causal_lm
from nightforge.vocabulary import Expand

OLD = ["a tall tree of the tropics", "a small tree"] * 3
NEW = ["photosynthesis in chloroplasts", "the chloroplasts of a photosynthetic tree", "photosynthesis"] * 2


def words() -> Any:
    made = tokenizer.train(OLD, {"plant"}, 280, 64)
    made.add_special_tokens({"extra_special_tokens": ["<|late|>"]}, replace_extra_special_tokens=False)
    return made


def model(tied: bool) -> Any:
    torch.manual_seed(0)
    return causal_lm.build(causal_lm.SAMPLE.model_copy(update={"tied": tied, "vocab": len(words())}), words())


def slow_merges(tokenizer: Any, texts: list[str], most: int, min_count: int) -> list[tuple[str, str]]:
    """Continued BPE training as one would write it down: count all pairs anew for every merge."""
    known = dict(tokenizer.get_vocab())
    backend = tokenizer.backend_tokenizer
    spelled = [
        [known[t.value] for t in backend.model.tokenize(word)]
        for text in texts for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)
    ]  # fmt: skip
    found: list[tuple[str, str]] = []
    while len(found) < most:
        names = {i: name for name, i in known.items()}
        pairs: dict[tuple[int, int], int] = {}
        for word in spelled:
            for pair in pairwise(word):
                pairs[pair] = pairs.get(pair, 0) + 1
        able = [
            (-n, pair) for pair, n in pairs.items() if n >= min_count and names[pair[0]] + names[pair[1]] not in known
        ]
        if not able:
            break
        _, (left, right) = min(able)
        known[names[left] + names[right]] = max(known.values()) + 1
        found.append((names[left], names[right]))
        spelled = [vocabulary.merged(word, (left, right), max(known.values())) for word in spelled]
    return found


@pytest.mark.parametrize(("most", "min_count"), [(5, 2), (25, 2), (500, 4)])
def test_the_merges_are_those_of_continued_training(most: int, min_count: int) -> None:
    got = vocabulary.learn(words(), NEW, Expand(tokens=most, min_count=min_count))
    assert [(m.left, m.right) for m in got] == slow_merges(words(), NEW, most, min_count)
    assert 0 < len(got) <= most


@pytest.mark.parametrize("tied", [True, False])
def test_a_new_token_begins_as_the_mean_of_its_pieces(tied: bool, tmp_path: Path) -> None:
    made, net = words(), model(tied)
    before = [layer.weight.detach().clone() for layer in vocabulary.tables(net)]
    merges = vocabulary.learn(made, NEW, Expand(tokens=30, min_count=2))
    old_ids = made(OLD)["input_ids"]
    long = sum(len(ids) for ids in made(NEW)["input_ids"])
    first = len(made)
    vocabulary.add(net, made, merges)
    assert len(made) == first + len(merges) == net.get_input_embeddings().num_embeddings == net.config.vocab_size
    assert made(OLD)["input_ids"] == old_ids, "a text without new tokens is spelled as before"
    assert sum(len(ids) for ids in made(NEW)["input_ids"]) < long
    assert [made.decode(ids) for ids in made(NEW)["input_ids"]] == NEW
    for table, old in zip(vocabulary.tables(net), before, strict=True):
        torch.testing.assert_close(table.weight[:first], old, rtol=0, atol=0)
        for i, merge in enumerate(merges):
            spelled = words()(made.decode([first + i]), add_special_tokens=False)["input_ids"]
            assert merge.pieces == spelled
            torch.testing.assert_close(table.weight[first + i], old[spelled].mean(dim=0))
    models.save(tmp_path, net, made, {"family": "causal_lm"})
    again = models.load(tmp_path).tokenizer
    assert again(NEW)["input_ids"] == made(NEW)["input_ids"] and again.get_vocab() == made.get_vocab()
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(NEW[1]).ids == made(NEW[1])["input_ids"]
    assert AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids("<|late|>") == first - 1


def test_a_special_token_never_comes_of_a_text() -> None:
    made = words()
    texts = ["x<|late|>y <|late|> <|eos|>"] * 9
    net = model(True)
    vocabulary.add(net, made, vocabulary.learn(made, texts, Expand(tokens=200, min_count=2)))
    ids = made(texts[0], split_special_tokens=True)["input_ids"]
    assert not {made.eos_token_id, made.convert_tokens_to_ids("<|late|>")} & set(ids)
    assert made.decode(ids) == texts[0]
    assert made("<|late|>")["input_ids"] == [made.convert_tokens_to_ids("<|late|>")]


def test_a_label_begins_as_the_mean_of_what_spells_it() -> None:
    made, net = words(), model(False)
    spelled = made("<|label:animal|>", split_special_tokens=True)["input_ids"]
    wanted = [layer.weight[spelled].mean(dim=0) for layer in vocabulary.tables(net)]
    vocabulary.add_labels(net, made, ["animal", "plant"])
    (new,) = tokenizer.prompt(made, "animal")
    for layer, row in zip(vocabulary.tables(net), wanted, strict=True):
        torch.testing.assert_close(layer.weight[new], row)


def test_a_tokenizer_that_is_no_bpe_is_refused(tmp_path: Path) -> None:
    made = words()
    spec = json.loads(made.backend_tokenizer.to_str()) | {"pre_tokenizer": None}
    made._tokenizer = Tokenizer.from_str(json.dumps(spec))
    with pytest.raises(ConfigError, match=r"BPE of words.*got BPE without a pre-tokenizer.*train\.expand: null"):
        vocabulary.learn(made, NEW, Expand(tokens=5, min_count=2))
