"""One turn from its request to its row in the ledger: who answers it, what it costs, how it ends, what it frees."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

from prometheus_client.core import Metric

from codexproxy import __version__
from codexproxy.errors import ProxyError, forget_frames
from codexproxy.metering.charge import Tally
from codexproxy.observability.log import fields
from codexproxy.observability.metrics import Metrics, build_info
from codexproxy.protocol.numbers import Usage
from codexproxy.protocol.request import Execution, StorageOptions, Turn
from codexproxy.protocol.stream import EventStream, ResponseMetadata
from codexproxy.storage.sqlite.ledger import TurnRecord
from codexproxy.storage.turn_journal import Account, Journal, Slot

Gauges = Callable[[], Iterable[Metric]]


class RowSink(Protocol):
    """Takes the rows of turns; it must neither wait nor raise."""

    def add(self, turn: Slot) -> None:
        """Takes the row of a turn; its slot is freed once the row is written."""

    def close(self) -> None:
        """Writes what waits."""


class TurnObserver:
    """Told of every turn of this worker.

    Args:
        metrics: Counts.
        ledger: Takes a row per turn.
        gauges: What is true at the moment somebody asks.
        journal: Outlives this worker, should it be killed.
    """

    def __init__(
        self,
        metrics: Metrics,
        ledger: RowSink | None = None,
        gauges: Iterable[Gauges] = (),
        journal: Journal | None = None,
    ) -> None:
        self.metrics = metrics
        self.journal = journal
        self._ledger = ledger
        self._gauges = list(gauges)

    def stream_began(self) -> None:
        """A stream is being answered."""
        self.metrics.stream_began()

    def stream_ended(self) -> None:
        """It is over."""
        self.metrics.stream_ended()

    def turn_ended(self, record: TurnRecord, error: ProxyError | None, slot: Slot | None = None) -> None:
        """A turn is over, one way or the other."""
        ended = self.journal.end(slot, record) if self.journal is not None else Slot(record, Account())
        if self._ledger is not None:
            self._ledger.add(ended)
        self.metrics.turn_ended(record, error)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        current = [build_info(__version__)]
        for gauges in self._gauges:
            current += gauges()
        return self.metrics.page(current)

    def close(self) -> None:
        """Writes what waits, before the worker ends."""
        if self._ledger is not None:
            self._ledger.close()
        if self.journal is not None:
            self.journal.close()


CLIENT_LEFT = 499
# Milliseconds after which what a turn sent is counted closely though it goes on; most turns end before.
LONG = 500

access_log = logging.getLogger("codexproxy.request")


class Timer:
    """Measures how long a request takes.

    Args:
        clock: Monotonic seconds.

    Attributes:
        at: When the request came in, in epoch seconds.
    """

    __slots__ = ("_began", "_clock", "at")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began, self.at = clock(), time.time()

    @property
    def milliseconds(self) -> int:
        """Time since the request came in."""
        return round((self._clock() - self._began) * 1000)


class RunningTurn:
    """What is known of a turn while it runs; a request owns it, or a background run that outlives its request.

    Args:
        api: Name of the API format, as in logs and metrics.
        key: Name of the key that asked.
        request_id: Id of the request that began the turn.
        timer: Started when that request came in.
        observer: Takes the row of the turn at its end.

    Attributes:
        planned: The turn as planned, the first of several; None before.
        answerer: The provider that answers; None before it does.
        error: Why the turn failed; None where it did not.
        status: The HTTP status of the answer; 0 before there is one.
        tally: Tokens of all that is asked upstream for it.
        exits: Frees what the turn holds.
    """

    def __init__(self, api: str, key: str, request_id: str, timer: Timer, observer: TurnObserver) -> None:
        self.api = api
        self.key = key
        self.request_id = request_id
        self.timer = timer
        self.planned: Turn | None = None
        self.answerer: ResponseMetadata | None = None
        self.error: ProxyError | None = None
        self.status = 0
        self.tally = Tally()
        self.exits = ExitStack()
        self._observer = observer
        self._first_ms: int | None = None
        self._slot: Slot | None = None

    @property
    def tokens(self) -> int:
        """Tokens spent so far, in and out, by all attempts."""
        return self.tally.counted().total

    @property
    def backend(self) -> str | None:
        """The provider that answers, or refused to."""
        answering = self.answerer.backend if self.answerer else None
        return answering or (self.error.backend if self.error else None)

    # -- what happens to it -------------------------------------------------------------------

    def admitted(self, account: Account) -> None:
        """Notes the turn where it outlives this worker, should that be killed."""
        journal = self._observer.journal
        if journal is not None:
            self._slot = journal.begin(self.row(), account, self.note)
            self.tally.begun = self.note

    def note(self) -> None:
        """Notes in the journal what the turn cost so far."""
        if self._slot is not None and self._observer.journal is not None:
            usage = self.tally.counted(closely=self.timer.milliseconds >= LONG)
            self._observer.journal.note(self._slot, self.row(usage))

    def charged(self) -> None:
        """Notes in the journal that the tokens of the turn were counted."""
        slot, journal = self._slot, self._observer.journal
        if slot is not None and journal is not None and slot.account.tokens_per_day:
            journal.note(slot, self.row(), charged=True)

    def answered_by(self, streams: Sequence[EventStream]) -> None:
        """Notes who answers, and when that began."""
        self.answerer = streams[0].answerer
        if self._first_ms is None:
            self._first_ms = self.timer.milliseconds

    def failed(self, error: ProxyError) -> None:
        """Notes the error that ended the turn."""
        self.error = error

    def client_left(self) -> None:
        """Notes that the client disconnected."""
        self.status = CLIENT_LEFT

    def forget_conversation(self) -> None:
        """Drops what was asked, which may be long, while the answer may take minutes; its row needs the rest only."""
        turn = self.planned
        if turn is not None:
            body: dict[str, Any] = {name: turn.body[name] for name in ("model", "reasoning") if name in turn.body}
            self.planned = replace(
                turn, body=body, storage=StorageOptions(), restorer=None, render=None, execution=Execution()
            )

    # -- its end ------------------------------------------------------------------------------

    def finish(self, *, logged: bool) -> None:
        """Ends a turn that outlived its request: frees what it holds, logs its end, records it.

        Args:
            logged: Whether its request is logged.
        """
        log = (lambda: log_end("answer", self.status, self.error, self.timer, self),) if logged else ()
        run_each(self.exits.close, *log, self.record)

    def record(self) -> None:
        """Hands the row of the turn to the observer, then drops what is not needed any more."""
        self._observer.turn_ended(self.row(), self.error, self._slot)
        self.tally.settle()
        if self.error is not None:
            # It holds the frames that it came through, and with them the conversation.
            forget_frames(self.error)
        self.planned = self.error = self._slot = None

    def row(self, usage: Usage | None = None) -> TurnRecord:
        """The row of the turn as it stands."""
        turn, usage, error = self.planned, usage or self.tally.counted(), self.error
        later = self.answerer.adapted if self.answerer else ()
        body = turn.body if turn else {}
        reasoning = body.get("reasoning")
        return TurnRecord(
            at=self.timer.at,
            key=self.key,
            client=turn.caller.client if turn else "",
            dialect=self.api,
            model=str(body.get("model") or (turn.model if turn else "")),
            effort=str(reasoning.get("effort") or "") if isinstance(reasoning, dict) else "",
            backend=self.backend or "",
            status=self.status,
            code=(error.code if error else None) or "",
            input_tokens=usage.input,
            cached_tokens=usage.cached,
            output_tokens=usage.output,
            reasoning_tokens=usage.reasoning,
            first_ms=self._first_ms,
            total_ms=self.timer.milliseconds,
            adapted=",".join(dict.fromkeys((turn.adapted if turn else ()) + later)),
        )


def log_end(
    what: str, status: int, error: ProxyError | None, timer: Timer, turn: RunningTurn | None, *, costs: bool = True
) -> None:
    """Logs the end of a request, or of an answer that outlived it.

    Args:
        what: ``request`` or ``answer``.
        status: The HTTP status.
        error: Why it failed; None where it did not.
        timer: Started with the request.
        turn: The turn that was answered; None for other requests.
        costs: Whether this line tells the tokens of the turn.
    """
    planned = turn.planned if turn else None
    usage = turn.tally.counted() if turn and costs else Usage()
    access_log.info(
        f"{what} end",
        extra=fields(
            status=status,
            code=error.code if error else None,
            ms=timer.milliseconds,
            model=planned.model if planned else None,
            backend=(turn.backend if turn else None) or (error.backend if error else None),
            tokens_in=usage.input if usage.total else None,
            tokens_cached=usage.cached if usage.total else None,
            tokens_out=usage.output if usage.total else None,
        ),
    )


def run_each(*steps: Callable[[], object]) -> None:
    """Runs steps that end a request in order, each also when one before it was interrupted.

    A client may leave at this very moment, which must not keep the rest from being freed.
    """
    with ExitStack() as stack:
        for step in reversed(steps):
            stack.callback(_guarded, step)


def _guarded(step: Callable[[], object]) -> None:
    """Runs one step; its failure is logged and must not become the answer."""
    try:
        step()
    except (ProxyError, OSError) as error:
        access_log.warning("some records of a request were lost: %s", error)
    except Exception:  # a bug, which must not become the answer
        access_log.exception("A bug interrupted the end of a request.")
