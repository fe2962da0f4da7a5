"""The gunicorn worker: gevent's, with our error object and a tuned collector."""

import gc
from contextlib import suppress
from typing import Any

from gunicorn import util
from gunicorn.http import errors as http
from gunicorn.workers.ggevent import GeventWorker

from codexproxy.errors import InvalidRequest, ProxyError
from codexproxy.turns.events import encode_json

# gunicorn's parser errors -> status and reason (RFC 9110 §15.5, RFC 6585 §5).
_REFUSALS: tuple[tuple[type[Exception], int, str], ...] = (
    (http.LimitRequestLine, 414, "URI Too Long"),
    (http.LimitRequestHeaders, 431, "Request Header Fields Too Large"),
    (http.UnsupportedTransferCoding, 501, "Not Implemented"),
    (http.ExpectationFailed, 417, "Expectation Failed"),
    (http.ForbiddenProxyRequest, 403, "Forbidden"),
    (http.ParseException, 400, "Bad Request"),
)


class ProxyWorker(GeventWorker):  # type: ignore[misc]
    """A gevent worker whose own refusals are JSON, too."""

    def init_process(self) -> None:
        """Freezes what is loaded: collecting it again and again costs 13 % of all CPU under load."""
        gc.set_threshold(50_000, 50, 100)
        super().init_process()

    def load_wsgi(self) -> None:
        """Loads the application, then takes all that is loaded out of the collector's way."""
        super().load_wsgi()
        gc.collect()
        gc.freeze()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answers what gunicorn itself could not serve; anything but a parser's refusal is gunicorn's to report."""
        for kind, status, reason in _REFUSALS:
            if isinstance(exc, kind):
                self.log.warning("refused a request from %s: %s", addr[0] if addr else "a socket", type(exc).__name__)
                _write(client, status, reason, InvalidRequest(_message(exc), code="invalid_http", status=status))
                return
        super().handle_error(req, client, addr, exc)


def _message(exc: BaseException) -> str:
    return f"The HTTP request cannot be read: {str(exc)[:200]}"


def _write(client: Any, status: int, reason: str, error: ProxyError) -> None:
    body = encode_json({"error": error.as_dict()})
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with suppress(OSError):  # The client did not wait for the answer.
        util.write_nonblock(client, head.encode() + body)
