"""Waiting for a login that may arrive in several ways at once: by browser, by code, by paste."""

import os
import queue
import select
import threading
import time
from collections.abc import Callable

import click

from codexproxy.errors import InvalidRequest, ProxyError, UpstreamFailed
from codexproxy.login.oauth.browser_flow import LoginFlow, StateMismatch
from codexproxy.login.oauth.callback import parse_pasted
from codexproxy.login.oauth.client import ExchangeFailed
from codexproxy.login.tokens.tokens import Tokens

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
