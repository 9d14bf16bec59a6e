import random
import string
from collections.abc import Iterator
from itertools import pairwise
from re._constants import MAX_REPEAT, MIN_REPEAT  # type: ignore[import-untyped]
from re._parser import SubPattern, parse  # type: ignore[import-untyped]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench._pii import measure
from nightforge import privacy
from nightforge.privacy import EVIDENCE_CHARS, evidence, may_hold, redact, spans
from tests import planted

AWS = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB = "ghp_" + "a1B2" * 9


@pytest.mark.parametrize(
    ("text", "clear"),
    [
        ("write to jane.doe+x@mail.example.co.uk.", "write to [EMAIL]."),
        ("call +44 20 7946 0958 now", "call [PHONE] now"),
        ("call (555) 123-4567 or 555-123-4567", "call [PHONE] or [PHONE]"),
        ("card 4111 1111 1111 1111, or 378282246310005", "card [CARD], or [CARD]"),
        ("pay DE89 3704 0044 0532 0130 00 today", "pay [IBAN] today"),
        ("host 192.168.1.4:80", "host [IPV4]:80"),
        ("host 2a00:1450::1 and fe80:0:0:0:0:0:0:1", "host [IPV6] and [IPV6]"),
        (f"key {AWS} and {GITHUB}", "key [TOKEN] and [TOKEN]"),
        ('api_key = "s3cr3t-value"', 'api_key = "[TOKEN]"'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end", "[PRIVATE_KEY] end"),
        ("wJalrXUtnFEMIK7MDENGbPxRfiCYzKx9", "[ENTROPY]"),
    ],
)
def test_found(text: str, clear: str) -> None:
    assert redact(text)[0] == clear


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 fails Luhn",
        "DE88 3704 0044 0532 0130 00 fails mod 97",
        "256.1.1.1 is no address, 1.2.3 is a version, 12:30:45 is a time, std::vector<int> is code, ::1 is local",
        "from 1914-1918, 345 million to 310 million; 1,000,000; 3.14159",
        "0000000000000000",
        "pneumonoultramicroscopicsilicovolcanoconiosis is a word and antidisestablishmentarianism too",
        "user@host is no address; @handle; a@b",
    ],
)
def test_left_alone(text: str) -> None:
    assert redact(text) == (text, {})


def test_counts_and_choice_of_kinds() -> None:
    text = "a@example.org b@example.org 10.0.0.1"
    assert redact(text)[1] == {"email": 2, "ipv4": 1}
    assert redact(text, ["ipv4"])[0] == "a@example.org b@example.org [IPV4]"


@given(st.text(alphabet=string.printable + "é漢", max_size=300))
def test_spans_are_ordered_and_apart_and_redaction_is_final(text: str) -> None:
    found = list(spans(text))
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(0 <= s.start < s.end <= len(text) for s in found)
    assert len(redact(text)[0].split("[EMAIL]")) - len(text.split("[EMAIL]")) == sum(s.kind == "email" for s in found)


def test_evidence_is_redacted_before_it_is_cut() -> None:
    mail = "x" * (EVIDENCE_CHARS - 10) + " jane.doe@example.org"
    assert "jane" not in evidence(mail) and len(evidence(mail)) <= EVIDENCE_CHARS
    assert evidence("two\n lines") == "two lines"


@pytest.mark.parametrize("secret", ["john.smith@example.com", "4111 1111 1111 1111", "+44 20 7946 0958"])
def test_evidence_shows_no_piece_of_what_lies_across_a_cut(secret: str) -> None:
    for before in range(1, 25 * EVIDENCE_CHARS):
        shown = evidence(" " * before + secret + " and " * 100)
        assert shown.removesuffix("…").strip().split(" ")[0] in {"", "[EMAIL]", "[CARD]", "[PHONE]"}, before


def test_every_luhn_number_is_a_card_and_its_neighbour_is_not() -> None:
    rng = random.Random(5)
    for _ in range(100):
        body = "4" + "".join(rng.choice(string.digits) for _ in range(14))
        found = [d for d in string.digits if redact(body + d, ["card"])[1]]
        assert len(found) == 1, "one check digit of ten is right"


def repeats(parsed: Any) -> Iterator[int]:
    """The upper bound of every repetition in a parsed pattern."""
    for op, argument in parsed:
        if op in {MAX_REPEAT, MIN_REPEAT}:
            yield int(argument[1])
        for part in argument if isinstance(argument, list | tuple) else ():
            if isinstance(part, SubPattern):
                yield from repeats(part)
            elif isinstance(part, list):
                yield from (n for branch in part if isinstance(branch, SubPattern) for n in repeats(branch))


def test_every_repetition_is_bounded_so_that_time_is_linear() -> None:
    for _, _, pattern, _ in privacy._PATTERNS:
        assert max(repeats(parse(pattern)), default=0) <= 20_000, pattern
    assert max(repeats(parse(r"(?:a|(?=b+)c)"))) > 2**31, "an unbounded one is seen, wherever it stands"


@pytest.mark.parametrize(
    "piece", ["a", "1", "1 ", "a@", "a.a@", ":", "1.1.", "A1b", "eyJ-", "+1 ", "(0", "://:", "key=", "0 "]
)
def test_long_input_ends(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    assert redact(text)[1].total() <= len(text)


def test_ten_megabytes_of_one_character_end() -> None:
    for character in "a1:=":
        assert list(spans(character * 10_000_000)) == []


def test_planted_findings_are_found_and_nothing_else() -> None:
    figures = measure()
    for kind in privacy.KINDS:
        assert figures[f"pii_recall.{kind}"] >= 0.95 and figures[f"pii_precision.{kind}"] >= 0.95, kind
    assert figures["pii_planted"] >= 2_000 and figures["pii_lookalikes"] >= 2_000


def test_planted_values_are_what_they_claim() -> None:
    """A generator of wrong check digits would measure nothing."""
    assert planted._luhn("411111111111111") == "4111111111111111"
    rng = random.Random(1)
    for _ in range(200):
        packed = planted.iban(rng)[0].replace(" ", "")
        assert int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1
        assert packed[:2] in privacy._IBAN_LENGTHS[len(packed)].split()


@given(st.sampled_from([c.text for c in planted.planted(3, 12)]), st.text(max_size=40), st.integers(0, 60))
def test_the_cheap_look_misses_nothing(text: str, noise: str, at: int) -> None:
    text = text[:at] + noise + text[at:]
    with_it = list(spans(text))
    assert may_hold(text) or not with_it
    every = {need for need, *_ in privacy._COMPILED}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privacy, "_possible", lambda _: every)
        assert list(spans(text)) == with_it


def test_plain_prose_needs_no_closer_look() -> None:
    text = (
        "In 1998 the society (37 members) met on 3 May at 14:30; it paid $1,200.50 for tea: a record. See chapter 2.4."
    )
    assert not may_hold(text)
    assert may_hold("jane@example.org")
