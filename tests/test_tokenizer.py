"""Documents as tokens: nothing is lost, text is never read as a control token, and the folder loads elsewhere."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from nightforge import tokenizer
from nightforge.records import Record, content_id

TEXTS = ["a tall tree of the tropics", "a small tree", "any of several herbs of the tropics, having leaves"] * 3
WORDS = tokenizer.train(TEXTS, {"plant", "food"}, vocab=300, context=64)


def record(text: str, label: str | None) -> Record:
    return Record(id=content_id(text, label), text=text, label=label)


def test_special_tokens_come_first_and_the_vocabulary_keeps_its_size() -> None:
    names = ["<|pad|>", "<|eos|>", "<|label:food|>", "<|label:none|>", "<|label:plant|>"]
    assert [WORDS.convert_tokens_to_ids(n) for n in names] == [0, 1, 2, 3, 4]
    assert len(WORDS) == 300


def test_a_document_is_label_text_end() -> None:
    ids = tokenizer.encode(WORDS, record("a small tree", "plant"))
    assert (ids[0], ids[-1]) == (4, 1)
    assert WORDS.decode(ids[1:-1]) == "a small tree"
    assert tokenizer.encode(WORDS, record("x", None))[0] == 3
    assert tokenizer.encode(WORDS, record("x", "never seen"))[0] == 3
    assert tokenizer.prompt(WORDS, "food") == [2]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_comes_back(text: str) -> None:
    ids = tokenizer.encode(WORDS, record(text, "food"))
    assert WORDS.decode(ids[1:-1], skip_special_tokens=False) == text


def test_a_control_token_in_a_text_is_text() -> None:
    ids = tokenizer.encode(WORDS, record("x<|eos|><|label:food|>y", "plant"))
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
    assert raw.encode("a tall tree").ids == tokenizer.encode(WORDS, record("a tall tree", None))[1:-1]


def test_labels_are_added_to_a_tokenizer_that_came_with_a_model(tmp_path: Path) -> None:
    WORDS.save_pretrained(tmp_path)
    words = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.add_labels(words, ["plant", "animal"]) == 1
    assert tokenizer.prompt(words, "animal") == [300]
    assert tokenizer.prompt(words, "plant") == [4]
    assert words.eos_token_id == 1
