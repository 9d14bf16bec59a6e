from nightforge.clean.redact import SAMPLE, Config, apply
from nightforge.records import Record


def test_text_prompt_and_response_are_redacted_and_counted() -> None:
    text = "ask jane@example.org at 10.0.0.1"
    given = Record(id="1", text=text, prompt=text, response="none here", meta={"kind": "x"})
    result = apply(given, SAMPLE)
    assert isinstance(result, Record)
    assert result.text == result.prompt == "ask [EMAIL] at [IPV4]"
    assert result.response == "none here"
    assert result.meta == {"kind": "x", "redactions": {"email": 1, "ipv4": 1}}
    assert given.meta == {"kind": "x"}


def test_nothing_found_is_the_same_record() -> None:
    given = Record(id="1", text="a plant")
    assert apply(given, SAMPLE) is given
    assert apply(Record(id="1", text="10.0.0.1"), Config(kinds=["email"])).text == "10.0.0.1"  # type: ignore[union-attr]
