"""``x_codex``: what a caller may ask of the local CLI beyond the public API."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from codexproxy.errors import InvalidRequest
from codexproxy.planning.model_catalog import EFFORTS

SANDBOX_MODES = ("read-only", "workspace-write", "danger-full-access")


@dataclass(frozen=True, slots=True)
class Wishes:
    """The checked values; None where the caller said nothing.

    Attributes:
        sandbox: ``read-only``, ``workspace-write`` or ``danger-full-access``.
        reasoning_effort: Effort, over the one of the request.
        network_access: Whether commands may use the network.
        workdir: Folder to work in, below the configured one.
        include_activity: Whether commands and file changes are shown.
    """

    sandbox: str | None = None
    reasoning_effort: str | None = None
    network_access: bool | None = None
    workdir: str | None = None
    include_activity: bool = False


def wishes_of(value: Any) -> Wishes:
    """Checks a request's ``x_codex``.

    Args:
        value: The caller's JSON value; None when there is none.

    Raises:
        InvalidRequest: A key is unknown or a value is not allowed; ``param`` names it.
    """
    if value is None:
        return Wishes()
    if not isinstance(value, Mapping):
        raise InvalidRequest("`x_codex` must be an object.", code="invalid_type", param="x_codex")
    for key in value:
        if key not in _CHECKS:
            raise InvalidRequest(
                f"`x_codex` has no key {_shown(key)}. It takes {', '.join(_CHECKS)}.",
                code="unknown_parameter",
                param=f"x_codex.{_shown(key)}",
            )
    return Wishes(**{key: _CHECKS[key](key, given) for key, given in value.items() if given is not None})


def _choice(*names: str) -> Callable[[str, Any], str]:
    def check(key: str, value: Any) -> str:
        text = _text(key, value)
        if text not in names:
            raise _wrong(key, f"must be one of {', '.join(names)}")
        return text

    return check


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, "must be true or false", code="invalid_type")
    return value


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(key, "must be a string", code="invalid_type")
    return value


def _wrong(key: str, rule: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"`x_codex.{key}` {rule}.", code=code, param=f"x_codex.{key}")


def _shown(key: Any) -> str:
    return str(key)[:60]


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "sandbox": _choice(*SANDBOX_MODES),
    "reasoning_effort": _choice(*EFFORTS),
    "network_access": _flag,
    "workdir": _text,
    "include_activity": _flag,
}
