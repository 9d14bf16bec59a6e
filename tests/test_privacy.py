import random
import string
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge import privacy
from nightforge.privacy import EVIDENCE_CHARS, evidence, redact, spans

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
        ("host 2001:db8::1 and fe80:0:0:0:0:0:0:1", "host [IPV6] and [IPV6]"),
        (f"key {AWS} and {GITHUB}", "key [TOKEN] and [TOKEN]"),
        ('api_key = "s3cr3t-value"', '[TOKEN]"'),
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


def test_every_luhn_number_is_a_card_and_its_neighbour_is_not() -> None:
    rng = random.Random(5)
    for _ in range(100):
        body = "4" + "".join(rng.choice(string.digits) for _ in range(14))
        found = [d for d in string.digits if redact(body + d, ["card"])[1]]
        assert len(found) == 1, "one check digit of ten is right"


def test_long_input_is_quick() -> None:
    for text in ("a" * 50_000, "1 " * 25_000, "a@" * 25_000, ":" * 50_000, "1.1." * 12_000, "A1b" * 15_000):
        assert isinstance(redact(text)[0], str)  # quadratic patterns would hang here
    assert privacy.KINDS
