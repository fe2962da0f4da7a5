"""What becomes of each field of a Responses request: one table, four fates.

MAPPED fields go upstream as they are. EMULATED ones are honoured here, since
the backend lacks them. IGNORED ones change nothing the caller would miss at
once; they are reported unless they hold their default. REFUSED ones would
change the answer's meaning if they were dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from codexproxy.errors import InvalidRequest

Check = Callable[[Any], bool]


class Fate(Enum):
    """What is done with a field."""

    MAPPED = auto()
    EMULATED = auto()
    IGNORED = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Kind:
    """A JSON type that a field must have.

    Attributes:
        name: As an error message says it, ``a string``.
        holds: Whether a value is of it.
    """

    name: str
    holds: Check


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())


ANYTHING = Kind("anything", lambda value: True)
TEXT = Kind("a string", lambda value: isinstance(value, str))
FLAG = Kind("true or false, without quotes", lambda value: isinstance(value, bool))
INTEGER = Kind("a whole number", _is_integer)
NUMBER = Kind("a number", _is_number)
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
LIST = Kind("a list", lambda value: isinstance(value, list))
TEXT_LIST = Kind(
    "a list of strings", lambda value: isinstance(value, list) and all(isinstance(entry, str) for entry in value)
)
TEXT_MAP = Kind("an object whose values are strings", _is_text_map)
TEXT_OR_LIST = Kind("a string or a list of items", lambda value: isinstance(value, str | list))
TEXT_OR_OBJECT = Kind("a string or an object", lambda value: isinstance(value, str | dict))


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table.

    Attributes:
        fate: What is done with the field.
        kind: The type it must have; null is always as good as absent.
        plain: Values that ask for what happens anyway; they are dropped in silence.
        reason: Why it is refused, with the next step.
        note: How it is honoured or why not, in one sentence for the documentation.
    """

    fate: Fate
    kind: Kind = ANYTHING
    plain: tuple[Any, ...] = ()
    reason: str = ""
    note: str = ""


_NO_CONVERSATIONS = (
    "Conversation objects are not kept here. "
    "Continue with 'previous_response_id', or send the whole conversation as 'input'."
)
_NO_PROMPTS = "Prompt templates of the platform cannot be used here. Send their text as 'instructions' and 'input'."

# Every field of CreateResponse, and ``client_metadata``, which the Codex CLI
# sends and its backend takes (docs/reference/requests.md#body-of-a-turn). What the backend refuses is
# listed in docs/reference/errors.md#unsupported-parameters.
FIELDS: dict[str, Field] = {
    "model": Field(Fate.MAPPED, TEXT, note="Names, aliases, reversed names and effort suffixes; the answer echoes it."),
    "input": Field(
        Fate.MAPPED,
        TEXT_OR_LIST,
        note="A string or items; orphans, foreign ids and parts of the wrong kind are put right. "
        "`cache_control` is left out and named, here and in tools.",
    ),
    "instructions": Field(Fate.MAPPED, TEXT, note="As they are; without any, the model family's prompt (codex.mode)."),
    "tools": Field(
        Fate.MAPPED,
        LIST,
        note="As they are; names that the backend refuses are changed and restored, strict schemas fitted.",
    ),
    "tool_choice": Field(Fate.MAPPED, TEXT_OR_OBJECT, note="As it is."),
    "parallel_tool_calls": Field(Fate.MAPPED, FLAG, note="Sent when there are tools."),
    "reasoning": Field(
        Fate.MAPPED,
        OBJECT,
        note="Effort clamped to what the model has; summary only when it was asked for.",
    ),
    "include": Field(Fate.MAPPED, TEXT_LIST, note="Joined to what is always asked for."),
    "text": Field(
        Fate.MAPPED,
        OBJECT,
        note="Strict schemas are fitted, the answer is fitted back; verbosity where the model has it.",
    ),
    "prompt_cache_key": Field(Fate.MAPPED, TEXT, note="The conversation's identity in the prompt cache."),
    # ``auto`` is refused upstream and names what is done without the field.
    "service_tier": Field(
        Fate.MAPPED,
        TEXT,
        plain=("auto", "default"),
        note="fast and priority; auto and default are what every turn gets.",
    ),
    "client_metadata": Field(Fate.MAPPED, OBJECT, note="Passed on."),
    "stream": Field(Fate.EMULATED, FLAG, note="Events as they come, or one object."),
    "store": Field(Fate.EMULATED, FLAG, note="Kept here, so that it can be fetched and continued."),
    "background": Field(Fate.EMULATED, FLAG, note="Runs on after the request has ended."),
    "previous_response_id": Field(Fate.EMULATED, TEXT, note="The stored conversation is put before the input."),
    "max_output_tokens": Field(
        Fate.EMULATED, INTEGER, note="The answer is cut here by an estimate of its tokens; reasoning is not counted."
    ),
    "metadata": Field(Fate.EMULATED, TEXT_MAP, note="Handed back with the answer; never sent upstream."),
    "temperature": Field(Fate.IGNORED, NUMBER, plain=(1,), note="The backend samples by its own settings."),
    "top_p": Field(Fate.IGNORED, NUMBER, plain=(1,), note="The backend samples by its own settings."),
    "top_logprobs": Field(Fate.IGNORED, INTEGER, plain=(0,), note="The backend does not return them."),
    "truncation": Field(Fate.IGNORED, TEXT, plain=("disabled",), note="The backend decides."),
    "max_tool_calls": Field(Fate.IGNORED, INTEGER, note="The backend decides."),
    "user": Field(Fate.IGNORED, TEXT, note="The backend knows the account only."),
    "safety_identifier": Field(Fate.IGNORED, TEXT, note="The backend knows the account only."),
    "prompt_cache_retention": Field(Fate.IGNORED, TEXT, note="The backend decides."),
    "prompt_cache_options": Field(Fate.IGNORED, OBJECT, note="The backend decides."),
    "context_management": Field(Fate.IGNORED, LIST, plain=([],), note="The backend decides."),
    "moderation": Field(Fate.IGNORED, note="The backend has no such step."),
    "stream_options": Field(
        Fate.IGNORED, OBJECT, plain=({}, {"include_obfuscation": True}), note="Streams are never padded."
    ),
    "conversation": Field(Fate.REFUSED, reason=_NO_CONVERSATIONS, note="Conversation objects are not kept."),
    "prompt": Field(Fate.REFUSED, reason=_NO_PROMPTS, note="Stored prompts belong to the platform."),
}

VERBOSITIES = ("low", "medium", "high")

# Fields of the answer that repeat the request's.
ECHOED = (
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "prompt_cache_key",
    "service_tier",
    "max_output_tokens",
    "metadata",
    "temperature",
    "top_p",
    "top_logprobs",
    "truncation",
    "max_tool_calls",
    "user",
    "safety_identifier",
)


@dataclass(frozen=True, slots=True)
class Sorted:
    """A request's fields by what is done with them.

    Attributes:
        mapped: What goes upstream.
        emulated: What is honoured here.
        ignored: Names of what is not honoured.
    """

    mapped: dict[str, Any]
    emulated: dict[str, Any]
    ignored: tuple[str, ...]


def sort(payload: dict[str, Any]) -> Sorted:
    """Checks the types of a request's fields and gives each its fate.

    Raises:
        InvalidRequest: A field has the wrong type or cannot be served.
    """
    mapped: dict[str, Any] = {}
    emulated: dict[str, Any] = {}
    ignored: list[str] = []
    for name, value in payload.items():
        if value is None:
            continue
        field = FIELDS.get(name)
        if field is None:
            ignored.append(name)
            continue
        _check(name, value, field)
        if value in field.plain:
            continue
        if field.fate is Fate.MAPPED:
            mapped[name] = value
        elif field.fate is Fate.EMULATED:
            emulated[name] = value
        else:
            ignored.append(name)
    return Sorted(mapped, emulated, tuple(ignored))


def _check(name: str, value: Any, field: Field) -> None:
    if field.fate is Fate.REFUSED:
        raise InvalidRequest(field.reason, code="unsupported_parameter", param=name)
    if not field.kind.holds(value):
        raise wrong_type(name, field.kind)


def wrong_type(param: str, kind: Kind) -> InvalidRequest:
    """The failure of a field whose value has another type than it must."""
    return InvalidRequest(f"'{param}' must be {kind.name}.", code="invalid_type", param=param)


def missing(param: str) -> InvalidRequest:
    """The failure of a request that lacks a field it needs."""
    return InvalidRequest(
        f"Missing required parameter: '{param}'. Please add it.", code="missing_required_parameter", param=param
    )
