"""The reasons for refusing a request, each with the path of the offending field."""

from collections.abc import Iterable
from typing import Any

from codexproxy.errors import InvalidRequest

_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


def missing(path: str) -> InvalidRequest:
    """A field that has to be there is not."""
    return InvalidRequest(f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path)


def wrong_type(path: str, expected: str, value: Any) -> InvalidRequest:
    """A field holds the wrong kind of value; ``expected`` reads like ``a string``."""
    got = _NAMES.get(type(value), type(value).__name__)
    return InvalidRequest(
        f"Invalid type for '{path}': expected {expected}, but got {got} instead.", code="invalid_type", param=path
    )


def wrong_value(path: str, value: Any, allowed: Iterable[str]) -> InvalidRequest:
    """A field holds something outside the values it may have."""
    listed = ", ".join(f"'{name}'" for name in allowed)
    return InvalidRequest(
        f"Invalid value for '{path}': {_short(value)}. Supported values are: {listed}.",
        code="invalid_value",
        param=path,
    )


def bad_value(path: str, reason: str) -> InvalidRequest:
    """A field holds something that cannot work; the reason is a whole sentence."""
    return InvalidRequest(reason, code="invalid_value", param=path)


def unsupported(path: str, reason: str) -> InvalidRequest:
    """Content that no backend of ours can take; the reason is a whole sentence."""
    return InvalidRequest(reason, code="unsupported_content", param=path)


def _short(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
