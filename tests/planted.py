"""Personal data and secrets planted in prose and technical text, beside what merely looks like them; all seeded.

The values are made from what their issuers publish (check digits, lengths, prefixes, numbering plans), not from the
patterns that look for them. Nobody's: random digits and letters.
"""

import base64
import ipaddress
import random
import string
import uuid
from collections.abc import Callable
from typing import NamedTuple

from nightforge.privacy import Kind

PROSE = [
    "The committee met again on the third of May, and the minutes ({}) were read aloud before lunch.",
    "If you have any questions about the delivery, {} is what you should use; the old one is no longer valid.",
    "She wrote down {} on the back of an envelope. Nobody asked why!",
    "For the year 2019 the society counted 1,204 members, 37% more than in 1998, see {}.",
    "Dear all,\n\nplease note that from Monday on {} applies.\n\nKind regards\nthe office",
    "Die neue Angabe lautet {}, und sie gilt ab sofort für alle Abteilungen.",
    "Il a noté {} dans son carnet, puis il est parti à 14:30.",
    "- bread\n- milk\n- {}\n- two dozen eggs (12 × 2)",
]
TECHNICAL = [
    "# see the manual, section 4.2\nvalue = {}\nretries = 3  # seconds: 0.5\n",
    "2026-11-22T19:23:18.123Z INFO worker-7 [pid 23121] got {} in 12.5 ms (status=200)",
    "| field | type | example |\n|---|---|---|\n| x | str | {} |\n| n | int64 | 9007199254740991 |",
    '{{"id": 17, "value": "{}", "ok": true, "ratio": 0.333, "tags": ["a", "b"]}}',
    '<td class="c1">{}</td><!-- std::vector<int> v(10); -->',
    "Run `make test` first; the output then holds {} (see \\cite{{knuth1984}} and $x_1^2 + 3$).",
    "def handle(request):\n    # {}\n    return request.user.id[1::2]\n",
]


class Case(NamedTuple):
    """A text, and where in it something of a kind stands; kind is None where nothing does."""

    text: str
    kind: Kind | None
    start: int
    end: int
    what: str


Value = tuple[str, str]
"""What is planted, and the part of it that must be found."""


def _pick(rng: random.Random, alphabet: str, n: int) -> str:
    return "".join(rng.choices(alphabet, k=n))


def _digits(rng: random.Random, n: int) -> str:
    return _pick(rng, string.digits, n)


def _luhn(body: str) -> str:
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def _fours(text: str, gap: str = " ") -> str:
    return gap.join(text[i : i + 4] for i in range(0, len(text), 4))


def email(rng: random.Random) -> Value:
    name = rng.choice(["jane.doe", "j.smith42", "müller", "o_brien+news", "x", "first-last", "SALES", "a.b.c%lists"])
    host = rng.choice(["example.org", "mail.uni-köln.de", "corp.co.uk", "foo-bar.io", "sub.dom.museum", "x.xn--p1ai"])
    at = rng.choice(["@"] * 7 + [" [at] ", "(at)"])
    return (found := f"{name}{rng.randrange(99) or ''}{at}{host}"), found


def phone(rng: random.Random) -> Value:
    d = lambda n: rng.choice("23456789") + _digits(rng, n - 1)  # noqa: E731
    gap = rng.choice(" .-")
    found = rng.choice(
        [
            f"+1{gap}{d(3)}{gap}{d(3)}{gap}{_digits(rng, 4)}",
            f"+1 ({d(3)}) {d(3)}-{_digits(rng, 4)}",
            f"({d(3)}) {d(3)}-{_digits(rng, 4)}",
            f"{d(3)}-{d(3)}-{_digits(rng, 4)}",
            f"1-800-{d(3)}-{_digits(rng, 4)}",
            f"+44 20 {d(4)} {_digits(rng, 4)}",
            f"+44 (0)7{d(3)} {_digits(rng, 6)}",
            f"020 {d(4)} {_digits(rng, 4)}",
            f"07{d(3)} {_digits(rng, 6)}",
            f"+49{d(3)}{_digits(rng, 7)}",
            f"+49 (0) 30 {d(4)}-{_digits(rng, 2)}",
            f"0049 89 {d(7)}",
            f"030 {d(7)}",
            f"0171/{d(7)}",
            f"+33 6 {d(2)} {_digits(rng, 2)} {_digits(rng, 2)} {_digits(rng, 2)}",
            f"0{d(1)} {d(2)} {_digits(rng, 2)} {_digits(rng, 2)} {_digits(rng, 2)}",
            f"+91 {d(5)} {_digits(rng, 5)}",
            f"+55 11 9{d(4)}-{_digits(rng, 4)}",
            f"+86 138 {d(4)} {_digits(rng, 4)}",
            f"03-{d(4)}-{_digits(rng, 4)}",
            f"+39 06 {d(4)} {_digits(rng, 4)}",
            f"+420{d(9)}",
        ]
    )
    if rng.random() < 0.2:
        found = rng.choice([f"{d(3)} {d(3)} {_digits(rng, 3)}", d(7), d(10), f"{d(3)} {_digits(rng, 4)}"])
        return f"{rng.choice(['tel.', 'Phone:', 'fax no.', 'call me at', 'mobile'])} {found}", found
    return found, found


def card(rng: random.Random) -> Value:
    ranges = {"4": 16, "51": 16, "55": 16, "2221": 16, "34": 15, "37": 15, "6011": 16, "3589": 16, "65": 16, "36": 14}
    body, groups = rng.choice([*ranges.items(), ("4", 19)])
    number = _luhn(body + _digits(rng, groups - 1 - len(body)))
    gap = rng.choice(["", " ", "-", " "])
    uneven = gap and groups in {14, 15}
    found = gap.join([number[:4], number[4:10], number[10:]]) if uneven else _fours(number, gap)
    return found, found


_BBAN = {
    "DE": "n18", "GB": "a4n14", "FR": "n10c11n2", "NL": "a4n10", "ES": "n20", "IT": "a1n10c12", "NO": "n11",
    "BE": "n12", "CH": "n5c12", "PL": "n24", "MT": "a4n5c18", "SE": "n20", "LC": "a4c24", "AE": "n19", "BR": "n23a1c1",
}  # fmt: skip


def iban(rng: random.Random) -> Value:
    country, shape = rng.choice(sorted(_BBAN.items()))
    bban, at = "", 0
    while at < len(shape):
        length = shape[at + 1 : at + 3] if shape[at + 1 : at + 3].isdigit() else shape[at + 1]
        alphabet = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}
        bban += _pick(rng, alphabet[shape[at]], int(length))
        at += 1 + len(length)
    number = int("".join(str(int(c, 36)) for c in bban + country + "00"))
    whole = f"{country}{98 - number % 97:02d}{bban}"
    return (found := _fours(whole) if rng.random() < 0.5 else whole), found


def ipv4(rng: random.Random) -> Value:
    while True:
        found = ipaddress.IPv4Address(rng.getrandbits(32))
        if found.is_global and not found.is_multicast and max(found.packed) > 31:
            break
    private = f"{rng.choice(['10.0', '192.168', '172.16'])}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    text = private if rng.random() < 0.3 else str(found)
    return text + rng.choice(["", "", ":8080", "/24"]), text


def ipv6(rng: random.Random) -> Value:
    first = rng.choice([0x2A00, 0x2600, 0x2001, 0xFE80, 0xFD12]) << 112
    zeros = 0 if rng.random() < 0.5 else ~(0xFFFFFFFFFFFF << 16)
    found = ipaddress.IPv6Address(first | (0x4A5 << 96) | (rng.getrandbits(96) & (zeros & (2**96 - 1) or 2**96 - 1)))
    text = rng.choice([found.compressed, found.exploded, found.compressed.upper()])
    return text, text


_MIXED = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


def _token(rng: random.Random) -> str:
    make = [
        lambda: "AKIA" + _pick(rng, string.ascii_uppercase + "234567", 16),
        lambda: "ghp_" + _pick(rng, _MIXED, 36),
        lambda: "github_pat_" + _pick(rng, _MIXED, 22) + "_" + _pick(rng, _MIXED, 59),
        lambda: "glpat-" + _pick(rng, _MIXED + "-_", 19) + "a",
        lambda: f"xoxb-{_digits(rng, 12)}-{_digits(rng, 12)}-{_pick(rng, _MIXED, 24)}",
        lambda: "sk_live_" + _pick(rng, _MIXED, 24),
        lambda: "sk-proj-" + _pick(rng, _MIXED, 48),
        lambda: "sk-ant-api03-" + _pick(rng, _MIXED + "-_", 90) + "AA",
        lambda: "AIza" + _pick(rng, _MIXED, 35),
        lambda: "hf_" + _pick(rng, string.ascii_letters, 34),
        lambda: "npm_" + _pick(rng, _MIXED, 36),
        lambda: "pypi-AgEIcHlwaS5vcmc" + _pick(rng, _MIXED, 120),
        lambda: f"SG.{_pick(rng, _MIXED, 22)}.{_pick(rng, _MIXED, 43)}",
        lambda: f"{_digits(rng, 9)}:AA{_pick(rng, _MIXED, 33)}",
        lambda: "dop_v1_" + _pick(rng, _HEX, 64),
        lambda: "shpat_" + _pick(rng, _HEX, 32),
        lambda: "hvs." + _pick(rng, _MIXED, 90),
        lambda: (
            ".".join(
                base64.urlsafe_b64encode(part).decode().rstrip("=")
                for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"%d","iat":1516239022}' % rng.randrange(10**9))
            )
            + "."
            + _pick(rng, _MIXED + "-_", 42)
            + "k"
        ),
    ]
    return rng.choice(make)()


def token(rng: random.Random) -> Value:
    if rng.random() < 0.5:
        return (found := _token(rng)), found
    secret = _pick(rng, _MIXED, rng.randrange(8, 24)) + rng.choice("!#%&+?") + rng.choice(string.digits) + "q"
    hexed = _pick(rng, _HEX, 31) + "a1"
    plain = rng.choice(["hunter2x", "Tr0ub4dor&3", "s3cr3t-value", "qwerty123"])
    url = _pick(rng, _MIXED, 12) + "7x"
    return rng.choice(
        [
            (f"DB_PASSWORD={secret}", secret),
            (f'password: "{secret}"', secret),
            (f"passwd = '{plain}'", plain),
            (f"api_key={hexed}", hexed),
            (f"CLIENT_SECRET := {hexed}", hexed),
            (f"the password is {plain}", plain),
            (f"Authorization: Bearer {hexed}", hexed),
            (f"postgresql://app:{url}@db.internal:5432/main", url),
            (f"amqps://user:{url}@queue/vhost", url),
            (f"AccountKey={(key := base64.b64encode(rng.randbytes(64)).decode())};", key),
            (f"--auth-token={hexed}", hexed),
        ]
    )


def private_key(rng: random.Random) -> Value:
    name = rng.choice(["RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "])
    body = base64.encodebytes(rng.randbytes(rng.randrange(120, 900))).decode().rstrip("\n")
    return (found := f"-----BEGIN {name}PRIVATE KEY-----\n{body}\n-----END {name}PRIVATE KEY-----"), found


def entropy(rng: random.Random) -> Value:
    if rng.random() < 0.5:
        found = _pick(rng, _MIXED, rng.randrange(24, 64)) + "aB3"
    else:
        found = base64.b64encode(rng.randbytes(rng.choice([24, 30, 33, 48]))).decode()
    return found, found


MAKERS: dict[Kind, Callable[[random.Random], Value]] = {
    "private_key": private_key,
    "token": token,
    "email": email,
    "iban": iban,
    "card": card,
    "ipv6": ipv6,
    "ipv4": ipv4,
    "phone": phone,
    "entropy": entropy,
}


def lookalikes(rng: random.Random) -> list[tuple[str, str]]:
    """(what it is, the text) of things that are none of the kinds."""
    d = lambda n: _digits(rng, n)  # noqa: E731
    isbn = f"978-{rng.choice('0123')}-{d(3)}-{d(5)}-{d(1)}"
    visa = _luhn("4" + d(14))
    return [
        ("version", f"v{rng.randrange(9)}.{rng.randrange(30)}.{rng.randrange(99)}"),
        ("version", f"version {rng.randrange(1, 9)}.{rng.randrange(30)}.{rng.randrange(200)}.{rng.randrange(9000)}"),
        ("version", f"release 1.2.{rng.randrange(10)}.{rng.randrange(250)}"),
        ("version", f"1.2.3.{rng.randrange(20)}"),
        ("version", f"numpy=={rng.randrange(3)}.{rng.randrange(30)}.{rng.randrange(9)}.{rng.randrange(9)}"),
        ("version", f"Chrome/{rng.randrange(80, 140)}.0.{rng.randrange(5000)}.{rng.randrange(99)}"),
        ("section", f"section 2.{rng.randrange(40)}.{rng.randrange(90)}.{rng.randrange(60)}"),
        ("ISBN", isbn),
        ("ISBN", f"ISBN 0{d(8)}X"),
        ("ISBN", f"978{d(10)}"),
        ("date", f"{rng.randrange(1, 29):02d}.{rng.randrange(1, 13):02d}.{rng.randrange(1990, 2030)}"),
        ("date", f"2024-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d} {rng.randrange(24):02d}:30:{d(2)}"),
        ("date", f"01.{rng.randrange(1, 13):02d}.2021 10:15"),
        ("date", f"call on 2024-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"),
        ("time", f"{rng.randrange(24)}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"),
        ("git hash", _pick(rng, _HEX, 40)),
        ("git hash", f"commit {_pick(rng, _HEX, 7)}"),
        ("md5", _pick(rng, _HEX, 32)),
        ("sha256", f"sha256:{_pick(rng, _HEX, 64)}"),
        ("integrity", "sha512-" + base64.b64encode(rng.randbytes(64)).decode()),
        ("fingerprint", "SHA256:" + base64.b64encode(rng.randbytes(32)).decode().rstrip("=")),
        ("public key", "AAAAC3NzaC1lZDI1NTE5AAAAI" + _pick(rng, _MIXED, 43)),
        ("UUID", str(uuid.UUID(int=rng.getrandbits(128)))),
        ("UUID", str(uuid.UUID(int=rng.getrandbits(128))).upper()),
        ("order number", f"order {d(12)}"),
        ("order number", f"No. {rng.randrange(1, 9)}{d(3)}-{d(4)}"),
        ("order number", f"PO-{d(4)}-{d(6)}"),
        ("wrong card", visa[:-1] + str((int(visa[-1]) + rng.randrange(1, 10)) % 10)),
        ("IMEI", _luhn("35" + d(12))),
        ("wrong IBAN", f"DE00 {_fours('1' + d(17))}"),
        ("LaTeX", r"\frac{\partial^2 u}{\partial x_{12}^{345}} \approx 1.23456789012e-10"),
        ("path", f"/usr/lib/python3.11/site-packages/Foo{d(2)}/BarBaz/__init__.cpython-311-x86_64-linux-gnu.so"),
        ("path", f"C:\\Users\\Public\\Documents\\Report{d(4)}\\Version2Final.docx"),
        ("hex dump", f"00000{d(2)}0: 4865 6c6c 6f20 776f 726c 6421 {d(4)} {d(4)}  Hello world!"),
        ("hex dump", f"00{d(2)} 00{d(2)} 00{d(2)} {d(4)}"),
        ("table", f"{d(3)} {d(3)} {d(4)} {d(3)}\n{d(3)} {d(3)} {d(4)} {d(3)}"),
        ("table", f"0{d(2)} 0{d(2)} 0{d(2)}"),
        ("table", f"| {d(4)} | {d(7)} | 0.{d(5)} |"),
        ("table", f"1{d(3)}\t0{rng.randrange(1, 9)}{d(2)} {d(6)}\t7{d(3)}"),
        ("number", f"{rng.randrange(1, 999)},{d(3)},{d(3)},{d(3)}"),
        ("number", f"3.{d(15)}"),
        ("number", f"1{d(12)}"),
        ("number", f"+{rng.randrange(1, 9)}{d(3)} / -{d(4)}"),
        ("coordinates", f"+52.{d(5)}, -{rng.randrange(1, 9)}.{d(6)}"),
        ("documentation address", rng.choice([f"192.0.2.{rng.randrange(256)}", f"203.0.113.{rng.randrange(256)}"])),
        ("documentation address", f"2001:db8::{_pick(rng, _HEX, 3)}"),
        ("loopback", rng.choice(["127.0.0.1", "0.0.0.0", "::1", "255.255.255.0"])),
        ("no address", f"256.{rng.randrange(300, 999)}.1.1"),
        ("MAC", ":".join(_pick(rng, _HEX, 2) for _ in range(6))),
        ("code", rng.choice(["a[1::2]", "std::array", "dead::beef()", "Foo::Bar::baz", "x ? a::b : c::d"])),
        ("handle", rng.choice(["@someone", "user@localhost", "logo@2x.png", "lodash@4.17.21", "git@x.org:a/b.git"])),
        ("code", rng.choice(["password = getpass()", "token = tokens[0]", "self.secret = secret", "api_key: str"])),
        ("code", rng.choice(['password = os.environ["DB_PASSWORD"]', "secret = sha256_hash(x)", "max_tokens=128000"])),
        ("stand-in", rng.choice(["password=<password>", "API_KEY=$API_KEY", 'api_key="YOUR_API_KEY_HERE"'])),
        ("stand-in", rng.choice(["postgres://user:password@host/db", "password: ********", "secret: changeme123"])),
        ("identifier", rng.choice(["getElementsByTagName2AndClass", "HTTPServerRequestHandlerV2Factory", "x" * 40])),
        ("identifier", rng.choice(["test_that_Version2_Of_the_thing_works", "org/Apache/Commons/Lang3/StringUtils"])),
        ("identifier", rng.choice(["DER_OID_SZ_c2tnb239v1", "X509V3_EXT_add_alias", "FUSE_" + _pick(rng, _HEX, 32)])),
        ("object identifier", f'"2.5.{rng.randrange(60)}.{rng.randrange(60)}"'),
        ("combinations", "012 013 023 123"),
        ("path", rng.choice(['"PWD": "/home/node/project"', "secret: ~/.ssh/id_rsa1", "PWD=/var/lib/x86"])),
        ("code", "secret_version = '1.001-beta'"),
        ("mention", "the file begins with -----BEGIN RSA PRIVATE KEY----- and ends with its kin"),
        ("prose", "Password: 12-character minimum; the secret of success is patience, key to it all"),
    ]  # fmt: skip


def planted(seed: int, each: int) -> list[Case]:
    """`each` cases of every kind, half in prose and half in technical text."""
    rng, cases = random.Random(seed), []
    for kind, make in MAKERS.items():
        for i in range(each):
            value, part = make(rng)
            text = rng.choice((PROSE, TECHNICAL)[i % 2]).format(value)
            start = text.index(part)
            cases.append(Case(text, kind, start, start + len(part), kind))
    return cases


def negatives(seed: int, each: int) -> list[Case]:
    """Every lookalike `each` times, half in prose and half in technical text."""
    rng, cases = random.Random(seed), []
    for i in range(each):
        for what, value in lookalikes(rng):
            cases.append(Case(rng.choice((PROSE, TECHNICAL)[i % 2]).format(value), None, 0, 0, what))
    return cases
