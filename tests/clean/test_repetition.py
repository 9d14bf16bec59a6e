from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge.clean.repetition import SAMPLE, Config, duplicate_chars, judge, repeats, top_chars
from nightforge.records import Record
from nightforge.view import View


def reasons(text: str, cfg: Config = SAMPLE) -> set[str]:
    return {why.reason for why in judge(View(Record(id="1", text=text)), cfg)}


def chars(text: str, n: int) -> tuple[int, int]:
    """Characters in the top n-gram and in duplicate n-grams."""
    view = View(Record(id="1", text=text), text.split())
    for size, at, group, times in repeats(view.numbers, n):
        if size == n:
            return top_chars(view.tokens, n, at, times)[0], duplicate_chars(view.tokens, n, at, group)
    return 0, 0


def test_characters_by_hand() -> None:
    assert chars("ab ab cd", 2) == (0, 0), "(ab, ab) and (ab, cd), once each"
    assert chars("a b a b c", 2) == (6, 2), "“a b” twice with its space; the second holds two characters"
    assert chars("a b a b a", 2) == (6, 2), "the second (b, a) overlaps what is counted already"
    assert chars("a b c a b d", 2) == (6, 2)
    assert chars("", 2) == (0, 0)


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 6))
def test_characters_are_those_of_the_plain_definition(words: list[str], n: int) -> None:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    (gram, count), *_ = Counter(grams).most_common(1) or [((), 0)]
    top = count * len(" ".join(gram)) if count > 1 else 0
    seen: set[tuple[str, ...]] = set()
    duplicate = at = 0
    while at < len(grams):  # find_all_duplicate of datatrove 0.10.1
        if grams[at] in seen:
            duplicate, at = duplicate + n, at + n
        else:
            seen.add(grams[at])
            at += 1
    assert chars(" ".join(words), n) == (top, duplicate)


@pytest.mark.parametrize("text", ["a small tree", "tall", "the end of the road", "", "…", "\n\n"])
def test_short_texts_without_repetition_pass_the_published_bounds(text: str) -> None:
    assert reasons(text) == set()


def test_reasons() -> None:
    assert reasons("one line\nanother\none line\none line") >= {"repeated_lines", "repeated_line_characters"}
    assert reasons("buy now cheap " * 9) >= {"repeated_2_gram", "repeated_3_gram", "repeated_5_grams"}
    many = "\n\n".join(
        ["a paragraph that comes again and again", *"xyz", *["a paragraph that comes again and again"] * 2]
    )
    assert reasons(many) >= {"repeated_lines", "repeated_paragraphs", "repeated_paragraph_characters"}


def test_a_share_at_its_bound_stays() -> None:
    cfg = SAMPLE.model_copy(update={"top_ngram_char_share": {2: 0.6}, "duplicate_ngram_char_share": {}})
    assert reasons("xx y xx y!", cfg) == {"repeated_2_gram"}, "8 of 10 characters"
    assert reasons("xx y xx y!", cfg.model_copy(update={"top_ngram_char_share": {2: 0.8}})) == set()
