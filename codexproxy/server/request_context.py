"""One request from start to end: what is logged of it and what is freed after it."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from flask import Response

from codexproxy.errors import ProxyError, forget_frames
from codexproxy.metering.charge import Tally
from codexproxy.observability.log import fields
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.request import Execution, StorageOptions, Turn
from codexproxy.protocol.stream import Answerer, EventStream
from codexproxy.protocol.usage import Usage
from codexproxy.server.codex_request import headers_for
from codexproxy.server.turn_observer import TurnObserver
from codexproxy.storage.ledger import TurnRecord
from codexproxy.storage.turn_journal import Account, Slot

CLIENT_LEFT = 499
# Characters of a header that tells what was ignored or adapted; a request may have any number of unknown fields.
LONGEST_NOTES = 2000
# Milliseconds after which what a turn sent is counted closely though it goes on; most turns end before.
LONG = 500

log = logging.getLogger("codexproxy.request")


class RequestContext:
    """Follows one request and logs its end once, however it ends.

    Args:
        request_id: The id the caller sees in ``x-request-id``.
        observation: Told of the turn when it is over.
        clock: Monotonic seconds.
    """

    def __init__(self, request_id: str, observer: TurnObserver, clock: Callable[[], float] = time.monotonic) -> None:
        self.request_id = request_id
        self.key = ""
        # Named by the routes that run a turn; only those are recorded.
        self.dialect = ""
        self.turn: Turn | None = None
        self.answerer: Answerer | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.followed: Any = None
        self.logged = False
        self.what = "request"
        self._observer = observer
        self._clock = clock
        self._began, self._at = clock(), time.time()
        self.tally = Tally()
        self._first: int | None = None
        self._error: ProxyError | None = None
        self._closers: list[Callable[[], object]] = []
        self._first_closers: list[Callable[[], object]] = []
        self._finished = False
        self._slot: Slot | None = None

    @property
    def milliseconds(self) -> int:
        """Time since the request came in."""
        return round((self._clock() - self._began) * 1000)

    @property
    def tokens(self) -> int:
        """Tokens spent, in and out, by all that was asked upstream for this request."""
        return self.tally.counted().total

    @property
    def backend(self) -> str | None:
        """The provider that answers, or refused to."""
        answering = self.answerer.backend if self.answerer else None
        return answering or (self._error.backend if self._error else None)

    def begin(self, method: str, path: str) -> None:
        """Logs the start; requests that never begin, such as health checks, are not logged."""
        self.logged = True
        log.info("request start", extra=fields(method=method, path=path))

    def on_end(self, close: Callable[[], object], *, first: bool = False) -> None:
        """Registers what has to be freed when the request is over, also when it never streamed.

        Args:
            close: Frees it.
            first: Whether it goes before all others, which are freed the last one first.
        """
        (self._first_closers if first else self._closers).append(close)

    def successor(self) -> "RequestContext":
        """Another log, for an answer that may outlive this request."""
        return RequestContext(self.request_id, self._observer, self._clock)

    def take_over(self, request: "RequestContext") -> None:
        """From now on this log, and not the request's, tells what became of the turn."""
        self.key, self.turn, self.status = request.key, request.turn, 200
        self.dialect, request.dialect = request.dialect, ""
        self.what, self.logged = "answer", request.logged
        self._look()

    def note(self, request: "RequestContext", account: Account) -> None:
        """Notes a turn that is let in where it outlives this worker, should that be killed; ``request`` knows it."""
        journal = self._observer.journal
        if journal is not None:
            self._slot = journal.begin(request._row(), account, self._look)
            self.tally.begun = self._look

    def _look(self) -> None:
        if self._slot is None or self._observer.journal is None:
            return
        milliseconds = self.milliseconds
        usage = self.tally.counted(closely=milliseconds >= LONG)
        # Whoever takes a turn over knows it only then.
        row = self._row(usage) if self.dialect else _costing(self._slot.row, usage, milliseconds)
        self._observer.journal.note(self._slot, row)

    def charged(self) -> None:
        """Notes that the tokens of the turn were counted."""
        slot, journal = self._slot, self._observer.journal
        if slot is not None and journal is not None and slot.account.tokens_per_day:
            row = _costing(slot.row, self.tally.counted(), self.milliseconds)
            journal.note(slot, row, charged=True)

    def follow(self, response: Response) -> None:
        """Ends with this streamed response instead of with the view; ``followed`` is its generator."""
        self.followed = response.response
        if self.turn is not None:
            self.turn = _without_conversation(self.turn)
        self._observer.stream_began()
        response.call_on_close(self.finish)

    def decorate(self, response: Response) -> None:
        """Puts on the answer what is known of the request by now."""
        self.status = response.status_code
        response.headers.update(headers_for(self.answerer))
        response.headers.update(self.headers)
        response.headers["x-request-id"] = self.request_id
        response.headers["openai-processing-ms"] = str(self.milliseconds)
        if self.backend:
            response.headers["x-codexproxy-backend"] = _header_text(self.backend)
        if self.turn:
            who = self.answerer
            turn = self.turn.with_notes(ignored=who.ignored, adapted=who.adapted) if who else self.turn
            response.headers.update(_notes(turn))
        if self.followed is not None:
            self._look()

    def answered_by(self, streams: Sequence[EventStream]) -> None:
        """Notes who answers."""
        self.answerer = streams[0].answerer
        if self._first is None:
            self._first = self.milliseconds

    def ended(self, streams: Sequence[EventStream]) -> None:
        """Takes the reason of a failure from the terminal events."""
        for stream in streams:
            failure = failure_of(stream.terminal) if stream.terminal else None
            if failure is not None:
                self.failed(failure)

    def failed(self, error: ProxyError) -> None:
        """Notes why the answer is none."""
        self._error = error

    def left(self) -> None:
        """Notes that the client went away."""
        self.status = CLIENT_LEFT

    def finish(self) -> None:
        """Frees everything and logs the end; only the first call does anything."""
        if self._finished:
            return
        self._finished = True
        # A client may leave at this very moment, which must not keep the rest from being freed.
        with ExitStack() as stack:
            for last in (self._let_go, self._record, self._log, *self._closers, *self._first_closers):
                stack.callback(_free, last)

    def _let_go(self) -> None:
        # What closes the request knows the request: a cycle, and with it the whole conversation would wait for
        # the collector, which comes after hundreds of requests. An error holds the frames that it came through.
        self._closers, self._first_closers = [], []
        self.tally.settle()
        if self._error is not None:
            forget_frames(self._error)
        self.turn = self.followed = self._error = self._slot = None

    def _log(self) -> None:
        if not self.logged:
            return
        turn, usage = self.turn, self.tally.counted()
        log.info(
            f"{self.what} end",
            extra=fields(
                status=self.status,
                code=self._error.code if self._error else None,
                ms=self.milliseconds,
                model=turn.model if turn else None,
                backend=self.backend,
                tokens_in=usage.input if usage.total else None,
                tokens_cached=usage.cached if usage.total else None,
                tokens_out=usage.output if usage.total else None,
            ),
        )

    def _record(self) -> None:
        if self.followed is not None:
            self._observer.stream_ended()
        if self.dialect:
            self._observer.turn_ended(self._row(), self._error, self._slot)
        elif self._slot is not None and self._observer.journal is not None:
            self._observer.journal.free(self._slot)

    def _row(self, usage: Usage | None = None) -> TurnRecord:
        turn, usage, error = self.turn, usage or self.tally.counted(), self._error
        later = self.answerer.adapted if self.answerer else ()
        body = turn.body if turn else {}
        reasoning = body.get("reasoning")
        return TurnRecord(
            at=self._at,
            key=self.key,
            client=turn.caller.client if turn else "",
            dialect=self.dialect,
            model=str(body.get("model") or (turn.model if turn else "")),
            effort=str(reasoning.get("effort") or "") if isinstance(reasoning, dict) else "",
            backend=self.backend or "",
            status=self.status,
            code=(error.code if error else None) or "",
            input_tokens=usage.input,
            cached_tokens=usage.cached,
            output_tokens=usage.output,
            reasoning_tokens=usage.reasoning,
            first_ms=self._first,
            total_ms=self.milliseconds,
            adapted=",".join(dict.fromkeys((turn.adapted if turn else ()) + later)),
        )


def _costing(row: TurnRecord, usage: Usage, milliseconds: int) -> TurnRecord:
    return replace(
        row,
        input_tokens=usage.input,
        cached_tokens=usage.cached,
        output_tokens=usage.output,
        reasoning_tokens=usage.reasoning,
        total_ms=milliseconds,
    )


def _free(close: Callable[[], object]) -> None:
    """Does one thing that ends a request; what goes wrong with it is no matter of the answer."""
    try:
        close()
    except (ProxyError, OSError) as error:
        log.warning("some records of a request were lost: %s", error)
    except Exception:  # a bug, which must not become the answer
        log.exception("A bug interrupted the end of a request.")


def _without_conversation(turn: Turn) -> Turn:
    # A stream may last for minutes, and what was asked may be long; of it only this is told in the end.
    told: dict[str, Any] = {name: turn.body[name] for name in ("model", "reasoning") if name in turn.body}
    return replace(turn, body=told, storage=StorageOptions(), restorer=None, render=None, execution=Execution())


def _notes(turn: Turn) -> dict[str, str]:
    notes = {"x-codexproxy-ignored": turn.ignored, "x-codexproxy-adapted": turn.adapted}
    return {name: _header_text(",".join(values)) for name, values in notes.items() if values}


def _header_text(text: str) -> str:
    # Field names are the caller's own words; what a header cannot hold is replaced.
    text = text[:LONGEST_NOTES]
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if " " <= char <= "~" else "?" for char in text)
