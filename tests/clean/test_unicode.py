import ftfy
from hypothesis import given
from hypothesis import strategies as st

from nightforge.clean.unicode import SAMPLE, Config, edit


def mend(text: str, cfg: Config = SAMPLE) -> str:
    return edit(text, cfg).text


def test_mojibake_and_normal_form() -> None:
    assert mend("cafÃ© â€“ naÃ¯ve") == "café – naïve"
    assert mend("cafe\u0301") == "café"
    assert mend("a\r\nb\x00") == "a\nb"
    assert mend("x² “so”") == "x² “so”", "NFC keeps superscripts, and quotes stay curly"
    assert mend("x²", Config(normal_form="NFKC", uncurl_quotes=False)) == "x2"
    assert mend("“so”", Config(normal_form="NFC", uncurl_quotes=True)) == '"so"'


def test_markup_stays_and_the_empty_stays_empty() -> None:
    assert mend("a &amp; b <p>") == "a &amp; b <p>"
    assert mend(" \n") == ""


def test_counts_say_whether_it_was_mended() -> None:
    assert edit("cafÃ©", SAMPLE).counts == {"mended": 1}
    assert edit(" plain ", SAMPLE).counts == {}, "trimming is no mending"


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_plain_text_is_what_ftfy_makes_of_it(text: str) -> None:
    """The short way for plain texts must not be another one."""
    assert mend(text) == ftfy.fix_text(text, unescape_html=False, uncurl_quotes=False).strip()
