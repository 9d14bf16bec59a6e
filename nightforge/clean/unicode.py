"""Mends mojibake and brings text to one normal form, with ftfy (Speer 2019, github.com/rspeer/python-ftfy)."""

from typing import Literal

import ftfy

from nightforge import config
from nightforge.records import Record, Reject, with_text


class Config(config.Config):
    """What is mended."""

    normal_form: Literal["NFC", "NFKC"]
    """Unicode normal form; NFC keeps ligatures and superscripts, NFKC flattens them."""
    uncurl_quotes: bool
    """Whether curly quotation marks become straight ones."""


SAMPLE = Config(normal_form="NFC", uncurl_quotes=False)


def apply(record: Record, cfg: Config) -> Record | Reject:
    """The record with its text mended: mojibake, control characters, line ends, normal form."""
    mended = ftfy.fix_text(
        record.text,
        ftfy.TextFixerConfig(unescape_html=False, normalization=cfg.normal_form, uncurl_quotes=cfg.uncurl_quotes),
    ).strip()
    return with_text(record, mended) if mended else Reject("empty", "")
