"""Whose words are a turn's ``instructions``."""

from collections.abc import Callable
from typing import Any

from codexproxy.planning.request_builder import Draft, Setting
from codexproxy.protocol.request import Body

# Sent where the caller's own words stand in the input already, since an empty
# string has been refused at times (docs/reference/requests.md#instructions).
NEUTRAL_INSTRUCTIONS = "Follow the instructions of the developer messages."


def settle_instructions(draft: Draft, setting: Setting) -> None:
    """Whose words are ``instructions``, by ``codex.mode``."""
    own = draft.body.get("instructions")
    # An empty text says nothing, and some clients send one whenever their user gave none.
    given = own if isinstance(own, str) and own else None
    if given is None and draft.as_sent and setting.policy.mode != "true":
        return
    draft.body["instructions"], moved = _INSTRUCTIONS[setting.policy.mode](draft.body, given, setting)
    if moved:
        draft.body["input"] = [developer_message(moved), *draft.body["input"]]
        draft.adapt("instructions:moved_to_developer")


def _auto_instructions(body: Body, given: str | None, setting: Setting) -> tuple[str, str]:
    if given is not None:
        return given, ""
    if _has_developer(body["input"]):
        return NEUTRAL_INSTRUCTIONS, ""
    return setting.policy.prompts(setting.wanted.slug), ""


def _family_instructions(body: Body, given: str | None, setting: Setting) -> tuple[str, str]:
    family = setting.policy.prompts(setting.wanted.slug)
    return (family, given or "") if given != family else (family, "")


def _own_instructions(body: Body, given: str | None, setting: Setting) -> tuple[str, str]:
    return given or "", ""


_INSTRUCTIONS: dict[str, Callable[[Body, str | None, Setting], tuple[str, str]]] = {
    "auto": _auto_instructions,
    "true": _family_instructions,
    "false": _own_instructions,
}


def _has_developer(items: list[Any]) -> bool:
    return any(isinstance(item, dict) and item.get("role") == "developer" for item in items)


def developer_message(text: str) -> Body:
    """A developer message of the conversation."""
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}
