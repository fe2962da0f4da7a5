"""The response of a stream: its pieces go to the server as they are."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Response


class StreamedResponse(Response):
    """A response whose pieces are bytes already.

    Werkzeug would put two iterators around every piece, one to encode it and
    one to remember the end; at 50 pieces a second and stream that counts.
    """

    def get_app_iter(self, environ: dict[str, Any]) -> Iterable[bytes]:
        """The body as the server iterates and closes it."""
        return _Body(self.response, self.close)


class _Body:
    def __init__(self, pieces: Iterable[Any], close: Callable[[], None]) -> None:
        self._pieces = pieces
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)
