"""Personal data and secrets in text: where they stand, and the text without them.

Checksums and registries decide where there are any (Luhn and issuers' ranges for cards, ISO 7064 mod 97 and SWIFT's
lengths for IBANs, IANA's ranges for addresses, ITU's country codes for phones), so that a number that merely looks like
one stays. Key prefixes are those that their issuers publish.

Left as they are, since they lead to nobody and open nothing: hashes (git, MD5, SHA) and UUIDs, which name public things
and of which technical text is full; addresses reserved for documentation (RFC 5737, RFC 3849), loopback and netmasks;
public keys and checksums; values that merely stand for a secret (`<password>`, `$TOKEN`, `changeme`).
"""

import ipaddress
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Literal, NamedTuple, get_args

Kind = Literal["private_key", "token", "email", "iban", "card", "ipv6", "ipv4", "phone", "entropy"]
"""`token` covers keys, tokens and passwords; `entropy` strings that look like one, by their letters alone."""
KINDS: tuple[Kind, ...] = get_args(Kind)

EVIDENCE_CHARS = 160
LONG_CHARS = 20
"""No key, token or random string of fewer characters is looked for where no word says that it is one."""
ENTROPY_BITS = 3.5
"""Shannon bits a character that a random string of LONG_CHARS exceeds."""
WORDINESS_MAX, WORDINESS_MAX_PLAIN = 0.1, -0.05
"""Of a long string: its share in word-like runs less its changes of character class a character; the second where it
has joints (`_`, `-`, `/`) or one number, as names do. Measured: random strings have -0.4 (median) and 0.1 (98th
percentile), identifiers and paths 0.6 (median)."""
JOINT_EVERY = 8
"""Joints stand closer than this in names, and at every 32nd character in random Base64."""


class Span(NamedTuple):
    """One finding: text[start:end] is of that kind."""

    kind: Kind
    start: int
    end: int


_IBAN_LENGTHS = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
"""Characters of an IBAN → countries (SWIFT IBAN Registry)."""

_ISSUERS = [
    (re.compile(ranges), digits)
    for ranges, digits in [
        ("4", {16, 19}),  # Visa; its 13 digits are long withdrawn, and are shops' article numbers
        ("5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|220[0-4]", {16}),  # Mastercard, Mir
        ("3[47]", {15}),  # American Express
        ("3(?:0[0-5]|[689])", {14, 16}),  # Diners
        ("60|62|64[4-9]|65|81|82|35(?:2[89]|[3-8])", {16, 17, 18, 19}),  # Discover, UnionPay, RuPay, JCB
        ("50|5[6-8]|6[379]", {16, 18, 19}),  # Maestro
    ]
]
"""Issuers' ranges and lengths (ISO/IEC 7812)."""

_COUNTRY = (
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|(?:2[1-689]|3[578]|42|5[09]|6[7-9]|8[0578]|9[679])[0-9])"
)
"""Country codes (ITU-T E.164, list of assigned codes)."""
_GAP = r"(?: ?[-/\u2011\u2013] ?|[ .\xa0]\(?|\)[ .-]?|\()"
"""What stands between the groups of a phone number."""

_REAL_IPV6 = [ipaddress.IPv6Network(n) for n in ("2000::/3", "fc00::/7", "fe80::/10", "::ffff:0:0/96")]
"""What IANA has given out; `1::2` is a slice, and `a::b` is code."""
_NOBODYS = [
    ipaddress.ip_network(n)
    for n in (
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"),  # documentation
        *("127.0.0.0/8", "0.0.0.0/8", "224.0.0.0/3"),  # loopback, this network, multicast and netmasks
    )
]

_TOKENS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{40,255}",
    r"gl(?:pat|dt|rt|ptt|soat|cbt)-[\w-]{20,255}",  # GitLab
    r"xox[abeoprs]-[\w-]{16,255}|xapp-[\w-]{20,255}",  # Slack
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}|whsec_[A-Za-z0-9]{24,255}",  # Stripe
    r"sk-(?:ant-|proj-|svcacct-|or-v1-)?[\w-]{20,255}|gsk_\w{40,99}|xai-\w{40,255}|pplx-\w{40,99}|r8_\w{32,64}",
    r"AIza[\w-]{35}(?![\w-])|ya29\.[\w-]{20,999}|GOCSPX-[\w-]{20,64}",  # Google
    r"hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,999}|dckr_pat_[\w-]{20,64}",
    r"SG\.[\w-]{16,32}\.[\w-]{32,64}|key-[0-9a-f]{32}|(?:SK|AC)[0-9a-f]{32}(?!\w)",  # SendGrid, Mailgun, Twilio
    r"[0-9]{8,10}:AA[\w-]{33}(?![\w-])|[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}",  # Telegram, Discord
    r"do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-f]{32}|dapi[0-9a-f]{32}|sq0(?:atp|csp)-[\w-]{22,64}",
    r"(?:hv[sbr]\.|glsa_|glc_|lin_api_|figd_|sbp_|ntn_|NRAK-|PMAK-|dp\.pt\.)[\w-]{20,255}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{58}|eyJ[\w-]{8,2000}\.eyJ[\w-]{8,9000}\.[\w-]{8,2000}",  # age, JSON Web Token
)
_PEM = r"-----(?:BEGIN) [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_CALLED_SO = (
    r"(?i:passw(?:or)?d|passphrase|pwd|secret(?:[_-]?(?:key|token))?"
    r"|(?:api|access|account)[_-]?key|(?:auth|private|signing|encryption|master|shared)[_-]key"
    r"|(?:auth|access)[_-]?token|(?:api|refresh|bot|session|personal|id)[_-]token)(?:_(?:key|value|prod|dev|staging|live|test|main)\b|_?[0-9]{1,2})?"
)
_SECRET_WORDS = (
    *("passw", "passphrase", "pwd", "secret", "_key", "-key", "apikey", "accesskey", "accountkey"),
    *("_token", "-token", "authtoken", "accesstoken"),
)
"""One of these, in lower case, stands wherever `_CALLED_SO` matches."""
_STANDS_FOR = re.compile(
    r"(?i)[<\[{$%*#].*|[x.*_-]+|.*(?:your|example|placeholder|changeme|change_me|redacted|dummy|\*\*\*|xxx).*"
    r"|(?:my|the|some|new|old|db|user|admin|test)?[_-]?(?:pass(?:word|wd|phrase)?|pwd|secret|token|(?:api)?[_-]?key)s?"
    r"|~?/\.?[a-z]{2,12}(?:/.*)?|[A-Z]:\\.*|sample|none|null|true|false|string|required|optional|username"
)
_JOINED_WORDS = re.compile(r"(?:[A-Za-z]+[0-9]*|[0-9]+)(?:[_.:/-]+(?:[A-Za-z]+[0-9]*|[0-9]+))+")
_WORDLIKE = re.compile(r"[A-Za-z][a-z]{3,512}|[A-Z]{4,512}")
_HASH = re.compile(r"[0-9a-f]{16,512}")
_CHANGE = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
_DATE = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}([./-])[0-9]{1,2}\2[0-9]{1,2}")
_ZIP = re.compile(r"[0-9]{5}-[0-9]{4}")  # of the United States, with its four further digits
_VERSION_BEFORE = re.compile(
    r"(?i)(?:\b(?:version|ver|v|releases?|rel|rev(?:ision)?|build|firmware|patch|section|sect?|chapter|clause|figure"
    r"|fig|table|appendix|rule|upgraded? (?:to|from)|§)[.:]?|§|[a-z]/|[a-z0-9]-|[=<>~^]=)\s{0,2}\Z"
)
_NETWORK_NEAR = re.compile(
    r"(?i)\b(?:ip|ipv4|addr(?:ess)?|host|server|ping|dns|subnet|gateway|router|proxy|ssh|nameserver)\b|://"
)
_PUBLIC_BEFORE = re.compile(r"(?i)(?:sha(?:1|256|384|512)|md5)[-:=]\Z")


def _luhn(match: re.Match[str]) -> bool:
    digits = re.sub(r"[^0-9]", "", match.group())
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(map(int, reversed(digits)))]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1 and _issued(digits)


def _issued(digits: str) -> bool:
    return any(len(digits) in lengths and ranges.match(digits) for ranges, lengths in _ISSUERS)


def _iban(match: re.Match[str]) -> bool:
    packed = re.sub(r"[ \xa0]", "", match.group())
    return int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1


def _ipv4(match: re.Match[str]) -> bool:
    """An address that may be someone's: small numbers are a version unless something near speaks of a network."""
    try:
        found = ipaddress.IPv4Address(match.group())
    except ValueError:
        return False
    before, after = match.string[max(0, match.start() - 40) : match.start()], match.string[match.end() :][:2]
    if any(found in network for network in _NOBODYS) or _VERSION_BEFORE.search(before):
        return False
    small = max(found.packed) < 64 and found.packed[0] != 10  # a version, a section, an object identifier
    return not small or _NETWORK_NEAR.search(before) is not None or re.match(r"[:/][0-9]", after) is not None


def _ipv6(match: re.Match[str]) -> bool:
    try:
        found = ipaddress.IPv6Address(match.group())
    except ValueError:
        return False
    return any(found in n for n in _REAL_IPV6) and not any(found in n for n in _NOBODYS)


def _international(match: re.Match[str]) -> bool:
    """8 to 15 digits (E.164), of which those after the country code do not begin with 0, but in Italy."""
    code, rest = match["code"], re.sub(r"[^0-9]", "", match["rest"].replace("(0)", ""))
    if match.group()[0] == "0" and (match["rest"].isdigit() or re.search(r"[^0-9]00", match["rest"])):
        return False  # numbers with leading zeros
    if code == "1":
        return len(rest) == 10 and rest[0] > "1"
    return 8 <= len(code + rest) <= 15 and (rest[0] != "0" or code == "39") and _alone(match)


def _national(match: re.Match[str]) -> bool:
    groups = re.findall(r"[0-9]+", match.group())
    if (
        _DATE.match(match.group())
        or _ZIP.fullmatch(match.group())
        or not 9 <= sum(map(len, groups)) <= 12
        or not _alone(match)
    ):
        return False
    # Else numbers with leading zeros, in columns.
    return len(groups) < 3 or not all(g[0] == "0" and len(g) > 2 for g in groups[:2])


def _alone(match: re.Match[str]) -> bool:
    """Not one of the numbers of a table's row: groups parted by spaces, with further numbers beside them."""
    if re.search(r"[-()/.+]", match.group()):
        return True
    before, after = match.string[max(0, match.start() - 9) : match.start()], match.string[match.end() :][:9]
    return not (before.rstrip(" \t|")[-1:].isdigit() or after.lstrip(" \t|")[:1].isdigit())


def _called(match: re.Match[str]) -> bool:
    return 7 <= sum(c.isdigit() for c in match["found"]) <= 15 and not _DATE.match(match["found"])


def _secret(match: re.Match[str]) -> bool:
    """A value that is called a secret: a literal in quotes, or what mixes digits with letters as no name in code."""
    value, start, end = match["found"], match.start("found"), match.end("found")
    if _STANDS_FOR.fullmatch(value):
        return False
    if match.string[start - 1 : start] in {'"', "'"}:
        return True
    if match.string[end : end + 1] in {"(", "["} or _JOINED_WORDS.fullmatch(value):
        return False
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _random(match: re.Match[str]) -> bool:
    """A long string that mixes letters and digits and spreads over its alphabet, as keys do and words do not."""
    text = _HASH.sub("", match.group())
    length = max(len(text), 1)
    if not (re.search("[0-9]", text) and re.search("[A-Z]", text) and re.search("[a-z]", text)):
        return False
    if text.startswith("AAAA") or _PUBLIC_BEFORE.search(match.string[max(0, match.start() - 8) : match.start()]):
        return False  # an OpenSSH public key, a checksum
    joints = sum(map(text.count, "_-/"))
    if length < LONG_CHARS or re.match(r"sha(?:1|256|384|512)-", text) or joints > length / JOINT_EVERY:
        return False
    plain = joints > 0 or len(re.findall("[0-9]+", text)) < 2  # as names are, too
    wordiness = (sum(map(len, _WORDLIKE.findall(text))) - len(_CHANGE.findall(text))) / length
    if wordiness > (WORDINESS_MAX_PLAIN if plain else WORDINESS_MAX):
        return False
    return -sum(n / length * math.log2(n / length) for n in Counter(text).values()) >= ENTROPY_BITS


def _not_a_stand_in(match: re.Match[str]) -> bool:
    return not _STANDS_FOR.fullmatch(match["found"])


_IBANS = "|".join(
    rf"(?:{'|'.join(countries.split())})[0-9]{{2}}(?:[ \xa0]?[A-Z0-9]){{{length - 4}}}"
    for length, countries in _IBAN_LENGTHS.items()
)
# fmt: off
_PATTERNS: list[tuple[str, Kind, str, Callable[[re.Match[str]], bool]]] = [
    ("pem", "private_key",
     rf"{_PEM}(?:(?:(?!-----)[\s\S]){{1,20000}}-----END [A-Z ]{{0,30}}PRIVATE KEY(?: BLOCK)?-----"
     r"|(?:(?:\s|\\n){1,4}[A-Za-z0-9+/=]{16,128}){1,300})", bool),
    ("token", "token", rf"(?<![\w-])(?:{'|'.join(_TOKENS)})", bool),
    ("login", "token", r"""://[^\s:@/"'<>]{0,64}:(?P<found>[^\s@/"'<>]{3,128})@""", _not_a_stand_in),
    ("called", "token",
     rf"""{_CALLED_SO}(?:["'\]]{{0,2}}\s{{0,3}}(?::=|=>|[:=>])|(?i: is| was))\s{{0,3}}["']?"""
     r"""(?P<found>(?<=["'])[^"'\s]{6,128}(?=["'])|[^\s"'(){}\[\]<>,;$]{5,127}[^\s"'(){}\[\]<>,;$.:!?])""", _secret),
    ("bearer", "token", r"\b(?i:bearer|basic) (?P<found>[\w.~+/-]{20,512}={0,2})", _secret),
    ("email", "email",
     r"(?<![\w.%+-])[\w.%+-]{1,64}(?:@| ?[\[(](?i:at)[\])] ?)"
     r"(?:[\w-]{1,63}(?:\.| ?[\[(](?i:dot)[\])] ?)){1,8}"
     r"(?!(?:png|jpe?g|gif|svg|webp|ico|css|js|ts|html?|json|ya?ml|txt|pdf)\b)"
     r"(?:xn--[\w-]{2,59}|[^\W\d_]{2,24})(?!\w|:[\w~/])", bool),
    ("iban", "iban", rf"(?<![A-Z0-9])(?:{_IBANS})(?![A-Za-z0-9])", _iban),
    ("digits", "card",
     r"(?<![\w.-])(?:[0-9]{14,19}|[0-9]{4}(?P<a>[ \xa0-])[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{4}(?:(?P=a)[0-9]{3})?"
     r"|[0-9]{4}(?P<b>[ \xa0-])[0-9]{6}(?P=b)[0-9]{4,5})(?![\w-]|\.[0-9])", _luhn),
    ("ipv6", "ipv6",
     r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:)"
     r"[0-9A-Fa-f:]{2,39}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![\w:])", _ipv6),
    ("digits", "ipv4", r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\.?\w)", _ipv4),
    ("digits", "phone",
     rf"(?:(?<![\w+])\+|(?<![\w+.,/-])00 ?)(?P<code>{_COUNTRY})"
     rf"(?P<rest>[0-9]{{6,12}}|[0-9]{{0,5}}(?:{_GAP}[0-9]{{1,8}}){{0,5}}{_GAP}[0-9]{{2,8}})(?![\w:])", _international),
    ("digits", "phone",
     r"(?<![\w.+/-])(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.-])[0-9]{3}[ .-][0-9]{4}(?!\w|[.-][0-9])",
     bool),
    ("digits", "phone",
     rf"(?<![\w.+/-])\(?0[1-9][0-9]{{0,4}}(?:{_GAP}[0-9]{{2,8}}){{1,4}}(?![\w:]|[.-][0-9])", _national),
    ("digits", "phone",
     r"(?i:\b(?:tele?phone?|telefono?|phone|tel|fax|mobile?|cell|call|ring|dial|sms|whatsapp|hotline|reach|handy))"
     r"\b[\w .:#=]{0,12}?"
     rf"(?<![\w.])(?P<found>[0-9]{{7,15}}|\(?[0-9]{{2,5}}(?:{_GAP}[0-9]{{2,6}}){{1,5}})(?![\w:]|[.-][0-9])", _called),
    ("random", "entropy", rf"(?<![\w/+-])[A-Za-z0-9+/_-]{{{LONG_CHARS},512}}(?![\w/+-])={{0,2}}", _random),
]
# fmt: on
"""(what must be possible, kind, pattern, proof); the finding is the group `found`, or else the whole match."""
_COMPILED = [(need, kind, re.compile(pattern), proves) for need, kind, pattern, proves in _PATTERNS]
_IN_A_WORD = {need: pattern for need, _, pattern, _ in _COMPILED if need in {"token", "random"}}
_MANY_DIGITS = re.compile(r"[0-9](?:[ ().\-/\xa0\u2011\u2013]{0,3}[0-9]){6}|[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_IBAN_BEGINS = re.compile(r"[A-Z][A-Z][0-9][0-9][ \xa0]?[A-Z0-9]{2}")


def _possible(text: str) -> set[str]:
    """What a text may hold, by tests that cost microseconds."""
    low = text.lower()
    long = [word for word in text.split() if len(word) >= LONG_CHARS]
    tests = {
        "pem": "private key" in low,
        "token": any(map(_IN_A_WORD["token"].search, long)),
        "login": "://" in text and "@" in text,
        "called": any(word in low for word in _SECRET_WORDS),
        "bearer": long and ("bearer " in low or "basic " in low),
        "email": "@" in text or "at]" in low or "at)" in low,
        "iban": _IBAN_BEGINS.search(text),
        "digits": _MANY_DIGITS.search(text),
        "ipv6": "::" in text or text.count(":") > 6,
        "random": any(w.lower() != w != w.upper() and _IN_A_WORD["random"].search(w) for w in long),  # see `_random`
    }
    return {need for need, holds in tests.items() if holds}


def may_hold(text: str) -> bool:
    """Whether a closer look is worth it; False means that `spans` finds nothing."""
    return bool(_possible(text))


def spans(text: str, kinds: Collection[Kind] = KINDS) -> Iterator[Span]:
    """What is found, in order of place; where two kinds overlap the earlier in KINDS holds the ground.

    Time is linear in the text: every repetition in a pattern is bounded.
    """
    possible = _possible(text)
    taken: list[Span] = []
    for need, kind, pattern, proves in _COMPILED:
        if need in possible and kind in kinds:
            group = "found" if "found" in pattern.groupindex else 0
            found = (Span(kind, *match.span(group)) for match in pattern.finditer(text) if proves(match))
            taken = sorted([*taken, *_apart(found, taken)], key=lambda s: s.start)
    yield from taken


def _apart(found: Iterator[Span], taken: list[Span]) -> Iterator[Span]:
    """Those found that overlap nothing taken; both in order of place."""
    starts = [s.start for s in taken]
    for span in found:
        at = bisect_right(starts, span.start)
        if (at == 0 or taken[at - 1].end <= span.start) and (at == len(taken) or span.end <= starts[at]):
            yield span


def redact(text: str, kinds: Collection[Kind] = KINDS, until: int | None = None) -> tuple[str, Counter[str]]:
    """text[:until], each finding replaced by its kind, such as `[EMAIL]`, and how many there were of each kind."""
    parts, at, counts = [], 0, Counter[str]()
    for kind, start, end in spans(text, kinds):
        if until is not None and start >= until:
            break
        parts += [text[at:start], f"[{kind.upper()}]"]
        counts[kind] += 1
        at = end
    return "".join(parts) + text[at:until], counts


def evidence(text: str) -> str:
    """A piece of a rejected text that a person may see: redacted first, then cut to EVIDENCE_CHARS, on one line."""
    cut, beyond = 2 * EVIDENCE_CHARS, 4 * EVIDENCE_CHARS  # or a piece would be shown of what lies across the cut
    clear = " ".join(redact(text[:beyond], until=cut)[0].split())
    return clear if len(text) <= cut and len(clear) <= EVIDENCE_CHARS else clear[: EVIDENCE_CHARS - 1] + "…"
