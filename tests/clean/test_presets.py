"""The presets of params.yaml: each keeps a good document of its kind, and drops bad ones for the reasons named here."""

from functools import cache, partial
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge.records import Edit, Record, Reject, chat_text, edited, pair_text
from nightforge.view import View
from tasks.clean import CleanConfig
from tasks.clean_rules import Rule, bind, kind

ROOT = Path(__file__).resolve().parents[2]
ARTICLE = """Home | News | About us | Contact
We use cookies to improve this page. Accept all cookies?

<p>Oak trees grow slowly, and that is why their wood is so hard. A tree of two hundred years may be thirty metres tall,
with roots that reach as far around it as its branches do.</p>
<p>In spring the leaves come late, often not before the end of May. By then most of the flowers of the forest floor have
had their light and are gone again. Jays carry the acorns away in autumn and bury them, and what they do not find again
becomes the next forest. Write to jane.doe@example.org if you have seen one of the old trees!</p>
<p>People have used the bark to make leather for a very long time. Today the bark has little value, but the wood has
more of it than ever. It is made into barrels, floors and ships.</p>"""
MANUAL = """Reading a configuration
=======================

The function `load()` reads a file and returns its values as a dictionary. Lines that begin with # are comments:

    from tool import load
    cfg = load("/etc/tool.conf", strict=True)   # raises KeyError
    if cfg["retries"] > 3:
        cfg["retries"] = {"read": 3, "write": 1}

Option      Default   Meaning
retries     3         how often a request is sent again
timeout_s   30        seconds until it is given up
verbose     false     whether every request is printed

- A value that is not known is an error.
- A value that is not given is the default.

See also `dump()`, which writes the file again, and the section on environment variables..."""
INDEX = "\n".join(f"get_{name}() (module urllib.{name})\n" for name in "abcdefghijklmnopqrstuvwxyz")
MENU = "\n".join(f"{name}\nprice {name} 12" for name in ("Oak", "Elm", "Ash", "Fir", "Yew", "Box", "Bay", "Fig") * 8)
GERMAN = (
    """Eichen wachsen langsam, und darum ist ihr Holz so hart. Ein Baum von zweihundert Jahren kann dreißig Meter
hoch sein, mit Wurzeln, die so weit reichen wie seine Äste. Im Frühling kommen die Blätter spät. """
    * 3
)
ASKED = "How tall does an oak tree grow?"


@cache
def rules(preset: str) -> list[Rule]:
    clean = yaml.safe_load((ROOT / "params.yaml").read_text())["clean"]
    chosen = CleanConfig.model_validate(clean).presets[preset]
    return [bind(rule, ROOT / "no assets") for rule in chosen if kind(rule.module) != "corpus rule"]


def text_of(rule: Rule, text: str) -> str:
    made: Edit = rule.call(text)
    return made.text


def through(preset: str, record: Record) -> tuple[str, set[str]]:
    """The text as it comes out, and `rule:reason` of all that fired."""
    fired = set()
    for rule in rules(preset):
        if rule.kind == "editor":
            record = edited(record, partial(text_of, rule))
        else:
            fired |= {f"{rule.name}:{why.reason}" for why in rule.call(View(record)) if isinstance(why, Reject)}
    return record.text, fired


def plain(text: str) -> Record:
    return Record(id="1", text=text)


def pair(prompt: str, response: str) -> Record:
    return Record(id="1", text=pair_text(prompt, response), prompt=prompt, response=response)


def chat(*turns: tuple[str, str]) -> Record:
    messages = [{"role": role, "content": content} for role, content in turns]
    return Record(id="1", text=chat_text(messages), meta={"messages": messages})


def test_there_are_the_four() -> None:
    assert list(yaml.safe_load((ROOT / "params.yaml").read_text())["clean"]["presets"]) == [
        "short", "web", "technical", "instruction"
    ]  # fmt: skip


def test_web_keeps_an_article_without_its_page() -> None:
    text, fired = through("web", plain(ARTICLE))
    assert fired == set()
    assert text.startswith("Oak trees grow slowly") and "cookies" not in text and "<p>" not in text
    assert "[EMAIL]" in text


def test_technical_keeps_a_manual_to_the_letter_and_web_does_not() -> None:
    assert through("technical", plain(MANUAL)) == (MANUAL, set())
    assert through("web", plain(MANUAL))[1] >= {"c4:curly_bracket"}


def test_instruction_keeps_pairs_and_chats() -> None:
    assert through("instruction", pair(ASKED, "40 m."))[1] == set()
    assert through("instruction", chat(("user", ASKED), ("assistant", "Up to forty metres.")))[1] == set()
    text, fired = through("instruction", pair("Greet Jane.", "Dear jane.doe@example.org, hello!"))
    assert "[EMAIL]" in text and not fired


def test_short_keeps_a_definition() -> None:
    assert through("short", plain("a tall perennial herb with showy flowers"))[1] == set()


@pytest.mark.parametrize(
    ("preset", "record", "reasons"),
    [
        ("web", plain(MENU), {"fineweb:short_lines", "repetition:repeated_lines", "gopher_quality:few_stop_words"}),
        ("web", plain(GERMAN), {"language:other_language", "gopher_quality:few_stop_words"}),
        ("web", plain("Lorem ipsum dolor sit amet. " * 20), {"c4:lorem_ipsum", "repetition:repeated_5_grams"}),
        ("technical", plain(INDEX), {"gopher_quality:few_stop_words"}),
        ("technical", plain("0x2f 0x31 | 11 22 33 44 55 ; " * 20), {"symbols:digits", "repetition:repeated_4_gram"}),
        ("technical", plain(GERMAN), {"language:other_language"}),
        ("instruction", pair(ASKED, " "), {"turns:empty_response"}),
        ("instruction", pair(ASKED, ASKED + " Tell me."), {"turns:response_echoes_prompt"}),
        ("instruction", pair(ASKED, "tall " * 60), {"repetition:repeated_1_gram", "repetition:repeated_5_grams"}),
        ("instruction", chat(("user", ASKED)), {"turns:ends_without_assistant"}),
        ("short", plain("buy now buy now buy now buy now"), {"repetition:repeated_2_gram"}),
        ("short", plain("oak"), {"length:too_few_words", "length:too_few_characters"}),
    ],
)
def test_bad_documents_go_for_the_right_reasons(preset: str, record: Record, reasons: set[str]) -> None:
    assert through(preset, record)[1] >= reasons


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("ab<p>/&;.\n |`>#-{", max_size=200))
@settings(deadline=None)
def test_no_text_breaks_a_preset(text: str) -> None:
    for preset in ("short", "web", "technical", "instruction"):
        made, fired = through(preset, plain(text))
        made.encode()
        assert all(why.split(":")[1].isidentifier() for why in fired)
