"""A backend that must not be used, and says why."""

from typing import Any, NoReturn

from codexproxy.errors import InvalidRequest
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream


class RefusingBackend:
    """Stands in for a provider that a safety switch shuts out.

    Args:
        name: The provider's name.
        kind: Its type.
        message: Why it is shut out, and what to change.
        code: The code callers see.
    """

    def __init__(self, name: str, kind: str, message: str, code: str) -> None:
        self.name = name
        self.kind = kind
        self._message = message
        self._code = code

    def _refuse(self) -> NoReturn:
        raise InvalidRequest(self._message, code=self._code)

    def problem(self) -> str:
        """Why it serves nothing, for ``/ready``."""
        return self._message

    def open(self, turn: Turn) -> EventStream:
        """See ``Backend.open``; always refused."""
        self._refuse()

    def models(self) -> list[dict[str, Any]]:
        """See ``Backend.models``; always refused."""
        self._refuse()

    def usage(self) -> dict[str, Any]:
        """See ``Backend.usage``; always refused."""
        self._refuse()

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """See ``Backend.compact``; always refused."""
        self._refuse()
