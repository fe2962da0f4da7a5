"""A turn that goes on when its client leaves: in the background, or to be resumed."""

import logging
import time
from collections.abc import Iterator

import gevent
from gevent.event import Event as Signal
from gevent.queue import Empty, Queue

from codexproxy.dialects.base import Renderer
from codexproxy.errors import ProxyError
from codexproxy.observe.context import bind_request_id
from codexproxy.turns.events import Batch
from codexproxy.turns.failures import failure_of
from codexproxy.web.bugs import internal_error
from codexproxy.web.opening import Opening
from codexproxy.web.replies import HEARTBEAT
from codexproxy.web.requestlog import RequestLog
from codexproxy.web.serving.underway import Underway
from codexproxy.web.stored.record import Record

# Seconds between two looks whether somebody still wants the answer. While a client
# listens it is only said that the answer is being made, well within the store's lease.
LISTENED_PAUSE = 10.0
LONELY_PAUSE = 1.0
# Readers say that they are there about every second; one that did not for so long is gone.
READERS_PAUSE = 3.0

log = logging.getLogger(__name__)


class Run:
    """Makes one answer in a greenlet of its own, for the store and for a client that listens.

    Args:
        opening: The answer's stream, being opened.
        renderer: Makes the client's frames.
        record: What the store is told.
        grace: Seconds it goes on after its client left; None without a limit, as in the background.
        requestlog: Ended with the run.
    """

    # ``Underway`` looks at it: a run writes to no socket, so it may be ended at any moment.
    followed = None

    def __init__(
        self, opening: Opening, renderer: Renderer, record: Record, grace: float | None, requestlog: RequestLog
    ) -> None:
        self._opening = opening
        self._renderer = renderer
        self._record = record
        self._grace = grace
        self._requestlog = requestlog
        self._told: Queue[bytes | None] = Queue()
        self._lonely = Signal()
        self._left_at = 0.0
        self._maker: gevent.Greenlet | None = None
        self._watcher: gevent.Greenlet | None = None

    def start(self, underway: Underway) -> None:
        """Goes on from here without the calling greenlet; registered while it lasts."""
        self._maker = gevent.spawn(self._go, underway)
        self._watcher = gevent.spawn(self._watch)

    # -- the client ----------------------------------------------------------------------

    def pieces(self, patience: float) -> Iterator[bytes]:
        """The client's bytes, with a heartbeat after so many silent seconds."""
        ended = False
        while not ended:
            try:
                waiting = [self._told.get(timeout=patience)]
            except Empty:
                yield HEARTBEAT
                continue
            except ProxyError:
                # The worker ends. The run was told as well, and has the last word.
                continue
            while not self._told.empty():
                waiting.append(self._told.get())
            ended = waiting[-1] is None
            yield b"".join(piece for piece in waiting if piece)

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
            self._told.put(self._record.give_up())
        except Exception:  # A bug must still end the answer with a reason.
            log.exception("bug while an answer was made")
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
        self._told.put(held)

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
            self._told.put(piece)
        # A stream with its client at hand is written down now and then only, by the watcher.
        lazily = listened and self._grace is not None
        if not lazily and not self._record.keep_up():
            raise gevent.GreenletExit

    def _fail(self, error: ProxyError, held: bytes = b"") -> None:
        self._requestlog.failed(error)
        self._stop_watching()
        last_words = self._renderer.fail(error)
        self._record.end(error, last_words)
        self._told.put(held + last_words)

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
