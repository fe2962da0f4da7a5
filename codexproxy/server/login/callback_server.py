"""The server of the callback app: a thread, or a greenlet within a gunicorn worker, for as long as a login waits."""

import errno
import http.client
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from codexproxy.errors import InvalidRequest, ProxyError
from codexproxy.login.oauth.browser_flow import LoginFlow
from codexproxy.login.oauth.callback_endpoint import Landing
from codexproxy.server.login.callback_app import Ended, LoginCancelled, Reception, create_callback_app

log = logging.getLogger(__name__)

# Seconds that the one who holds the port has for leaving it.
PATIENCE = 2.0
# Seconds for which the last page is kept ready when no browser comes for it.
LINGER = 5.0
# Seconds of silence after which a connection is given up; browsers open spare ones.
SILENCE = 10.0

_TICK = 0.1
_BACKLOG = 16
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class CallbackUnavailable(ProxyError):
    """The callback app can listen nowhere; logging in by paste works without it."""

    code = "callback_unavailable"
    status = 503


class LoginTimedOut(InvalidRequest):
    """Nobody signed in within the time."""

    code = "login_timed_out"


class CallbackServer:
    """Waits for one login's browser, and leaves no port behind.

    Args:
        landing: Where to listen.
        flow: The logins that wait; finishes them.
        timeout: Seconds to wait.
        others_wait: Asked when a login failed: whether others are still under way, so that it goes on.
        on_end: Told how it ended.
    """

    def __init__(
        self,
        landing: Landing,
        flow: LoginFlow,
        timeout: float,
        *,
        others_wait: Callable[[], bool] = lambda: False,
        on_end: Callable[[Ended], None] = lambda ended: None,
    ) -> None:
        self.port = 0
        self._landing = landing
        self._timeout = timeout
        self._others_wait = others_wait
        self._on_end = on_end
        self._flow = flow
        self._app = create_callback_app(Reception(flow, self._told, self._left), landing.redirect_host)
        self._deadline = 0.0
        self._gate = threading.Lock()
        self._ended: Ended | None = None
        self._over = threading.Event()
        self._closed = threading.Event()

    def open(self) -> int:
        """Takes a port and begins to listen.

        Returns:
            The port.

        Raises:
            CallbackUnavailable: Every port stayed busy, or the address cannot be used.
        """
        with take_port(self._landing, self._flow.newest_pending) as listener:
            self.port = int(listener.getsockname()[1])
            # Handed over as a descriptor: werkzeug ends the process when its own try to bind fails.
            server = _Server(self._landing.host, self.port, self._app, _Handler, fd=listener.fileno())
        self.extend()
        threading.Thread(target=self._serve, args=(server,), name="login-callback", daemon=True).start()
        return self.port

    def extend(self) -> bool:
        """Waits the whole time from now on; False when it is over already."""
        self._deadline = time.monotonic() + self._timeout
        return self._ended is None

    def wait(self, timeout: float | None = None) -> Ended | None:
        """How it ended; None when it has not within so many seconds."""
        self._over.wait(timeout)
        return self._ended

    def wait_closed(self, timeout: float) -> bool:
        """Waits until the browser has its last page and the port is free; whether it is."""
        return self._closed.wait(timeout)

    def close(self) -> None:
        """Stops listening soon."""
        self._end(Ended(failure=LoginCancelled("The login was stopped.")))
        self._left()

    def _told(self, ended: Ended) -> None:
        failed = ended.failure is not None and not isinstance(ended.failure, LoginCancelled)
        if not (failed and self._others_wait()):
            self._end(ended)

    def _end(self, ended: Ended) -> None:
        # The first end counts.
        with self._gate:
            if self._ended is not None:
                return
            self._ended = ended
            self._deadline = time.monotonic() + LINGER
        self._on_end(ended)
        self._over.set()

    def _left(self) -> None:
        if self._ended is not None:
            self._deadline = 0.0

    def _serve(self, server: "_Server") -> None:
        try:
            while time.monotonic() < self._deadline:
                server.serve_next(_TICK)
        finally:
            server.server_close()
            message = f"Nobody signed in within {self._timeout:g} seconds. Start a new login to try again."
            self._end(Ended(failure=LoginTimedOut(message)))
            self._closed.set()


class _Handler(WSGIRequestHandler):
    timeout = SILENCE

    def log(self, type: str, message: str, *args: Any) -> None:
        """Stays silent: request lines hold authorization codes."""


class _Server(ThreadedWSGIServer):
    def serve_next(self, seconds: float) -> None:
        """Takes one connection, if one comes within so many seconds, and answers it in a thread.

        The library's own loop waits on a selector that gevent may not have patched.
        """
        self.socket.settimeout(seconds)
        try:
            connection, address = self.get_request()
        except TimeoutError:
            return
        except OSError as error:  # the client went away, or there is no descriptor left
            log.debug("cannot accept a connection: %s", error)
            time.sleep(seconds)
            return
        self.process_request(connection, address)


def take_port(landing: Landing, waiting: Callable[[], str | None]) -> socket.socket:
    """Listens on the first port that is free, or becomes free when its holder is asked to leave.

    Args:
        landing: Where to listen.
        waiting: The digest of a login that waits, which its holder knows us by.

    Raises:
        CallbackUnavailable: None does.
    """
    for port in landing.ports:
        try:
            return _listen(landing.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _unavailable(landing, error) from error
        if (listener := _take_over(landing.host, port, waiting())) is not None:
            return listener
    raise _unavailable(landing, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))


def _take_over(host: str, port: int, digest: str | None) -> socket.socket | None:
    ask_to_leave(host, port, digest)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            return _listen(host, port)
        except OSError:
            time.sleep(_TICK)
    return None


def ask_to_leave(host: str, port: int, digest: str | None) -> None:
    """Asks a login that still waits on a port, ours or the Codex CLI's, to end; whatever is there may refuse.

    One of ours wants to see that we share its data folder. A login's state would be more than a stranger
    there may learn, so it is the digest that the login is filed under.
    """
    connection = http.client.HTTPConnection(_ANY.get(host, host), port, timeout=PATIENCE)
    try:
        path = f"/cancel?attempt={digest}" if digest else "/cancel"
        connection.request("GET", path, headers={"Host": f"localhost:{port}"})
        connection.getresponse().read(1024)
    except (OSError, http.client.HTTPException) as error:
        log.debug("the program on port %d did not answer: %s", port, type(error).__name__)
    finally:
        connection.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def _unavailable(landing: Landing, error: OSError) -> CallbackUnavailable:
    ports = " and ".join(str(port) for port in landing.ports)
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return CallbackUnavailable(
        f"The login's callback cannot listen on {landing.host}, port {ports}: {reason}. "
        "Paste the address your browser ends at instead."
    )
