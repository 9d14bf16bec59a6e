from nightforge.clean.unicode import SAMPLE, Config, apply
from nightforge.records import Record, Reject


def mend(text: str, cfg: Config = SAMPLE) -> str:
    result = apply(Record(id="1", text=text), cfg)
    return result.reason if isinstance(result, Reject) else result.text


def test_mojibake_and_normal_form() -> None:
    assert mend("cafÃ© â€“ naÃ¯ve") == "café – naïve"
    assert mend("cafe\u0301") == "café"
    assert mend("a\r\nb\x00") == "a\nb"
    assert mend("x² “so”") == "x² “so”", "NFC keeps superscripts, and quotes stay curly"
    assert mend("x²", Config(normal_form="NFKC", uncurl_quotes=False)) == "x2"


def test_markup_stays_and_nothing_is_rejected_but_the_empty() -> None:
    assert mend("a &amp; b <p>") == "a &amp; b <p>"
    assert mend(" \n") == "empty"


def test_prompt_and_response_are_mended_too() -> None:
    result = apply(Record(id="1", text="cafÃ©", prompt="cafÃ©", response=None), SAMPLE)
    assert isinstance(result, Record) and result.prompt == "café" and result.response is None
