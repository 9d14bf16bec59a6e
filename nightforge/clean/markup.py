"""Turns HTML and e-mail into text: tags and entities, headers, quotations and signatures (RFC 5322; RFC 3676, 4.3).

A text is HTML if it has enough tags of HTML outside its code, and a mail if it begins with header lines or is an answer
to one; any other comes back unchanged, so that prose may speak of `<p>` and quote with `>`. Fenced code stays as it is.
"""

import html
import re
from collections import Counter

from pydantic import Field

from nightforge import config
from nightforge.clean import _html
from nightforge.records import Edit

_FENCED = re.compile(r"(^```.*?^```[^\n]*$|^~~~.*?^~~~[^\n]*$)", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_TAG = re.compile(
    r"</?(?:html|head|body|title|meta|link|script|style|div|span|p|br|hr|a|img|b|i|u|em|strong|small|font|center|sub|sup|"
    r"code|pre|blockquote|ul|ol|li|dl|dt|dd|table|tbody|thead|tr|td|th|h[1-6]|section|article|header|footer|nav|main|"
    r"figure|figcaption|form|input|button|label|iframe)(?:\s[^<>]{0,2000})?/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_HEADER = re.compile(
    r"(?:From|To|Cc|Bcc|Subject|Date|Sent|Reply-To|Message-ID|In-Reply-To|References|Received|Return-Path|MIME-Version|"
    r"Content-[A-Za-z-]+|List-[A-Za-z-]+|X-[A-Za-z-]+|User-Agent|Organization|Delivered-To|DKIM-Signature):",
    re.IGNORECASE,
)
_ATTRIBUTION = re.compile(r"^(?:On .{4,200}\bwrote:|.{1,100}\bwrote:|-+ ?Original Message ?-+)\s*$", re.MULTILINE)
_QUOTED = re.compile(r"^[ \t]*>", re.MULTILINE)


class Config(config.Config):
    """What is turned into text."""

    tags_min: int = Field(ge=1)
    """A text with so many HTML tags outside code is HTML."""
    entities: bool
    """Whether entities such as `&amp;` in texts that are no HTML become characters."""
    mail: bool
    """Whether headers (but the subject), quotations and signatures of e-mail go."""


SAMPLE = Config(tags_min=3, entities=True, mail=True)


def edit(text: str, cfg: Config) -> Edit:
    """The text without markup; counts say what it had."""
    counts = Counter[str]()
    if cfg.mail:
        text = _mail(text, counts)
    if "<" in text or "&" in text:
        pieces = _FENCED.split(text)  # code stands at the odd places
        prose = pieces[::2]
        is_html = sum(len(_TAG.findall(_INLINE_CODE.sub("", piece))) for piece in prose) >= cfg.tags_min
        for at, piece in enumerate(prose):
            if is_html and piece.strip():
                counts["html"] = 1
                around = ("\n" if at else "", "\n" if 2 * at + 1 < len(pieces) else "")
                prose[at] = _html.text_of(piece).join(around)
            elif cfg.entities:
                prose[at], found = _ENTITY.subn(lambda m: html.unescape(m[0]), piece)
                counts["entities"] += found
        pieces[::2] = prose
        text = "".join(pieces)
    return Edit(text, +counts)


def _mail(text: str, counts: Counter[str]) -> str:
    """The text without the headers, quotations and signature of a mail; the subject stays, as its first line."""
    lines = text.lstrip("\n").split("\n")
    end = next(
        (
            at
            for at, line in enumerate(lines)
            if not (_HEADER.match(line) or (at and line[:1] in " \t" and line.strip()))
        ),
        len(lines),
    )
    names = {line.split(":")[0].lower() for line in lines[:end] if _HEADER.match(line)}
    headed = bool(names & {"from", "message-id", "received"}) and bool(names & {"subject", "date", "to", "sent"})
    answered = bool(_ATTRIBUTION.search(text)) and bool(_QUOTED.search(text))
    if not headed and not answered:
        return text
    subject = []
    if headed:
        counts["mail_headers"] += end
        subject = [line.split(":", 1)[1].strip() for line in lines[:end] if line.lower().startswith("subject:")]
        lines = lines[end:]
    if (rule := next((at for at, line in enumerate(lines) if line in ("-- ", "--")), None)) is not None:
        counts["mail_signatures"] += 1
        lines = lines[:rule]
    kept = [line for line in lines if not (line.lstrip().startswith(">") or _ATTRIBUTION.match(line))]
    counts["mail_quoted_lines"] += len(lines) - len(kept)
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*subject, *kept])).strip()
