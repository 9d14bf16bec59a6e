import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from nightforge.words import folded, words


def test_words_of_scripts() -> None:
    assert words("a tree-lined (road) — e.g. 3.5") == ["a", "tree-lined", "(road)", "e.g.", "3.5"]
    assert words("日本の木") == ["日", "本", "の", "木"]
    assert words("हिन्दी की किताब") == ["हिन्दी", "की", "किताब"], "vowel signs stay inside their word"
    assert words("… -- !") == []


def test_folding_makes_comparable_and_keeps_vowel_signs() -> None:
    assert folded("The “Ｔree”, (old)") == ["the", "tree", "old"]
    assert folded("की") != folded("का")


@given(st.text())
def test_a_word_holds_a_letter_or_digit(text: str) -> None:
    assert all(any(unicodedata.category(c)[0] in "LN" for c in word) for word in words(text))
    assert len(folded(text)) >= 0
