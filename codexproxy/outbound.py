"""Outgoing requests that must end: each has a total time limit and a bounded body.

A socket's timeout starts anew with every byte, so a server that drips could hold its
caller for ever. Here a timer shuts the connection down when the time is over, be it in
the TLS handshake, the head or the body. It is a timer of ``threading``, which works with
gevent's event loop and without one. The streams of turns have clocks of their own
(``turns.deadlines``).
"""

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from http.client import BadStatusLine, HTTPResponse, parse_headers
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

# Informational answers before the one that counts; a server that sends more of them means no answer.
MOST_INFORMATIONAL = 16
_CHUNK = 16 * 1024


class Overdue(requests.Timeout):
    """The request took longer than it may in all."""


class TooLarge(requests.RequestException):
    """The answer's body is larger than it may be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take.

    Attributes:
        seconds: From its beginning to the last byte of its answer, redirects included.
        size: Bytes of the answer's body, unpacked.
        connect: Seconds until the connection to one address stands.
    """

    seconds: float
    size: int
    connect: float = 10.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class Watch:
    """Follows the connections of one request, and shuts them down when its time is over."""

    def __init__(self) -> None:
        self.over = False
        self._links: list[socket.socket] = []

    def follow(self, sock: socket.socket) -> None:
        """Takes a connection that the request uses."""
        # A descriptor of our own: TLS takes the socket's away, and its owner may close it.
        self._links.append(socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno())))
        if self.over:
            self.end()

    def end(self) -> None:
        """Shuts everything down; whoever reads or writes there goes on with an error, or an early end."""
        self.over = True
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Closes our own descriptors."""
        for link in self._links:
            link.close()


_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def ending_within(seconds: float) -> Iterator[None]:
    """Ends the requests inside the block when the seconds have passed; sessions must be of ``new_session``.

    Raises:
        Overdue: They have.
    """
    watch = Watch()
    timer = threading.Timer(seconds, watch.end)
    timer.daemon = True
    timer.start()
    token = _WATCH.set(watch)
    try:
        yield
    except (requests.RequestException, HTTPError, OSError) as error:
        if watch.over:
            raise Overdue(f"there was no whole answer within {seconds:g} seconds") from error
        raise
    finally:
        _WATCH.reset(token)
        timer.cancel()
        watch.forget()
    if watch.over:
        # What was shut down can look like a body that has come to its end.
        raise Overdue(f"there was no whole answer within {seconds:g} seconds")


def read_within(response: requests.Response, size: int) -> bytes:
    """The body of a streamed answer.

    Raises:
        TooLarge: It has more bytes than that.
        requests.RequestException: It broke off.
    """
    followed(_socket_of(response))
    data = bytearray()
    for chunk in response.iter_content(_CHUNK):
        data += chunk
        if len(data) > size:
            raise TooLarge(f"the answer is larger than {size} bytes")
    return bytes(data)


def _socket_of(response: requests.Response) -> socket.socket | None:
    # Of a connection that ends with this answer only the answer's own file knows the socket.
    raw: Any = response.raw
    try:
        found: socket.socket = raw._fp.fp.raw._sock
    except (AttributeError, ValueError):
        return None
    return found


def fetch(session: requests.Session, method: str, url: str, limits: Limits, **options: Any) -> Fetched:
    """One request and its whole answer.

    Args:
        session: Of ``new_session``.
        method: ``GET``, ``POST``, ….
        url: Where it goes.
        limits: What it may take.
        options: As ``requests`` knows them.

    Raises:
        requests.RequestException: No whole answer came, or none within the limits.
    """
    timeout = (min(limits.connect, limits.seconds), limits.seconds)
    with (
        ending_within(limits.seconds),
        session.request(method, url, stream=True, timeout=timeout, **options) as response,
    ):
        return Fetched(response.status_code, response.headers, read_within(response, limits.size))


def new_session() -> requests.Session:
    """A session that keeps no cookies and whose requests can be ended; make it after the worker's fork."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, WatchedAdapter())
    return session


class WatchedAdapter(HTTPAdapter):
    """An adapter whose connections ``ending_within`` can end."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See ``HTTPAdapter.init_poolmanager``."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """See ``HTTPAdapter.proxy_manager_for``."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def followed(sock: socket.socket | None) -> None:
    """Lets the request under way end with this connection, where it has a limit."""
    watch = _WATCH.get()
    if watch is not None and sock is not None:
        watch.follow(sock)


class FinalResponse(HTTPResponse):
    """An answer behind any that only announces it (RFC 9110 §15.2): 102, 103 and their kind are passed over."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST_INFORMATIONAL):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            parse_headers(self.fp)
        raise BadStatusLine("nothing but informational answers")


class _Connection(HTTPConnection):
    response_class = FinalResponse

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        followed(sock)
        return sock

    def request(self, *args: Any, **options: Any) -> None:
        followed(self.sock)
        super().request(*args, **options)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _TlsPool}
