from nightforge.clean.pii import SAMPLE, Config, judge
from nightforge.records import Record, Reject
from nightforge.view import View

MEMBERS = "ann@example.org, bob@example.org and 10.0.0.1"


def judged(text: str, **changes: object) -> list[Reject]:
    return list(judge(View(Record(id="1", text=text)), Config(**{**SAMPLE.model_dump(), **changes})))


def test_every_bound_that_is_broken_is_a_reason() -> None:
    assert judged(MEMBERS, findings_max=3, char_share_max=1) == []
    assert judged(MEMBERS, findings_max=2, char_share_max=0.8) == [
        Reject("too_many_findings", "3 > 2: email 2, ipv4 1"),
        Reject("too_much_in_findings", "0.84 > 0.8: email 2, ipv4 1"),
    ], "38 of 45 characters"


def test_only_the_kinds_asked_for_and_an_empty_text() -> None:
    assert judged(MEMBERS, kinds=["ipv4"], findings_max=1, char_share_max=1) == []
    assert judged("", findings_max=0, char_share_max=0) == judged("a plant", findings_max=0, char_share_max=0) == []
