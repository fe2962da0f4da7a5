"""A turn that goes on when its client leaves: in the background, or to be resumed."""

import logging
import time
from collections.abc import Generator

import gevent
from gevent.event import Event as Signal
from gevent.queue import Empty, Queue

from codexproxy.apis.base import Renderer
from codexproxy.errors import ProxyError
from codexproxy.gunicorn.inflight import Underway
from codexproxy.observability.log_context import bind_request_id
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.events import Batch
from codexproxy.server.bug_errors import internal_error
from codexproxy.server.request_context import RequestContext
from codexproxy.server.responses import HEARTBEAT
from codexproxy.server.stored.background_writer import BackgroundWriter
from codexproxy.server.upstream_call import UpstreamCall

# Seconds between two looks whether somebody still wants the answer. While a client
# listens it is only said that the answer is being made, well within the store's lease.
LISTENED_PAUSE = 10.0
LONELY_PAUSE = 1.0
# Readers say that they are there about every second; one that did not for so long is gone.
READERS_PAUSE = 3.0
# Bytes that may wait for a client that does not read. What comes then is read from the store, if it ever is.
MOST_WAITING = 2**20

log = logging.getLogger(__name__)


class BackgroundRun:
    """Makes one answer in a greenlet of its own, for the store and for a client that listens.

    Args:
        call: The answer's stream, being opened.
        renderer: Makes the client's frames.
        record: What the store is told.
        grace: Seconds it goes on after its client left; None without a limit, as in the background.
        requestlog: Ended with the run.
    """

    # ``Underway`` looks at it: a run writes to no socket, so it may be ended at any moment.
    followed = None

    def __init__(
        self,
        call: UpstreamCall,
        renderer: Renderer,
        record: BackgroundWriter,
        grace: float | None,
        context: RequestContext,
    ) -> None:
        self._opening = call
        self._renderer = renderer
        self._record = record
        self._grace = grace
        self._requestlog = context
        # Pieces, each with the number of its last event; None at the end.
        self._told: Queue[tuple[bytes, int] | None] = Queue()
        self._waiting = 0
        self._is_behind = False
        self._has_room = Signal()
        self._lonely = Signal()
        self._left_at = 0.0
        self._maker: gevent.Greenlet | None = None
        self._watcher: gevent.Greenlet | None = None

    def start(self, underway: Underway) -> None:
        """Goes on from here without the calling greenlet; registered while it lasts."""
        self._maker = gevent.spawn(self._go, underway)
        self._watcher = gevent.spawn(self._watch)

    # -- the client ----------------------------------------------------------------------

    def pieces(self, patience: float) -> Generator[bytes, None, int | None]:
        """The client's bytes, with a heartbeat after so many silent seconds.

        Returns:
            The number of the last event that was told, where the client read too slowly and the
            rest has to be read from the store; None at the end.
        """
        last = -1
        while not (self._is_behind and self._told.empty()):
            try:
                entries = [self._told.get(timeout=patience)]
            except Empty:
                yield HEARTBEAT
                continue
            except ProxyError:
                # The worker ends. The run was told as well, and has the last word.
                continue
            while not self._told.empty():
                entries.append(self._told.get())
            pieces = [entry for entry in entries if entry is not None]
            self._waiting -= sum(len(piece) for piece, _ in pieces)
            last = pieces[-1][1] if pieces else last
            self._has_room.set()
            yield b"".join(piece for piece, _ in pieces)
            if entries[-1] is None and not self._is_behind:
                return None
        return last

    def leave(self) -> None:
        """The client does not listen, or not any more; harmless when called twice."""
        self._left_at = self._left_at or time.time()
        self._lonely.set()

    # -- the maker -----------------------------------------------------------------------

    def _go(self, underway: Underway) -> None:
        bind_request_id(self._requestlog.request_id)
        try:
            self._requestlog.on_end(underway.enter(self))
            self._make()
        except ProxyError as error:
            self._fail(error)
        except gevent.GreenletExit:
            self._requestlog.left()
            self._stop_watching()
            self._offer(self._record.give_up())
        except Exception:  # A bug must still end the answer with a reason.
            log.exception("bug while a response was running")
            self._fail(internal_error(self._requestlog.request_id))
        finally:
            self._stop_watching()
            self._told.put(None)
            self._requestlog.finish()
            self._maker = None

    def _make(self) -> None:
        while not self._opening.wait(LISTENED_PAUSE):
            pass
        streams = self._opening.streams()
        self._requestlog.answered_by(streams)
        held = b""
        for batch in streams[0]:
            piece = self._frames(batch)
            if streams[0].terminal is None:
                self._tell(piece)
            else:
                held += piece
        self._requestlog.ended(streams)
        failure = failure_of(streams[0].terminal) if streams[0].terminal else None
        if failure is not None:
            self._fail(failure, held)
            return
        self._stop_watching()
        # Whoever has the last bytes may continue at once.
        self._record.end()
        self._offer(held)

    def _frames(self, batch: Batch) -> bytes:
        frames: list[bytes] = []
        try:
            for event in batch:
                frames.append(self._renderer.render([event]))
                self._record.note(event, frames[-1])
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
        lazily = listened and self._grace is not None and not self._is_behind and self._record.waiting < MOST_WAITING
        if not lazily and not self._record.keep_up():
            raise gevent.GreenletExit

    def _make_room(self, size: int) -> None:
        while self._waiting and self._waiting + size > MOST_WAITING and not self._lonely.is_set():
            if self._record.is_kept:
                self._is_behind = True
                return
            # Nobody but this client has a use for the answer, so that it may be waited for.
            self._has_room.clear()
            self._has_room.wait(LONELY_PAUSE)

    def _offer(self, piece: bytes) -> None:
        if not self._is_behind:
            self._waiting += len(piece)
            self._told.put((piece, self._record.last))

    def _fail(self, error: ProxyError, held: bytes = b"") -> None:
        self._requestlog.failed(error)
        self._stop_watching()
        last_words = self._renderer.fail(error)
        self._record.end(error, last_words)
        self._offer(held + last_words)

    # -- the watcher ---------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._is_overdue() and self._record.vouch():
            if self._lonely.is_set():
                gevent.sleep(LONELY_PAUSE)
            else:
                self._lonely.wait(LISTENED_PAUSE)
        if self._maker is not None:
            self._maker.kill(block=False)

    def _is_overdue(self) -> bool:
        if self._grace is None or not self._lonely.is_set():
            return False
        if not self._record.id:
            return True  # Nobody knows what to ask for.
        if time.time() - self._left_at <= self._grace:
            return False
        return time.time() - self._record.attended() > max(self._grace, READERS_PAUSE)

    def _stop_watching(self) -> None:
        # It could take a finished answer for an unwanted one.
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.kill()
