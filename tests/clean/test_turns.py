import pytest

from nightforge.clean.turns import SAMPLE, judge
from nightforge.records import Record, chat_text, pair_text
from nightforge.view import View

ASKED, ANSWERED = "How tall is an oak tree?", "Some forty metres at most."


def chat(*turns: tuple[str, str]) -> set[str]:
    messages = [{"role": role, "content": content} for role, content in turns]
    record = Record(id="1", text=chat_text(messages), meta={"messages": messages})
    return {why.reason for why in judge(View(record), SAMPLE)}


def pair(prompt: str, response: str) -> set[str]:
    record = Record(id="1", text=pair_text(prompt, response), prompt=prompt, response=response)
    return {why.reason for why in judge(View(record), SAMPLE)}


def test_well_formed_chats_pairs_and_plain_texts_stay() -> None:
    assert chat(("user", ASKED), ("assistant", ANSWERED)) == set()
    assert chat(("system", ""), *[("user", ASKED), ("assistant", ANSWERED)] * 3) == set()
    assert chat(("user", ASKED), ("assistant", ANSWERED), ("tool", "40"), ("tool", "m"), ("assistant", "So.")) == set()
    assert pair(ASKED, ANSWERED) == set()
    assert not list(judge(View(Record(id="1", text="a plain text")), SAMPLE))


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([("user", ASKED)], {"too_few_turns", "ends_without_assistant"}),
        ([("user", ASKED), ("user", ASKED), ("assistant", "So.")], {"roles_do_not_alternate"}),
        ([("assistant", "Hi!"), ("user", ASKED), ("assistant", "So.")], {"begins_with_assistant"}),
        ([("tool", "40"), ("assistant", "So.")], {"begins_with_tool"}),
        ([("system", "x"), ("tool", "40"), ("user", ASKED), ("assistant", "So.")], {"begins_with_tool"}),
        ([("user", ASKED), ("system", "x"), ("assistant", "So.")], {"system_not_first"}),
        ([("human", ASKED), ("assistant", "So.")], {"unknown_role"}),
        ([("user", " "), ("assistant", "")], {"empty_prompt", "empty_response"}),
        ([("user", "x"), ("assistant", "y" * 100_001)], {"short_prompt", "long_response"}),
        ([("user", ASKED), ("assistant", "so")] * 51, {"too_many_turns"}),
    ],
)
def test_what_is_wrong_is_named(turns: list[tuple[str, str]], expected: set[str]) -> None:
    assert chat(*turns) == expected


def test_a_response_that_begins_with_its_prompt_is_an_echo() -> None:
    assert pair(ASKED, f"“how tall is an oak tree” {ANSWERED}") == {"response_echoes_prompt"}
    assert pair("An oak tree", "An oak tree is tall.") == set(), "three words are an answer's beginning"
    assert pair(ASKED, f"Well: {ASKED}") == set()


def test_the_evidence_of_an_echo_is_whole_so_that_it_can_be_redacted() -> None:
    prompt = "x " * 36 + "john.smith@example.org"
    record = Record(id="1", text="", prompt=prompt, response=prompt)
    assert [why.evidence for why in judge(View(record), SAMPLE)] == [prompt]
