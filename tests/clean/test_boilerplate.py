import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge.clean.boilerplate import SAMPLE, edit

PAGE = """Home | News | About us | Contact
Skip to content

Oak trees grow slowly. We use the bark.

  SHARE THIS:
Share
We use cookies to make this site better. Accept cookies?

```
Share
a | b | c | d
```
| Tree | Height | Age | Leaves |
Tree | Height | Age | Leaves
Oak | Forty | Old | Lobed
© 2021. All rights reserved."""


def test_lines_of_the_page_go_and_the_text_stays() -> None:
    found = edit(PAGE, SAMPLE)
    assert found.text == (
        "Oak trees grow slowly. We use the bark.\n\n```\nShare\na | b | c | d\n```\n| Tree | Height | Age | Leaves |\n"
        "Tree | Height | Age | Leaves\nOak | Forty | Old | Lobed"
    )
    assert found.counts == {"menu_lines": 1, "page_lines": 2, "phrase_lines": 3}


def test_a_long_line_that_speaks_of_cookies_stays() -> None:
    line = "In the second chapter we use cookies as an example of how a server may know a browser again later."
    assert edit(line, SAMPLE).text == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n\n\n\nb  \n",
        "She went home.",
        "1 > 2 > 3 > 4 > 5",
        "x / y / z",
        "We wait for his\n    reply.",
        "git rerere [clear | forget <path> | diff | status]",
        "a|b|c|d|e",
    ],
)
def test_a_text_without_such_lines_comes_back_unchanged(text: str) -> None:
    assert edit(text, SAMPLE).text == text and not edit(text, SAMPLE).counts


@given(st.text("ab \n|>`", max_size=60))
def test_once_is_enough(text: str) -> None:
    once = edit(text, SAMPLE).text
    assert len(edit(once, SAMPLE).text) <= len(once) <= len(text)
