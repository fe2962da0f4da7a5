"""Answers that go on when their client leaves: made in the background, or to be resumed."""

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import gevent
from flask import Response
from gevent.event import Event as Signal
from gevent.queue import Empty, Queue

from codexproxy.apis.base import Api, Renderer
from codexproxy.apis.openai_responses.response_builder import new_id
from codexproxy.apis.openai_responses.stored import broken
from codexproxy.errors import ProxyError
from codexproxy.gunicorn.inflight import Underway
from codexproxy.observability.log_context import bind_request_id
from codexproxy.protocol.events import Batch
from codexproxy.server.prepare import PreparedRequest, admit, open_call
from codexproxy.server.request_context import RequestContext
from codexproxy.server.responses import HEARTBEAT, json_reply, stream_reply
from codexproxy.server.running_turn import RunningTurn
from codexproxy.server.services import Services
from codexproxy.server.stored.background_writer import BackgroundWriter
from codexproxy.server.stored.resume import Frame, ResumeReader
from codexproxy.server.stream_runner import StreamRunner
from codexproxy.server.upstream_call import UpstreamCall

# Seconds between two looks whether somebody still wants the answer. While a client
# listens it is only said that the answer is being made, well within the store's lease.
LISTENED_PAUSE = 10.0
LONELY_PAUSE = 1.0
# Readers say that they are there about every second; one that did not for so long is gone.
READERS_PAUSE = 3.0
# Bytes that may wait for a client that does not read. What comes then is read from the store, if it ever is.
MOST_WAITING = 2**20

# What is known of a background response before anything was asked upstream.
_QUEUED = {"status": "queued"}

log = logging.getLogger(__name__)


def answer_detached(
    api: Api, prepared: PreparedRequest, services: Services, context: RequestContext, turn: RunningTurn
) -> Response:
    """Begins an answer that goes on without its request; its limits and places are held until it ends."""
    in_background = prepared.turn.storage.background
    prepared = _named(prepared) if in_background else prepared
    admit(prepared, services, context, turn)
    writer = BackgroundWriter(api, prepared.turn, services.responses.of(prepared.turn.caller.key), services.pause)
    call = open_call(prepared, services, turn)
    grace = None if in_background else services.responses.grace
    run = BackgroundRun(call, api.renderers(prepared.turn)[0], writer, turn, grace)
    first = writer.begin(_QUEUED) if in_background else {}
    # Until the first heartbeat is due a refusal can still have a status of its own.
    if not in_background and call.wait(services.heartbeat_seconds):
        call.streams()
    run.start(services.inflight, logged=context.detach_turn())
    context.exits.callback(run.detach)
    if not prepared.turn.stream:
        return json_reply(first)
    listener = Listener(run, writer)
    return stream_reply(StreamRunner(listener, listener, context, services.heartbeat_seconds).pieces(), context)


def _named(prepared: PreparedRequest) -> PreparedRequest:
    # The caller needs an id before upstream has one.
    turn = prepared.turn
    return replace(prepared, turns=[replace(turn, storage=replace(turn.storage, response_id=new_id("resp")))])


class BackgroundRun:
    """Makes one answer in a greenlet of its own, for the store and for a client that listens.

    It is the sink of the answer's stream.

    Args:
        call: The answer's stream, being opened.
        renderer: Makes the client's frames.
        writer: Writes the answer to the store.
        turn: Finished with the run.
        grace: Seconds it goes on after its client left; None without a limit, as in the background.
    """

    # ``Underway`` looks at it: a run writes to no socket, so it may be ended at any moment.
    followed = None

    def __init__(
        self, call: UpstreamCall, renderer: Renderer, writer: BackgroundWriter, turn: RunningTurn, grace: float | None
    ) -> None:
        self._call = call
        self._renderer = renderer
        self._writer = writer
        self._turn = turn
        self._grace = grace
        # Frames of the last batch, which leave when the answer is saved.
        self._last_frames = b""
        # Pieces, each with the number of its last event; None at the end.
        self._queue: Queue[Frame | None] = Queue()
        self._waiting = 0
        self._is_behind = False
        self._has_room = Signal()
        self._lonely = Signal()
        self._left_at = 0.0
        self._maker: gevent.Greenlet | None = None
        self._watcher: gevent.Greenlet | None = None

    def start(self, inflight: Underway, *, logged: bool) -> None:
        """Goes on from here without the calling greenlet.

        Args:
            inflight: Knows of the run while it lasts.
            logged: Whether its end is logged.
        """
        self._turn.status = 200
        self._turn.forget_conversation()
        self._turn.note()
        self._maker = gevent.spawn(self._go, inflight, logged)
        self._watcher = gevent.spawn(self._watch)

    # -- the client ----------------------------------------------------------------------

    def frames(self, heartbeat: float | None) -> Generator[tuple[int, list[Frame]], None, int | None]:
        """The client's frames; none after so many silent seconds.

        Returns:
            The number of the last event that was yielded, where the client read too slowly and the
            rest has to be read from the store; None at the end.
        """
        last = -1
        while not (self._is_behind and self._queue.empty()):
            try:
                entries = [self._queue.get(timeout=heartbeat)]
            except Empty:
                yield 0, []
                continue
            except ProxyError:
                # The worker ends. The run was told as well, and has the last word.
                continue
            while not self._queue.empty():
                entries.append(self._queue.get())
            frames = [entry for entry in entries if entry is not None]
            self._waiting -= sum(len(piece) for _, piece in frames)
            last = frames[-1][0] if frames else last
            self._has_room.set()
            if frames:
                yield 0, frames
            if entries[-1] is None and not self._is_behind:
                return None
        return last

    def detach(self) -> None:
        """The client does not listen, or not any more; harmless when called twice."""
        self._left_at = self._left_at or time.time()
        self._lonely.set()

    # -- the maker -----------------------------------------------------------------------

    def _go(self, inflight: Underway, logged: bool) -> None:
        bind_request_id(self._turn.request_id)
        try:
            self._turn.exits.callback(inflight.enter(self))
            StreamRunner(self._call, self, self._turn, LISTENED_PAUSE).run()
        except ProxyError as error:  # the worker begins nothing any more
            self._turn.failed(error)
            self.fail(0, error)
        except gevent.GreenletExit:
            self._turn.client_left()
            self._stop_watching()
            self._offer(self._writer.give_up())
        finally:
            self._stop_watching()
            self._queue.put(None)
            self._turn.finish(logged=logged)
            self._maker = None

    def take(self, number: int, batch: Batch) -> bytes:
        """Hands events to the store and to the client; the last ones wait for ``end`` or ``fail``."""
        piece = self._frames(batch)
        if self._call.streams()[0].terminal is None:
            self._tell(piece)
        else:
            self._last_frames += piece
        return b""

    def silence(self) -> bytes:
        """Writes what waits; ends the run when nobody wants it any more."""
        self._tell(b"")
        return b""

    def end(self) -> bytes:
        """Saves the answer before its last frames leave, so that a client that has them may continue at once."""
        self._stop_watching()
        self._writer.end()
        self._offer(self._last_frames)
        return b""

    def fail(self, number: int, error: ProxyError) -> bytes:
        """Ends the answer with a failure."""
        self._stop_watching()
        last_words = self._renderer.fail(error)
        self._writer.end(error, last_words)
        self._offer(self._last_frames + last_words)
        return b""

    def _frames(self, batch: Batch) -> bytes:
        frames: list[bytes] = []
        try:
            for event in batch:
                frames.append(self._renderer.render([event]))
                self._writer.note(event, frames[-1])
        except ProxyError:
            self._tell(b"".join(frames))
            raise
        return b"".join(frames)

    def _tell(self, piece: bytes) -> None:
        listened = not self._lonely.is_set()
        if listened and piece:
            self._make_room(len(piece))
            self._offer(piece)
        # A stream with its client at hand is written down now and then only, by the watcher.
        lazily = listened and self._grace is not None and not self._is_behind and self._writer.waiting < MOST_WAITING
        if not lazily and not self._writer.flush():
            raise gevent.GreenletExit

    def _make_room(self, size: int) -> None:
        while self._waiting and self._waiting + size > MOST_WAITING and not self._lonely.is_set():
            if self._writer.is_saved:
                self._is_behind = True
                return
            # Nobody but this client has a use for the answer, so that it may be waited for.
            self._has_room.clear()
            self._has_room.wait(LONELY_PAUSE)

    def _offer(self, piece: bytes) -> None:
        if not self._is_behind:
            self._waiting += len(piece)
            self._queue.put((self._writer.last, piece))

    # -- the watcher ---------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._is_overdue() and self._writer.renew_lease():
            if self._lonely.is_set():
                gevent.sleep(LONELY_PAUSE)
            else:
                self._lonely.wait(LISTENED_PAUSE)
        if self._maker is not None:
            self._maker.kill(block=False)

    def _is_overdue(self) -> bool:
        if self._grace is None or not self._lonely.is_set():
            return False
        if not self._writer.id:
            return True  # Nobody knows what to ask for.
        if time.time() - self._left_at <= self._grace:
            return False
        return time.time() - self._writer.last_read_at() > max(self._grace, READERS_PAUSE)

    def _stop_watching(self) -> None:
        # It could take a finished answer for an unwanted one.
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.kill()


class Listener:
    """The client of a run, which reads along, and from the store what it was too slow for.

    Args:
        run: Makes the answer.
        writer: Writes it to the store.
    """

    def __init__(self, run: BackgroundRun, writer: BackgroundWriter) -> None:
        self._run = run
        self._writer = writer
        self._reader: ResumeReader | None = None

    def batches(self, heartbeat: float | None) -> Iterator[tuple[int, list[Frame]]]:
        """See ``Source.batches``."""
        last = yield from self._run.frames(heartbeat)
        if last is not None:
            self._reader = self._writer.reader(last)
            yield from self._reader.batches(heartbeat)

    def failures(self) -> Sequence[tuple[int, ProxyError]]:
        """None: the run itself fails, and its failure is a frame like others."""
        return ()

    def take(self, number: int, frames: list[Frame]) -> bytes:
        """The bytes of these frames."""
        if self._reader is not None:
            return self._reader.take(number, frames)
        return b"".join(piece for _, piece in frames)

    def silence(self) -> bytes:
        """A heartbeat."""
        return HEARTBEAT

    def fail(self, number: int, error: ProxyError) -> bytes:
        """The end of an answer that cannot be followed any more."""
        return self._reader.fail(number, error) if self._reader is not None else broken(error, self._writer.last)

    def end(self) -> bytes:
        """The end of an answer whose log lacks one; the run itself always has one."""
        return self._reader.end() if self._reader is not None else b""
