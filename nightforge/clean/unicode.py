"""Mends mojibake and brings text to one normal form, with ftfy (Speer 2019, github.com/rspeer/python-ftfy)."""

from dataclasses import replace
from typing import Literal

import ftfy

from nightforge import config
from nightforge.records import Record, Reject


class Config(config.Config):
    """What is mended."""

    normal_form: Literal["NFC", "NFKC"]
    """Unicode normal form; NFC keeps ligatures and superscripts, NFKC flattens them."""
    uncurl_quotes: bool
    """Whether curly quotation marks become straight ones."""


SAMPLE = Config(normal_form="NFC", uncurl_quotes=False)


def apply(record: Record, cfg: Config) -> Record | Reject:
    """The record with its text mended: mojibake, control characters, line ends, normal form."""
    how = ftfy.TextFixerConfig(unescape_html=False, normalization=cfg.normal_form, uncurl_quotes=cfg.uncurl_quotes)
    text = ftfy.fix_text(record.text, how).strip()
    prompt = record.prompt and ftfy.fix_text(record.prompt, how)
    response = record.response and ftfy.fix_text(record.response, how)
    return replace(record, text=text, prompt=prompt, response=response) if text else Reject("empty", "")
