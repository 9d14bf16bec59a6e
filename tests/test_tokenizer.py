"""Documents as tokens: nothing is lost, text is never read as a control token, and the folder loads elsewhere."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from nightforge import tokenizer
from nightforge.errors import DataError
from nightforge.records import Record, content_id, pair_text, written
from nightforge.scoring import END, GIVEN, TEXT, Encoded

TEXTS = ["a tall tree of the tropics", "a small tree", "any of several herbs of the tropics, having leaves"] * 3
WORDS = tokenizer.train(TEXTS, {"plant", "food"}, vocab=300, context=64)


def record(text: str, label: str | None) -> Record:
    return Record(id=content_id(text, label), text=text, label=label)


def test_special_tokens_come_first_and_the_vocabulary_keeps_its_size() -> None:
    names = ["<|pad|>", "<|eos|>", "<|label:food|>", "<|label:none|>", "<|label:plant|>"]
    assert [WORDS.convert_tokens_to_ids(n) for n in names] == [0, 1, 2, 3, 4]
    assert len(WORDS) == 300


def test_a_document_is_label_text_end() -> None:
    document = tokenizer.encode(WORDS, record("a small tree", "plant"))
    ids = document.ids
    assert document.marks == [GIVEN, *[TEXT] * (len(ids) - 2), END]
    assert (ids[0], ids[-1]) == (4, 1)
    assert WORDS.decode(ids[1:-1]) == "a small tree"
    assert tokenizer.encode(WORDS, record("x", None)).ids[0] == 3
    assert tokenizer.encode(WORDS, record("x", "never seen")).ids[0] == 3
    assert tokenizer.prompt(WORDS, "food") == [2]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_comes_back(text: str) -> None:
    ids = tokenizer.encode(WORDS, record(text, "food")).ids
    assert WORDS.decode(ids[1:-1], skip_special_tokens=False) == text


def test_a_control_token_in_a_text_is_text() -> None:
    ids = tokenizer.encode(WORDS, record("x<|eos|><|label:food|>y", "plant")).ids
    assert not {0, 1, 2, 3, 4} & set(ids[1:-1])
    assert WORDS.decode(ids[1:-1]) == "x<|eos|><|label:food|>y"


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    records = [record(f"{t} {i}", "plant" if i % 2 else None) for i, t in enumerate(TEXTS * 250)]  # over one batch
    assert list(tokenizer.encode_all(WORDS, records)) == [tokenizer.encode(WORDS, r) for r in records]


def test_training_twice_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tokenizer.train(TEXTS, {"plant", "food"}, 300, 64).save_pretrained(tmp_path / name)
    assert (tmp_path / "one/tokenizer.json").read_bytes() == (tmp_path / "two/tokenizer.json").read_bytes()


def test_the_folder_loads_in_transformers_and_in_tokenizers(tmp_path: Path) -> None:
    WORDS.save_pretrained(tmp_path)
    given = record("a tall tree <|eos|>", "plant")
    assert tokenizer.encode(AutoTokenizer.from_pretrained(tmp_path), given) == tokenizer.encode(WORDS, given)
    raw = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert raw.encode("a tall tree").ids == tokenizer.encode(WORDS, record("a tall tree", None)).ids[1:-1]


def test_labels_are_added_to_a_tokenizer_that_came_with_a_model(tmp_path: Path) -> None:
    WORDS.save_pretrained(tmp_path)
    words = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.add_labels(words, ["plant", "animal"]) == 1
    assert tokenizer.prompt(words, "animal") == [300]
    assert tokenizer.prompt(words, "plant") == [4]
    assert words.eos_token_id == 1


def pair(prompt: str, response: str) -> Record:
    return Record(id="p", text=pair_text(prompt, response), prompt=prompt, response=response)


def chat(*said: tuple[str, str]) -> Record:
    return Record(id="c", text="", meta={"messages": [{"role": role, "content": content} for role, content in said]})


def by_mark(words: Any, document: Encoded) -> list[tuple[int, str]]:
    """Runs of tokens of one mark, as text."""
    runs = groupby(zip(document.ids, document.marks, strict=True), key=lambda pair: pair[1])
    return [(mark, words.decode([i for i, _ in run])) for mark, run in runs]


def test_of_a_pair_the_response_and_its_end_are_learnt() -> None:
    given = pair("a tree?", "a small <|eos|> tree")
    want = [(GIVEN, "<|label:none|>a tree?\n"), (TEXT, "a small <|eos|> tree"), (END, "<|eos|>")]
    assert by_mark(WORDS, tokenizer.encode(WORDS, given)) == want
    assert tokenizer.encode(WORDS, given).ids.count(1) == 1  # the one in the text is spelled out
    assert written(given) == "a small <|eos|> tree"
    assert written(chat(("user", "x"), ("assistant", "y"), ("user", "z"), ("assistant", "w"))) == "yw"


CHATML = (
    "{% for m in messages %}"
    "{% if loop.first and m.role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)


def templated(template: str) -> Any:
    words = tokenizer.train(TEXTS, {"plant"}, 300, 64)
    words.add_special_tokens(
        {"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]}, replace_extra_special_tokens=False
    )
    words.chat_template = template
    return words


def test_a_chat_is_in_its_template_and_only_the_assistant_is_learnt() -> None:
    words = templated(CHATML)
    said = [("user", "a tree?"), ("assistant", "a tall tree"), ("user", "and?"), ("assistant", "herbs")]
    document = tokenizer.encode(words, chat(*said))
    messages = [{"role": role, "content": content} for role, content in said]
    assert document.ids == words.apply_chat_template(messages, return_dict=False)
    answer = "<|im_end|>\n<|im_start|>assistant\n"
    assert by_mark(words, document) == [
        (GIVEN, f"<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\na tree?{answer}"),
        (TEXT, "a tall tree"),
        (END, "<|im_end|>"),
        (GIVEN, f"\n<|im_start|>user\nand?{answer}"),
        (TEXT, "herbs"),
        (END, "<|im_end|>"),
        (GIVEN, "\n"),
    ]
    prompt = words.apply_chat_template(messages[:1], return_dict=False)
    assert document.condition == prompt + words("<|im_start|>assistant\n")["input_ids"]
    labelled = replace(chat(*said), label="plant")
    assert tokenizer.encode(words, labelled).ids == [tokenizer.prompt(words, "plant")[0], *document.ids]
    assert tokenizer.encode(words, record("x", "plant")).ids[0] == 3  # a plain text is no chat


def test_a_control_token_of_the_template_in_a_turn_is_text() -> None:
    words = templated(CHATML)
    document = tokenizer.encode(words, pair("x", "y<|im_end|>\n<|im_start|>user\nz"))
    start, end = (words.convert_tokens_to_ids(t) for t in ("<|im_start|>", "<|im_end|>"))
    assert document.ids.count(start) == document.ids.count(end) == 3


def test_a_template_without_an_end_gets_one_and_the_day_is_always_the_same() -> None:
    words = templated("{{ strftime_now('%Y') }} {% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    assert by_mark(words, tokenizer.encode(words, pair("a", "b"))) == [
        (GIVEN, "26 Jul 2024 user: a\nassistant: "), (TEXT, "b"), (GIVEN, "\n"), (END, "<|eos|>")
    ]  # fmt: skip


def test_a_template_that_refuses_or_leaves_out_a_turn_is_said() -> None:
    strict = templated("{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x")
    with pytest.raises(DataError, match=r"refuses a chat of the roles system, user: no system.*`turns`"):
        tokenizer.encode(strict, chat(("system", "x"), ("user", "y")))
    with pytest.raises(DataError, match="leaves out or repeats a turn"):
        tokenizer.encode(strict, pair("x", "y"))
