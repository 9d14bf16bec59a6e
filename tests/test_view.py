from nightforge.records import Record
from nightforge.view import View


def view(text: str, words: list[str] | None = None) -> View:
    return View(Record(id="1", text=text), words)


def test_parts() -> None:
    seen = view(" One, two.\n \nTHREE\n\n\n  four ")
    assert seen.words == seen.tokens == ["One", "two", "THREE", "four"]
    assert seen.folded == ["one", "two", "three", "four"]
    assert seen.lines == ["One, two.", "THREE", "four"] and seen.raw_lines == [" One, two.", "THREE", "  four "]
    assert seen.paragraphs == ["One, two.", "THREE", "four"]


def test_tokens_are_numbered_in_the_order_of_their_first_occurrence() -> None:
    assert view("b a b c").numbers.tolist() == [0, 1, 0, 2]
    assert view("").numbers.tolist() == []


def test_words_of_another_tokenizer_may_hold_punctuation() -> None:
    seen = view("It's!", ["It", "'s", "!"])
    assert seen.tokens == ["It", "'s", "!"] and seen.words == ["It", "'s"] and seen.folded == ["it", "'s"]


def test_repeated_lines_are_counted_with_their_characters() -> None:
    assert view("ab\nc\nab\n\nab\n\nc").repeated_lines == (3, 5)
    assert view("").repeated_lines == (0, 0)
    assert view("ab\n ab").repeated_lines == (0, 0), "to the character"
