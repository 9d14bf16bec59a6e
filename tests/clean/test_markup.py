import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge.clean.markup import SAMPLE, Config, edit

PAGE = """<html><head><title>x</title><style>a{}</style></head><body><nav>Home</nav><h1>Oak &amp; Elm</h1>
<p>Hello <b>big</b>
 world<p>Second<br>line<ul><li>one<li>two</ul><pre>  def f():
    return 1


x</pre><script>alert(1)</script><!-- no --><table><tr><td>a<td>b</tr><tr><td>c</table></body>"""

MAIL = """From: a@b.example
To: c@d.example
Subject: Oak trees
Date: today,
  or so

Hi,

On Monday Jane Doe wrote:
> How old are they?
>> And how tall?
Very old.
-- \nJane
+44 20 7946 0958"""


def text(given: str, cfg: Config = SAMPLE) -> str:
    return edit(given, cfg).text


def test_html_becomes_the_text_that_a_browser_shows() -> None:
    assert text(PAGE) == (
        "Oak & Elm\n\nHello big world\n\nSecond\nline\n\n- one\n- two\n\n  def f():\n    return 1\n\n\nx\n\na\tb\nc"
    )
    assert edit(PAGE, SAMPLE).counts == {"html": 1}


def test_mail_keeps_its_subject_and_what_its_writer_says() -> None:
    assert text(MAIL) == "Oak trees\n\nHi,\n\nVery old."
    assert edit(MAIL, SAMPLE).counts == {"mail_headers": 5, "mail_quoted_lines": 3, "mail_signatures": 1}
    assert text(MAIL, SAMPLE.model_copy(update={"mail": False})) == MAIL


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a\n\n\n b  ",
        "Write <p> for a paragraph; a < b && c > d.",
        "> quoted in Markdown\n\nand an answer",
        "Note: this\nFrom: there to here",
        "Use `<p>`, `<b>`, `<i>` and `</i>`.",
        "```html\n<p>a</p><p>b</p> &amp;\n```\nplain",
        "List<int> x; Map<String, List<T>> y; <T> <U> <V>",
        "-- \na dash",
        "AT&T; R&D &nosuchthing",
    ],
)
def test_a_text_without_markup_comes_back_unchanged(given: str) -> None:
    assert text(given) == given and not edit(given, SAMPLE).counts


def test_fenced_code_survives_in_html() -> None:
    fence = "```\n<p>a</p> &amp;  b\n```"
    assert text(f"<div>one</div><div>1</div>\n{fence}\n<p>two</p>") == f"one\n1\n{fence}\ntwo"


def test_entities_outside_html() -> None:
    assert text("caf&eacute; &#38; &#x41;") == "café & A"
    assert text("a &amp; b", SAMPLE.model_copy(update={"entities": False})) == "a &amp; b"


def test_deep_nesting_does_not_overflow() -> None:
    assert text("<div>" * 3_000 + "deep") == "deep"


@given(
    st.lists(st.sampled_from(["<p>", "</p>", "<pre>", "<li>", "a", " ", "\n", "&amp;", "```\n", "> ", "<", "-- \n"]))
)
def test_any_soup_ends_in_text_without_tags_of_its_own(pieces: list[str]) -> None:
    soup = "".join(pieces)
    assert isinstance(text(soup), str)
    if "```" not in soup and "html" in edit(soup, SAMPLE).counts:
        assert "<p>" not in text(soup) and "<li>" not in text(soup)
