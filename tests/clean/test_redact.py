from nightforge.clean.redact import SAMPLE, Config, edit
from nightforge.records import Edit


def test_findings_become_their_kind_and_are_counted() -> None:
    assert edit("ask jane@example.org or jo@example.org at 10.0.0.1", SAMPLE) == Edit(
        "ask [EMAIL] or [EMAIL] at [IPV4]", {"email": 2, "ipv4": 1}
    )


def test_only_the_kinds_that_were_asked_for() -> None:
    assert edit("jo@example.org at 10.0.0.1", Config(kinds=["email"])) == Edit("[EMAIL] at 10.0.0.1", {"email": 1})


def test_nothing_found_is_the_same_text() -> None:
    assert edit("a plant", SAMPLE) == Edit("a plant", {})
