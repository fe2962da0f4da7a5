"""Signs in at a terminal: by browser, device code or pasted URL, whichever finishes first."""

import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from codexproxy.errors import InvalidRequest, ProxyError, UpstreamFailed
from codexproxy.login.account import Login
from codexproxy.login.oauth.browser_flow import LoginFlow, StateMismatch
from codexproxy.login.oauth.callback import parse_pasted
from codexproxy.login.oauth.callback_endpoint import Landing
from codexproxy.login.oauth.client import ExchangeFailed
from codexproxy.login.oauth.device_flow import DeviceCode, DeviceLoginUnavailable
from codexproxy.login.oauth.login_method import open_browser
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.server.login.callback_server import LINGER, CallbackServer, CallbackUnavailable

_TICK = 0.1
_MOST = 65536


class NothingPasted(InvalidRequest):
    """The input ended, or the time did, without a usable address."""

    code = "login_failed"


class Lines:
    """What a person pastes, taken without holding anything else up.

    Args:
        descriptor: A terminal or a pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.ended = False

    def take(self, seconds: float) -> str:
        """What has come within so many seconds, empty when nothing has; lines of one paste come together."""
        taken = b""
        while self._has_more(seconds):
            piece = os.read(self._descriptor, _MOST)
            self.ended = not piece
            taken += piece
            seconds = _TICK
        return taken.decode("utf-8", "replace")

    def _has_more(self, seconds: float) -> bool:
        return not self.ended and bool(select.select([self._descriptor], [], [], seconds)[0])


class Arrivals:
    """The ways under way to one login; the first that arrives wins.

    Args:
        flow: Finishes what is pasted.
        lines: Where people paste; None where nobody can.
        timeout: Seconds to wait in all.
    """

    def __init__(self, flow: LoginFlow, lines: Lines | None, timeout: float) -> None:
        self._flow = flow
        self._lines = lines
        self._timeout = timeout
        self._arrived: queue.SimpleQueue[Tokens | ProxyError] = queue.SimpleQueue()
        self._ways = 0

    def expect(self, work: Callable[[], Tokens]) -> None:
        """Waits for one way in a thread of its own."""
        self._ways += 1
        threading.Thread(target=self._run, args=(work,), name="login-way", daemon=True).start()

    def wait(self) -> Tokens:
        """The login, once it has arrived.

        Raises:
            ProxyError: The first way to end has failed.
            NothingPasted: Paste was the only way, and its input or time ended.
        """
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            tokens = self._look()
            if tokens is not None:
                return tokens
            if self._lines is not None and self._lines.ended:
                self._lines = None
            if self._lines is None and not self._ways:
                raise NothingPasted("Nothing usable was pasted. Start a new login to try again.")
        raise NothingPasted(f"Nobody signed in within {self._timeout:g} seconds. Start a new login to try again.")

    def _look(self) -> Tokens | None:
        if self._lines is not None and (text := self._lines.take(_TICK)):
            return self._pasted(text)
        try:
            arrival = self._arrived.get(block=self._lines is None, timeout=_TICK)
        except queue.Empty:
            return None
        if isinstance(arrival, ProxyError):
            raise arrival
        return arrival

    def _pasted(self, text: str) -> Tokens | None:
        if not text.strip():
            return None
        try:
            callback = parse_pasted(text)
        except InvalidRequest as failure:
            click.echo(failure.message, err=True)
            return None
        try:
            return self._flow.receive(callback)
        except StateMismatch as failure:
            click.echo(failure.message, err=True)
        except ExchangeFailed as failure:
            if callback.state is not None:
                raise
            click.echo(f"{failure.message} If the code was not copied whole, paste it again.", err=True)
        return None

    def _run(self, work: Callable[[], Tokens]) -> None:
        try:
            self._arrived.put(work())
        except ProxyError as failure:
            self._arrived.put(failure)
        except Exception as error:  # a bug in this thread must not leave the person waiting
            self._arrived.put(
                UpstreamFailed(f"The login failed with an unexpected error ({type(error).__name__}). Please try again.")
            )


# A device code lasts a quarter of an hour; the issuer decides when it ends.
LONGEST = 1000.0

_PASTE = "paste the address it ends at here and press Enter (the page itself will not load)."


class Terminal:
    """Where a person signs in.

    Args:
        login: What is logged in.
        landing: Where the browser comes back to.
        timeout: Seconds to wait for a browser.
        lines: Where the person pastes; None where nobody can.
        tell: Says something to the person.
    """

    def __init__(
        self,
        login: Login,
        landing: Landing,
        timeout: float,
        *,
        lines: Lines | None,
        tell: Callable[[str], None],
    ) -> None:
        self._login = login
        self._landing = landing
        self._timeout = timeout
        self._lines = lines
        self._tell = tell

    @contextmanager
    def by_browser(self) -> Iterator[Tokens]:
        """Signs in with this machine's browser; within the block the last page is still there for it.

        Raises:
            ProxyError: It did not work.
        """
        server = CallbackServer(self._landing, self._login.flow, self._timeout)
        arrivals = Arrivals(self._login.flow, self._lines, self._timeout + LINGER)
        try:
            self._send_browser(server, arrivals)
            yield arrivals.wait()
        finally:
            if server.wait(0) is not None:
                server.wait_closed(LINGER)
            server.close()

    def _send_browser(self, server: CallbackServer, arrivals: Arrivals) -> None:
        port: int | None = None
        try:
            port = server.open()
            arrivals.expect(lambda: _outcome(server))
        except CallbackUnavailable as failure:
            if self._lines is None:
                raise
            self._tell(failure.message)
        attempt = self._login.flow.begin(None if port is None else self._landing.redirect_uri_at(port))
        opened = port is not None and open_browser(attempt.url)
        self._tell("Your browser was opened; if it shows nothing, open this address:" if opened else _OPEN)
        self._tell(f"\n  {attempt.url}\n")
        if self._lines is not None:
            self._tell(f"If the browser is on another machine, {_PASTE}")

    @contextmanager
    def by_device(self) -> Iterator[Tokens]:
        """Signs in with a code, or with a pasted address meanwhile.

        Raises:
            ProxyError: It did not work.
        """
        self._login.attempts.tidy()  # a full disk is reported before the person enters a code
        try:
            code = self._login.device.begin()
        except DeviceLoginUnavailable:
            if self._lines is None:
                raise
            self._tell("The login service offers no device codes here.\n")
            with self.by_paste() as tokens:
                yield tokens
            return
        self._tell(f"  1. Open   {code.url}\n  2. Enter  {code.user_code}\n\nThe code is good for 15 minutes.")
        if self._lines is not None:
            attempt = self._login.flow.begin()
            self._tell(f"Or open this address in any browser, and {_PASTE}\n\n  {attempt.url}\n")
        arrivals = Arrivals(self._login.flow, self._lines, LONGEST)
        arrivals.expect(lambda: self._redeemed(code))
        yield arrivals.wait()

    @contextmanager
    def by_paste(self) -> Iterator[Tokens]:
        """Signs in with a browser anywhere.

        Raises:
            ProxyError: It did not work.
        """
        attempt = self._login.flow.begin()
        self._tell(f"Open this address in any browser and sign in there:\n\n  {attempt.url}\n\nThen {_PASTE}")
        yield Arrivals(self._login.flow, self._lines, self._timeout).wait()

    def _redeemed(self, code: DeviceCode) -> Tokens:
        return self._login.flow.finish(self._login.device.wait(code))


_OPEN = "Open this address in the browser of this machine and sign in there:"


def _outcome(server: CallbackServer) -> Tokens:
    ended = server.wait()
    if ended is None or ended.tokens is None:
        raise ended.failure if ended and ended.failure else CallbackUnavailable("The callback app ended.")
    return ended.tokens


def pasting(*, also_from_a_pipe: bool = False) -> Lines | None:
    """Where a person can paste; None without a terminal."""
    usable = sys.stdin is not None and (also_from_a_pipe or sys.stdin.isatty())
    return Lines(sys.stdin.fileno()) if usable else None


def tell(text: str) -> None:
    """Writes a message for the person to standard error, apart from what the command prints."""
    click.echo(text, err=True)
