"""Mends mojibake and brings text to one normal form, with ftfy (Speer 2019, github.com/rspeer/python-ftfy)."""

import re
from functools import lru_cache
from typing import Literal

import ftfy

from nightforge import config
from nightforge.records import Edit


class Config(config.Config):
    """What is mended."""

    normal_form: Literal["NFC", "NFKC"]
    """Unicode normal form; NFC keeps ligatures and superscripts, NFKC flattens them."""
    uncurl_quotes: bool
    """Whether curly quotation marks become straight ones."""


SAMPLE = Config(normal_form="NFC", uncurl_quotes=False)


_PLAIN = re.compile(r"[\t\n\x20-\x7e]*")
"""Nothing in such a text is ftfy's to mend; most texts are such, and it would take them apart line by line."""


@lru_cache
def _how(cfg: Config) -> ftfy.TextFixerConfig:
    return ftfy.TextFixerConfig(unescape_html=False, normalization=cfg.normal_form, uncurl_quotes=cfg.uncurl_quotes)


def edit(text: str, cfg: Config) -> Edit:
    """The text mended: mojibake, control characters, line ends, normal form; white space at its ends gone."""
    if _PLAIN.fullmatch(text):
        return Edit(text.strip())
    mended = ftfy.fix_text(text, _how(cfg)).strip()
    return Edit(mended, {"mended": 1} if mended != text.strip() else {})
