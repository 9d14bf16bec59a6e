import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge.augment._prose import Change, Varied, changed, prose_words, sentences, some, variants
from nightforge.records import Record, chat_text, content_id, pair_text

CFG = Varied(part="all", tries=2)
KEPT = [
    "https://large.example/tall?often=1",
    "tall@large.org",
    "$3.50",
    "3,000",
    "50%",
    "v1.2",
    "`large = tall`",
    "```\nlarge tall\n```",
    "~~~py\nlarge\n~~~",
    "large_tree",
    "_private",
    "tall.large()",
    "f(large)",
    "tallTree",
    "<|label:large|>",
    "<b class='tall'>",
    "<code>large tall</code>",
    "&nbsp;",
    "[EMAIL]",
    "[IP_4]",
    "](large.html)",
    "$large^2$",
    r"\emph{large}",
    "{large}",
    "${tall}",
    "%(large)s",
    "--large",
    "@large",
    "#tall",
    "/usr/large/tall",
    "and/or",
    "tall-ish",
    "tall's",
    "don’t",
    "\n    large = tall;\n",
    "नमस्ते",
    "漢字です",
]
"""Of what stands between words, the pieces that no augmenter may touch."""


@given(st.text(max_size=200))
def test_words_stand_where_they_are_said_to(text: str) -> None:
    for at, word in prose_words(text):
        assert text[at : at + len(word)] == word and word.isalpha()
    for at, sentence in sentences(text, 1):
        assert text[at : at + len(sentence)] == sentence and "\n" not in sentence


@given(st.text(max_size=200), st.randoms(use_true_random=False))
def test_what_is_not_changed_stays_to_the_byte(text: str, rng: random.Random) -> None:
    places = prose_words(text)
    same = [Change(at, word, word) for at, word in places]
    assert changed(text, same) == changed(text, []) == text
    rng.shuffle(same)
    marked = changed(text, [c._replace(after="\0") for c in same])
    pieces = iter(word for _, word in places)
    assert "\0" in text or "".join(next(pieces) if c == "\0" else c for c in marked) == text


@pytest.mark.parametrize("kept", KEPT)
def test_a_piece_to_keep_holds_no_word(kept: str) -> None:
    text = f"Tall {kept}\nthen  {kept} large"
    assert [word for _, word in prose_words(text)] == ["Tall", "then", "large"]


@given(st.lists(st.sampled_from([*KEPT, "tall", "large", "word", "  ", "\n\n", "\t", "(", '"']), max_size=12))
def test_what_is_to_be_kept_stays_whatever_stands_beside_it(parts: list[str]) -> None:
    text = "\n".join(parts)
    whole = changed(text, [Change(at, word, "x") for at, word in prose_words(text)])
    fences = sum(part.startswith(("```", "~~~")) for part in parts)
    for part in {p for p in parts if p in KEPT and not fences}:
        assert whole.count(part) >= text.count(part)
    assert [c for c in whole if c.isspace()] == [c for c in text if c.isspace()]


def test_sentences_that_hold_something_to_keep_are_left_out() -> None:
    text = "A first one, here. It costs $3 now.  Don't go there!\n\n  well-known things\nSee `x = 1` or not. Short."
    found = sentences(text, 2)
    assert [s for _, s in found] == ["A first one, here.", "Don't go there!", "well-known things"]
    assert all(text[at:].startswith(s) for at, s in found)


def upper(text: str) -> object:
    return some(1.0, len(text), prose_words(text), lambda place, rng: Change(*place, place[1].upper()))


def vary(record: Record, part: str) -> Record:
    cfg = CFG.model_copy(update={"part": part})
    first, second = variants(record, cfg, random.Random(0), upper)
    assert first == second and first.meta["parent"] == record.id
    assert first.id == content_id(first.text, record.label) != record.id
    return first


def test_the_parts_of_a_pair() -> None:
    pair = Record(id="p", text=pair_text("ask this", "say 7 that"), prompt="ask this", response="say 7 that")
    asked = vary(pair, "prompt")
    assert (asked.prompt, asked.response, asked.text) == ("ASK THIS", "say 7 that", "ASK THIS\nsay 7 that")
    assert vary(pair, "response").text == "ask this\nSAY 7 THAT"
    both = vary(pair, "all")
    assert (both.prompt, both.response, both.text) == ("ASK THIS", "SAY 7 THAT", "ASK THIS\nSAY 7 THAT")
    assert both.meta["edits"][-1] == {"part": "response", "at": 6, "before": "that", "after": "THAT"}


def test_the_turns_of_a_chat() -> None:
    turns = [("system", "be kind"), ("user", "ask"), ("assistant", "say"), ("tool", "found"), ("user", "more")]
    messages = [{"role": role, "content": content} for role, content in turns]
    chat = Record(id="c", text=chat_text(messages), meta={"messages": messages, "topic": "x"})
    said = vary(chat, "response")
    assert [m["content"] for m in said.meta["messages"]] == ["be kind", "ask", "SAY", "found", "more"]
    assert said.text == "be kind\n\nask\n\nSAY\n\nfound\n\nmore" and said.meta["topic"] == "x"
    assert said.meta["edits"] == [{"part": "messages.2", "at": 0, "before": "say", "after": "SAY"}]
    assert vary(chat, "prompt").text == "be kind\n\nASK\n\nsay\n\nfound\n\nMORE"
    assert vary(chat, "all").text == "be kind\n\nASK\n\nSAY\n\nfound\n\nMORE"
    assert messages[2]["content"] == "say", "the record itself stays"


def test_nothing_to_vary() -> None:
    record = Record(id="e", text="")
    for text in ("", "…", "3.50", "`x`"):
        assert list(variants(replace(record, text=text), CFG, random.Random(0), upper)) == []
    assert list(variants(replace(record, text="ABC"), CFG, random.Random(0), upper)) == [], "no change is no variant"


@pytest.mark.parametrize(("share", "words", "changes"), [(0.5, 5, 2), (0.1, 3, 1), (1.0, 1, 1), (0.4, 2, 1)])
def test_the_share_is_of_the_words_and_rounded_up(share: float, words: int, changes: int) -> None:
    draw = some(share, words, [(0, "one"), (4, "two")], lambda place, rng: Change(*place, "x"))
    assert draw is not None and len(list(draw(random.Random(0)))) == changes
    assert some(1.0, 9, [], lambda place, rng: Change(0, "", "")) is None
