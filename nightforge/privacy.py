"""Personal data and secrets in text: where they stand, and the text without them.

Checksums decide where there is one (Luhn for cards, ISO 7064 mod 97 for IBANs, `ipaddress` for addresses), so that a
number that merely looks like one stays. Key prefixes are those their issuers publish.
"""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Literal, NamedTuple, get_args

Kind = Literal["private_key", "token", "email", "iban", "card", "ipv6", "ipv4", "phone", "entropy"]
KINDS: tuple[Kind, ...] = get_args(Kind)

EVIDENCE_CHARS = 160
ENTROPY_BITS = 4.0
"""Shannon bits a character from which a long mixed string is taken for a secret; words and identifiers stay below."""


class Span(NamedTuple):
    """One finding: text[start:end] is of that kind."""

    kind: Kind
    start: int
    end: int


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    packed = text.replace(" ", "").upper()
    if not 15 <= len(packed) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1


def _address(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (found.is_unspecified or found.is_loopback)


def _dense(text: str) -> bool:
    """A long string that mixes letters and digits and spreads over its alphabet, as keys do and words do not."""
    if not (any(c.isdigit() for c in text) and any(c.isupper() for c in text) and any(c.islower() for c in text)):
        return False
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) >= ENTROPY_BITS


def _phone(text: str) -> bool:
    return 8 <= sum(c.isdigit() for c in text) <= 15


def _always(_: str) -> bool:
    return True


_PATTERNS: dict[Kind, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "private_key": (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        _always,
    ),
    "token": (
        re.compile(
            r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|glpat-[\w-]{20,}"
            r"|xox[abprs]-[\w-]{10,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|sk-[\w-]{20,}|AIza[\w-]{35}|hf_[A-Za-z]{30,}"
            r"|pypi-[\w-]{50,}|npm_[A-Za-z0-9]{36}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+)"
            r"|(?i:\b(?:api[_-]?key|secret|passw(?:or)?d|access[_-]?token)\b[\"']?\s*[:=]\s*[\"']?)[^\s\"']{8,}"
        ),
        _always,
    ),
    "email": (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?!\w)"), _always),
    "iban": (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"), _iban),
    "card": (
        re.compile(
            r"(?<![\d.-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{5})(?![\d-])"
        ),
        _luhn,
    ),
    "ipv6": (
        re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:]{3,39}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])"),
        _address,
    ),
    "ipv4": (re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)"), _address),
    "phone": (
        re.compile(
            r"(?<![\w+])(?:\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,4}"
            r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[.-]\d{3}[.-]\d{4})(?!\w)"
        ),
        _phone,
    ),
    "entropy": (re.compile(r"(?<![\w/+=-])[A-Za-z0-9+/_=-]{20,512}(?![\w/+=-])"), _dense),
}


def spans(text: str, kinds: Collection[Kind] = KINDS) -> Iterator[Span]:
    """What is found, in order of place; where two kinds overlap the earlier in KINDS holds the ground."""
    taken: list[Span] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        pattern, proves = _PATTERNS[kind]
        for match in pattern.finditer(text):
            start, end = match.span()
            if proves(match.group()) and all(end <= s.start or start >= s.end for s in taken):
                taken.append(Span(kind, start, end))
    yield from sorted(taken, key=lambda s: s.start)


def redact(text: str, kinds: Collection[Kind] = KINDS) -> tuple[str, Counter[str]]:
    """The text with each finding replaced by its kind, such as `[EMAIL]`, and how many there were of each kind."""
    parts, at, counts = [], 0, Counter[str]()
    for kind, start, end in spans(text, kinds):
        parts += [text[at:start], f"[{kind.upper()}]"]
        counts[kind] += 1
        at = end
    return "".join(parts) + text[at:], counts


def evidence(text: str) -> str:
    """A piece of a rejected text that a person may see: redacted first, then cut to EVIDENCE_CHARS, on one line."""
    clear = " ".join(redact(text[: 20 * EVIDENCE_CHARS])[0].split())
    return clear if len(clear) <= EVIDENCE_CHARS else clear[: EVIDENCE_CHARS - 1] + "…"
