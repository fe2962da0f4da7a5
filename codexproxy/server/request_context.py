"""One request from start to end: its id, its timings, who asks, its turn, and what is freed after it."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from flask import Response, g

from codexproxy.access.authorization import Identity
from codexproxy.errors import ProxyError, forget_frames
from codexproxy.observability.log import fields
from codexproxy.server.running_turn import CLIENT_LEFT, RunningTurn, Timer, TurnObserver, access_log, log_end, run_each


class RequestContext:
    """One request; ``finish`` frees everything and logs the end once, however it ends.

    Args:
        request_id: The id the caller sees in ``x-request-id``.
        observer: Takes the row of the turn when it is over.
        clock: Monotonic seconds.

    Attributes:
        timer: Started with the request.
        identity: Who asks; set before any route runs that needs a key.
        exits: Frees what the request holds.
        stop_watching: Ends the watch over the client's socket; runs before everything else is freed.
        turn: The turn that the request runs; None for other requests.
        headers: Headers of the answer, such as the state of rate limits.
        followed: The generator of a streamed answer; None before.
        speaks_codex: Whether the client is the Codex CLI, or speaks as it does with its backend.
        models_tag: Tag of the catalogue that this client is shown.
    """

    def __init__(self, request_id: str, observer: TurnObserver, clock: Callable[[], float] = time.monotonic) -> None:
        self.request_id = request_id
        self.timer = Timer(clock)
        self.identity: Identity
        self.exits = ExitStack()
        self.stop_watching: Callable[[], object] = tuple
        self.turn: RunningTurn | None = None
        self.status = 0
        self.error: ProxyError | None = None
        self.headers: dict[str, str] = {}
        self.followed: Any = None
        self.speaks_codex = False
        self.models_tag: str | None = None
        self._observer = observer
        self._is_logged = False
        self._is_detached = False
        self._is_finished = False

    @property
    def backend(self) -> str | None:
        """The provider that answers, or refused to."""
        return (self.turn.backend if self.turn else None) or (self.error.backend if self.error else None)

    def log_start(self, method: str, path: str) -> None:
        """Logs the start; requests that never log it, such as health checks, do not log their end either."""
        self._is_logged = True
        access_log.info("request start", extra=fields(method=method, path=path))

    def begin_turn(self, api: str) -> RunningTurn:
        """The turn of this request, recorded at its end; ``api`` names the API format."""
        self.turn = RunningTurn(api, self.identity.name, self.request_id, self.timer, self._observer)
        return self.turn

    def detach_turn(self) -> bool:
        """Leaves the turn to another owner, or to nobody where it is not run.

        Returns:
            Whether its end should be logged.
        """
        self._is_detached = True
        return self._is_logged

    def follow(self, response: Response) -> None:
        """Ends with this streamed response instead of with the view; ``followed`` is its generator."""
        self.followed = response.response
        if self.turn is not None:
            self.turn.forget_conversation()
        self._observer.stream_began()
        response.call_on_close(self.finish)

    def answered(self, status: int) -> None:
        """Notes the status of the answer, whose headers leave now."""
        self.status = status
        if self._own_turn is not None:
            self._own_turn.status = status
            if self.followed is not None:
                self._own_turn.note()

    def failed(self, error: ProxyError) -> None:
        """Notes the error that ended the request."""
        self.error = error
        if self._own_turn is not None:
            self._own_turn.failed(error)

    def client_left(self) -> None:
        """Notes that the client disconnected."""
        self.status = CLIENT_LEFT
        if self._own_turn is not None:
            self._own_turn.client_left()

    def finish(self) -> None:
        """Frees everything, logs the end and records the turn; only the first call does anything."""
        if self._is_finished:
            return
        self._is_finished = True
        turn = self._own_turn
        run_each(
            self.stop_watching,
            *((turn.exits.close,) if turn else ()),
            self.exits.close,
            self._log_end,
            *((turn.record,) if turn else ()),
            self._let_go,
        )

    @property
    def _own_turn(self) -> RunningTurn | None:
        return None if self._is_detached else self.turn

    def _log_end(self) -> None:
        if self._is_logged:
            error = self.error or (self._own_turn.error if self._own_turn else None)
            log_end("request", self.status, error, self.timer, self.turn, costs=not self._is_detached)

    def _let_go(self) -> None:
        if self.followed is not None:
            self._observer.stream_ended()
        if self.error is not None:
            forget_frames(self.error)
        # What closes the request knows the request: a cycle, and with it the whole conversation would wait for
        # the collector, which comes after hundreds of requests.
        self.turn = self.followed = self.error = None
        self.stop_watching = tuple


def bind(context: RequestContext) -> RequestContext:
    """Makes a context that of the request which the calling greenlet serves."""
    g.context = context
    return context


def current() -> RequestContext:
    """The context of the request that is being served."""
    context: RequestContext = g.context
    return context
