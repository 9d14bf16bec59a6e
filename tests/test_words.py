import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge.words import _any_script, folded, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a tree-lined (road) — e.g. 3.5", ["a", "tree-lined", "road", "e.g", "3.5"]),
        ("don't it’s 1,000 a,b", ["don't", "it’s", "1,000", "a", "b"]),
        ("__init__ foo__bar C++ a...b x²", ["init", "foo__bar", "C", "a", "b", "x²"]),
        ("/usr/bin 🌱 a@b.org", ["usr", "bin", "a", "b.org"]),
        ("日本の木", ["日", "本", "の", "木"]),
        ("Python 3の木", ["Python", "3", "の", "木"]),
        ("हिन्दी की किताब", ["हिन्दी", "की", "किताब"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("𝒳𝒴 𐍈𐍂", ["𝒳𝒴", "𐍈𐍂"]),
        ("… -- ! _", []),
    ],
)
def test_words_of_scripts(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_folding_makes_comparable_and_keeps_vowel_signs() -> None:
    assert folded("The “Ｔree”, (old)") == ["the", "tree", "old"]
    assert folded("की") != folded("का")
    assert folded("THE Tree.") == ["the", "tree"]


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_cut_as_any_script_is(text: str) -> None:
    assert words(text) == _any_script().findall(text)


@given(st.text(st.one_of(st.sampled_from("a1é²日ก-_.,'’·\u0301\u093e \n\t\x1c\x1f\x85\u2028"), st.characters())))
def test_text_cut_at_white_space_has_the_same_words(text: str) -> None:
    assert words(text) == _any_script().findall(text)


@given(st.text())
def test_a_word_begins_with_a_letter_or_digit(text: str) -> None:
    assert all(unicodedata.category(word[0])[0] in "LN" for word in words(text))
    assert len(folded(text)) >= 0
