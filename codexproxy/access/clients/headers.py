"""Reading request headers, whichever mapping holds them."""

from typing import Protocol


class Headers(Protocol):
    """A request's headers by name.

    Werkzeug's are asked in any case; a plain dict holds its names in lower case.
    """

    def get(self, name: str, /) -> str | None:
        """The header's value, None when the request does not carry it."""


def values_of(headers: Headers, name: str) -> tuple[str, ...]:
    """A header's values, each once.

    ``session_id`` and ``session-id`` reach a WSGI application under one name,
    joined by a comma when both were sent.
    """
    value = headers.get(name)
    if not value:
        return ()
    parts = (part.strip() for part in value.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
