"""Chats as their makers write them, brought to one form: a list of turns, each with `role` and `content`.

Known are OpenAI's messages (role, content; content as text or as parts of type "text") and ShareGPT's conversations
(from, value), as lists, or as JSON in a text column.
"""

import json
from typing import Any

ROLES = {
    **{role: role for role in ("system", "user", "assistant", "tool")},
    **{"human": "user", "prompter": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant"},
    **{"model": "assistant", "developer": "system", "function": "tool", "observation": "tool"},
}
"""Role as found, in lower case → role as kept (OpenAI's names)."""

Turn = dict[str, str]


class Malformed(Exception):
    """No chat; the argument is the reason."""


def turns(value: Any) -> list[Turn]:
    """The turns of a chat.

    Raises:
        Malformed: it is none; the argument says why in a word.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Malformed("chat_not_json") from None
    if not isinstance(value, list):
        raise Malformed("chat_not_a_list")
    if not value:
        raise Malformed("chat_without_turns")
    return [_turn(turn) for turn in value]


def _turn(turn: Any) -> Turn:
    if not isinstance(turn, dict):
        raise Malformed("turn_not_an_object")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise Malformed("unknown_role")
    if isinstance(content, list):
        content = _joined(content)
    if not isinstance(content, str):
        raise Malformed("turn_without_text")
    return {"role": ROLES[role.lower()], "content": content}


def _joined(parts: list[Any]) -> str:
    """The text of a turn in parts; a part that is an image, say, is more than a text model can learn from."""
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise Malformed("turn_with_other_than_text")
    return "\n".join(part["text"] for part in parts)
