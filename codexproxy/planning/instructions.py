"""Whose words are a turn's ``instructions``."""

from collections.abc import Callable
from typing import Any

from codexproxy.planning.request_builder import PlanContext, RequestBuilder
from codexproxy.protocol.request import Body

# Sent where the caller's own words stand in the input already, since an empty
# string has been refused at times (docs/reference/requests.md#instructions).
NEUTRAL_INSTRUCTIONS = "Follow the instructions of the developer messages."


def apply_instructions(request: RequestBuilder, context: PlanContext) -> None:
    """Whose words are ``instructions``, by ``codex.mode``."""
    own = request.body.get("instructions")
    # An empty text says nothing, and some clients send one whenever their user gave none.
    given = own if isinstance(own, str) and own else None
    if given is None and request.as_sent and context.policy.mode != "true":
        return
    request.body["instructions"], moved = _INSTRUCTIONS[context.policy.mode](request.body, given, context)
    if moved:
        request.body["input"] = [developer_message(moved), *request.body["input"]]
        request.adapt("instructions:moved_to_developer")


def _auto_instructions(body: Body, given: str | None, context: PlanContext) -> tuple[str, str]:
    if given is not None:
        return given, ""
    if _has_developer(body["input"]):
        return NEUTRAL_INSTRUCTIONS, ""
    return context.policy.prompts(context.selection.slug), ""


def _family_instructions(body: Body, given: str | None, context: PlanContext) -> tuple[str, str]:
    family = context.policy.prompts(context.selection.slug)
    return (family, given or "") if given != family else (family, "")


def _own_instructions(body: Body, given: str | None, context: PlanContext) -> tuple[str, str]:
    return given or "", ""


_INSTRUCTIONS: dict[str, Callable[[Body, str | None, PlanContext], tuple[str, str]]] = {
    "auto": _auto_instructions,
    "true": _family_instructions,
    "false": _own_instructions,
}


def _has_developer(items: list[Any]) -> bool:
    return any(isinstance(item, dict) and item.get("role") == "developer" for item in items)


def developer_message(text: str) -> Body:
    """A developer message of the conversation."""
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}
