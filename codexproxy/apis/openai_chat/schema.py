"""The top level of a Chat Completions request, shallow: what is inside is checked where it is used.

marshmallow per message costs 6 µs each, during which every stream of the
worker stands still (docs/reference/measurements.md#validation-of-messages).
"""

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields

from codexproxy.apis.openai_chat.fields import FIELDS
from codexproxy.apis.validation_errors import wrong_type

_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


class _Wrong(ValidationError):
    def __init__(self, expected: str) -> None:
        super().__init__(expected)


class Text(fields.Field[str]):
    """A string."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise _Wrong("a string")
        return value


class Switch(fields.Field[bool]):
    """A boolean; shell scripts send ``"true"``."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        given = _BOOLEANS.get(str(value).lower()) if isinstance(value, str | int) else None
        if given is None:
            raise _Wrong("a boolean")
        return given


class Count(fields.Field[int]):
    """A whole number; ``16.0`` and ``"16"`` are sent too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _Wrong("an integer")
        return value


class Listing(fields.Field[list[Any]]):
    """An array; its entries are not looked at."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _Wrong("an array")
        return value


class Mapped(fields.Field[dict[str, Any]]):
    """An object; its fields are not looked at."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _Wrong("an object")
        return value


class ChatRequest(Schema):
    """What has one fixed type. Ignored fields are not checked: nobody is refused for what does not matter."""

    class Meta:
        unknown = INCLUDE

    model = Text()
    messages = Listing()
    stream = Switch()
    tools = Listing()
    functions = Listing()
    parallel_tool_calls = Switch()
    response_format = Mapped()
    reasoning_effort = Text()
    reasoning_summary = Text()
    reasoning_compat = Text()
    include_reasoning = Switch()
    enable_thinking = Switch()
    verbosity = Text()
    service_tier = Text()
    web_search_options = Mapped()
    prompt_cache_key = Text()
    max_tokens = Count()
    max_completion_tokens = Count()
    max_output_tokens = Count()
    n = Count()
    stream_options = Mapped()
    metadata = Mapped()
    modalities = Listing()
    instructions = Text()
    text = Mapped()


_SCHEMA = ChatRequest()


def load(payload: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The request's fields without nulls, and notes on what was renamed.

    Raises:
        InvalidRequest: A field has the wrong type.
    """
    given = {key: value for key, value in payload.items() if value is not None}
    notes = _rename(given)
    return checked(_SCHEMA, given), notes


def checked(schema: Schema, given: dict[str, Any]) -> dict[str, Any]:
    """The payload as the schema reads it, in the caller's order.

    Only the fields that are given are looked at: no schema here requires any, and
    ``Schema.load`` goes through all that there are.

    Raises:
        InvalidRequest: A field has the wrong type.
    """
    loaded: dict[str, Any] = {}
    for name, value in given.items():
        field = schema.load_fields.get(name)
        try:
            loaded[name] = value if field is None else field.deserialize(value, name, given)
        except ValidationError as error:
            raise wrong_type(name, str(error.messages[0]), value) from None
    return loaded


def _rename(given: dict[str, Any]) -> list[str]:
    # Some clients write camelCase (docs/reference/clients.md#camelcase-and-other-aliases).
    notes = []
    for key in [key for key in given if key not in FIELDS and not key.islower()]:
        name = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()
        if name in FIELDS and name not in given:
            given[name] = given.pop(key)
            notes.append(f"{key}->{name}")
    return notes
