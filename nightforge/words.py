"""The words of a text in any script; every count of words and every shingle in the library comes from here.

After the word boundaries of Unicode (UAX #29), tailored in three points. What counts:

- A word begins with a letter or a digit and goes on over letters, digits and their marks (so vowel signs stay inside
  their word, where `\\w+` would cut them).
- It reaches over one apostrophe, full stop, middle dot or hyphen between two such characters (`don't`, `e.g`, `3.14`,
  `tree-lined`: UAX #29 cuts at hyphens), over underscores, and over a comma between digits (`1,000`).
- Punctuation and symbols are never words, nor part of one at its edges: `(road)` is `road`, and `C++` is `C`.
- Scripts written without spaces (Chinese, Japanese, Thai, Lao, Burmese, Khmer): every character is a word.

A tokenizer that counts punctuation as words, such as spaCy's, gives other shares: see `View` in nightforge/view.py.
"""

import re
import unicodedata
from functools import cache

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_ASCII = re.compile(r"[A-Za-z0-9]++(?:(?:[-'.]|_++|(?<=[0-9]),(?=[0-9]))[A-Za-z0-9]++)*+")


def words(text: str) -> list[str]:
    """The words of a text as they stand, punctuation gone."""
    if text.isascii():
        return _ASCII.findall(text)
    # No word reaches over white space, and most of what stands between is ASCII even here: its pattern is faster.
    beyond = _any_script()
    return [word for piece in text.split() for word in (_ASCII if piece.isascii() else beyond).findall(piece)]


def folded(text: str) -> list[str]:
    """The words of a text made comparable: NFKC and case folded."""
    return words(text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold())


@cache
def _any_script() -> re.Pattern[str]:
    """The pattern for texts beyond ASCII; the marks are read off Python's own Unicode tables, once, in 10 ms."""
    marks = "".join(chr(c) for c in range(0x300, 0x10000) if unicodedata.category(chr(c))[0] == "M")
    spaced = f"[^\\W_{_UNSPACED}]+"
    joint = r"(?:[-'’.·‧‐‑]|_+|(?<=\d),(?=\d))"
    return re.compile(f"{spaced}(?:[{marks}]+(?:{spaced})?|{joint}{spaced})*|[^\\W_]")
