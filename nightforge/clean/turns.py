"""Drops chats and prompts with responses that are malformed: roles, order, empty or outsize turns, echoes.

A chat is `meta["messages"]`; a prompt and its response are a chat of two turns. Plain texts pass. Roles are those of
OpenAI's chat format, which most instruction sets share.
"""

from collections.abc import Iterator
from itertools import pairwise

from pydantic import Field

from nightforge import config
from nightforge.records import Reject, turns
from nightforge.view import View
from nightforge.words import folded

ROLES = ("system", "user", "assistant", "tool")


class Config(config.Config):
    """Bounds; a chat at a bound stays."""

    turns_min: int = Field(ge=1)
    """Fewest turns, those of the system aside."""
    turns_max: int = Field(ge=1)
    """Most turns, those of the system aside."""
    prompt_chars_min: int = Field(ge=0)
    """Fewest characters of each turn of the user, white space at its ends aside."""
    prompt_chars_max: int = Field(ge=1)
    """Most of them."""
    response_chars_min: int = Field(ge=0)
    """Fewest characters of each turn of the assistant, white space at its ends aside."""
    response_chars_max: int = Field(ge=1)
    """Most of them."""
    echo_words_min: int = Field(ge=1)
    """A response that begins with its whole prompt, case and punctuation aside, goes if that has so many words."""


SAMPLE = Config(
    turns_min=2,
    turns_max=100,
    prompt_chars_min=2,
    prompt_chars_max=100_000,
    response_chars_min=1,
    response_chars_max=100_000,
    echo_words_min=4,
)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """All that is wrong with the turns."""
    said = turns(view.record)
    if not said:
        return
    roles = [role for role, _ in said]
    yield from _order(roles)
    count = len(roles) - roles.count("system")
    if count < cfg.turns_min:
        yield Reject("too_few_turns", f"{count} < {cfg.turns_min}")
    if count > cfg.turns_max:
        yield Reject("too_many_turns", f"{count} > {cfg.turns_max}")
    bounds = {
        "user": ("prompt", cfg.prompt_chars_min, cfg.prompt_chars_max),
        "assistant": ("response", cfg.response_chars_min, cfg.response_chars_max),
    }
    for role, (what, least, most) in bounds.items():
        sizes = [len(content.strip()) for r, content in said if r == role]
        if 0 in sizes:
            yield Reject(f"empty_{what}", f"turn {sizes.index(0) + 1} of the {role}")
        elif sizes and min(sizes) < least:
            yield Reject(f"short_{what}", f"{min(sizes)} < {least}")
        if sizes and max(sizes) > most:
            yield Reject(f"long_{what}", f"{max(sizes)} > {most}")
    for (asked, prompt), (answered, response) in pairwise(said):
        if (asked, answered) == ("user", "assistant") and _echoes(prompt, response, cfg.echo_words_min):
            yield Reject("response_echoes_prompt", prompt)
            return


def _order(roles: list[str]) -> Iterator[Reject]:
    """System first, if at all; then user and assistant in turns, tools between; the assistant last."""
    if unknown := sorted(set(roles) - set(ROLES)):
        yield Reject("unknown_role", f"{', '.join(unknown)}: expected {', '.join(ROLES)}")
    spoken = roles[1:] if roles[0] == "system" else roles
    if "system" in spoken:
        yield Reject("system_not_first", f"turn {spoken.index('system') + 1}")
    if spoken and spoken[0] in {"assistant", "tool"}:
        yield Reject(f"begins_with_{spoken[0]}", ", ".join(spoken[:3]))
    if any(a == b != "tool" for a, b in pairwise(spoken)):
        yield Reject("roles_do_not_alternate", ", ".join(spoken[:6]))
    if roles[-1] != "assistant":
        yield Reject("ends_without_assistant", f"ends with {roles[-1]}")


def _echoes(prompt: str, response: str, words_min: int) -> bool:
    asked = folded(prompt)
    return len(asked) >= words_min and folded(response[: 2 * len(prompt) + 100])[: len(asked)] == asked
