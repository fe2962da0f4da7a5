"""The gunicorn worker: gevent's, with our error object, a tuned collector and a stop that loses nothing."""

import errno
import gc
import os
import resource
import signal
import socket
import ssl
import sys
import time
from contextlib import AbstractContextManager, suppress
from functools import partial
from types import FrameType
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gunicorn import util
from gunicorn.http.errors import NoMoreData
from gunicorn.sock import is_http2_negotiated, ssl_context
from gunicorn.workers.ggevent import GeventWorker

from codexproxy.access.origins import is_loopback_address
from codexproxy.errors import InvalidRequest, ProxyError
from codexproxy.gunicorn.bounded_parser import ClientParser, ClientRequest
from codexproxy.gunicorn.drain_body import can_go_on, linger, skip_rest
from codexproxy.gunicorn.fast_writer import Address, ClientServer, SendLimits, answering_shortly
from codexproxy.gunicorn.idle_connections import IdleConnections
from codexproxy.gunicorn.inflight import Underway
from codexproxy.gunicorn.parse_errors import refusal_of
from codexproxy.gunicorn.shutdown import LAST_WORDS, Stopping
from codexproxy.protocol.events import encode_json

# How the master announces what a stop is about; its default action is to do nothing.
ANNOUNCEMENT = signal.SIGURG

_HEARTBEAT = 1.0
_STEP = 0.1
# Seconds for the first byte of a connection, and for the rest of a head that has begun.
HEAD_SECONDS = 20.0
# Seconds for what a client is still sending when it has been refused.
LINGER_SECONDS = 30.0

# Errors of a client that left.
_LEFT = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)

# The first byte of a TLS handshake (RFC 8446 §5.1); no HTTP request begins with it.
_TLS = b"\x16"
_PLAIN = "This port speaks plain HTTP. Begin the address with http://, or put a web server with TLS before it."


class ProxyWorker(GeventWorker):  # type: ignore[misc]
    """A gevent worker that answers in JSON, and finishes what it began."""

    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # gunicorn would stop accepting at once, and only then make room for another worker.
        self._last_request: int = self.max_requests
        self.max_requests: int = sys.maxsize

    def init_process(self) -> None:
        """Freezes what is loaded: collecting it again and again costs 13 % of all CPU under load."""
        gc.set_threshold(50_000, 50, 100)
        # Who spawned whom, call by call, is 1 KB per greenlet, and nobody asks.
        gevent.config.track_greenlet_tree = False
        self._stopping = Stopping(self.cfg.graceful_timeout)
        # Descriptors are left for requests that are being served, however many connections just wait.
        connections = min(self.worker_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._idle = IdleConnections(self.cfg.keepalive, connections // 4)
        self._heads = IdleConnections(HEAD_SECONDS, connections // 8)
        self._refused = IdleConnections(LINGER_SECONDS, connections // 8)
        # A setting is looked up some thirty times per request, three calls deep each time; a worker's never change.
        self.cfg.__dict__.update({name: getattr(self.cfg, name) for name in self.cfg.settings})
        super().init_process()

    def init_signals(self) -> None:
        """Adds the master's announcement to gunicorn's signals."""
        super().init_signals()
        self._wake = Event()
        signal.signal(ANNOUNCEMENT, lambda number, frame: self._stopping.announced())

    def load_wsgi(self) -> None:
        """Loads the application, then takes all that is loaded out of the collector's way."""
        # The master imports this module, and what follows may not be imported before gevent's patches.
        from codexproxy.server.services import services_of

        super().load_wsgi()
        self._services = services = services_of(self.wsgi)
        self._underway = services.inflight if services else Underway()
        if services is not None:
            services.keys.is_public = any(_is_public(listener.getsockname()) for listener in self.sockets)
        self.wsgi = answering_shortly(self.wsgi)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: accepts nothing more and finishes what is under way."""
        self._stopping.told()
        self.alive = False
        self._wake.set()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT, SIGQUIT: ends what is under way at once, but properly."""
        self._stopping.quit()
        self.alive = False
        self._wake.set()

    def timeout_ctx(self) -> AbstractContextManager[object, bool]:
        """The wait for a connection's next request."""
        return self._idle.waiting()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serves a connection; one that begins a TLS handshake would wait for us as we for its first line."""
        client.setblocking(1)
        if is_http2_negotiated(client):
            super().handle(listener, client, addr)
            return
        try:
            first = None
            with self._heads.waiting():
                first = b"" if self.cfg.is_ssl else _glimpse(client)
            if first == _TLS:
                self.log.warning("refused a connection from %s: TLS on a plain port", addr[0] if addr else "a socket")
                self._refuse(client, "Bad Request", InvalidRequest(_PLAIN, code="invalid_http"))
            elif first is not None:
                self._converse(listener, client, addr)
        finally:
            util.close(client)

    def _converse(self, listener: Any, client: Any, addr: Any) -> None:
        """Serves a connection's requests, one after the other; gunicorn's loop with a parser of our own."""
        parser = ClientParser(self.cfg, client, addr, self._heads.waiting)
        request: ClientRequest | None = None
        proxied: dict[str, Any] = {}
        try:
            while True:
                request = None
                with self.timeout_ctx():
                    request = next(parser)
                if request is None:
                    return
                proxied = request.proxy_protocol_info = request.proxy_protocol_info or proxied
                self.handle_request(listener.getsockname(), request, client, addr)
        except (NoMoreData, StopIteration) as error:
            self.log.debug("Closing connection. %s", error)
        except ssl.SSLError as error:
            self.log.debug("Closing connection: TLS failed. %s", error)
        except OSError as error:
            if error.errno not in _LEFT:
                self.log.exception("Socket error processing request.")
        except BaseException as error:  # a bug, or the worker's end: answered, and logged there
            self.handle_error(request, client, addr, error)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Serves one request; after ``max_requests`` of them a successor is asked for."""
        if self.nr + 1 >= self._last_request:
            self._last_request = sys.maxsize
            self.log.info("Served %s requests; asking for a fresh worker.", self.nr + 1)
            os.kill(self.ppid, signal.SIGHUP)
        goes_on = True
        try:
            super().handle_request(listener_name, req, sock, addr)
        except StopIteration:
            goes_on = False
        if not (can_go_on(req) and skip_rest(req.body)):
            linger(sock, self._refused.waiting())
            goes_on = False
        if not goes_on:
            raise StopIteration

    def run(self) -> None:
        """Serves until told to stop, then until everything is finished or out of time."""
        servers = [self._serve(listener) for listener in self.sockets]
        if self._services is not None:
            self._services.start()
        while self.alive and self.ppid == os.getppid():
            self.tmp.notify()
            self._wake.wait(_HEARTBEAT)
        self.alive = False
        if self._services is not None:
            self._services.stop()
        while self._stopping.may_accept():
            self.tmp.notify()
            gevent.sleep(_STEP)
        for server in servers:
            server.close()
        self._finish(servers)
        if self._services is not None:
            self._services.watch.settle()
        for server in servers:
            server.stop(timeout=_STEP)
        if self._services is not None:
            self._services.close()

    def _serve(self, listener: Any) -> ClientServer:
        listener.setblocking(1)
        tls = {"ssl_context": ssl_context(self.cfg)} if self.cfg.is_ssl else {}
        limits = self._services.send_limits if self._services else SendLimits()
        handle = partial(self.handle, Address(listener.getsockname()))
        server = ClientServer(listener, handle=handle, spawn=Pool(self.worker_connections), limits=limits, **tls)
        if self.cfg.workers > 1:
            # Whoever takes several connections at a time takes them from idle siblings.
            server.max_accept = 1
        server.start()
        return server

    def _finish(self, servers: list[ClientServer]) -> None:
        cut_at: float | None = None
        # Answers that outlive their requests are in no pool.
        while (any(server.pool for server in servers) or len(self._underway)) and (
            cut_at is None or time.monotonic() < cut_at
        ):
            self.tmp.notify()
            for waits in (self._idle, self._heads, self._refused):
                waits.hang_up()
            if self._stopping.streams_must_end():
                cut_at = cut_at or time.monotonic() + LAST_WORDS
                self._underway.end_all()
            gevent.sleep(_STEP)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answers what gunicorn itself could not serve; anything but a parser's refusal is gunicorn's to report."""
        refusal = refusal_of(exc)
        if refusal is None:
            super().handle_error(req, client, addr, exc)
            return
        self.log.warning("refused a request from %s: %s", addr[0] if addr else "a socket", type(exc).__name__)
        error = InvalidRequest(refusal.message, code="invalid_http", status=refusal.status)
        self._refuse(client, refusal.reason, error)

    def _refuse(self, client: Any, reason: str, error: ProxyError) -> None:
        body = encode_json({"error": error.as_dict()})
        head = (
            f"HTTP/1.1 {error.status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):  # The client did not wait for the answer.
            util.write_nonblock(client, head.encode() + body)
            linger(client, self._refused.waiting())


def _is_public(name: Any) -> bool:
    # Whoever may open a Unix socket is decided by its file.
    return isinstance(name, tuple) and not is_loopback_address(name[0])


def _glimpse(client: Any) -> bytes:
    # An end or an error is the business of whoever reads.
    try:
        return bytes(client.recv(1, socket.MSG_PEEK))
    except OSError:
        return b""
