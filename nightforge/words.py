"""The words of a text in any script; every count of words and every shingle in the library comes from here.

Scripts written with spaces: a word is a run of non-space characters that holds a letter or a digit (so combining
vowel signs stay inside their word, where `\\w+` would cut them). Scripts written without spaces (Chinese, Japanese,
Thai, Lao, Burmese, Khmer): every character counts as one word.
"""

import re
import string
import unicodedata

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")
_EDGES = string.punctuation + "“”„‘’‚«»‹›…—–¿¡、。，．：；！？（）「」『』"


def words(text: str) -> list[str]:
    """The words of a text as they stand, punctuation attached."""
    return [w for w in _WORD.findall(text) if w.isalnum() or any(c.isalnum() for c in w)]


def folded(text: str) -> list[str]:
    """The words of a text made comparable: NFKC, case folded, punctuation at their edges gone."""
    return [w.strip(_EDGES) or w for w in words(unicodedata.normalize("NFKC", text).casefold())]
