"""One client connection: reads requests, carries out answers, notices when the client leaves."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import gevent
from gevent import getcurrent

from codexproxy.simulator.delivery import BadScript, Cut, Send, Sleep, Step, Until, Wait
from codexproxy.simulator.gates import Gates
from codexproxy.simulator.http import BadRequest, Reader, Request, read_request
from codexproxy.simulator.recorder import Recorder, Seen
from codexproxy.simulator.replies import Reply, json_reply

MAX_PIPELINED = 1024 * 1024


class ClientLeft(Exception):
    """The client closed or reset the connection while its answer was under way."""


class Ended(Exception):
    """The answer's plan ended the connection."""


@dataclass(slots=True)
class Performance:
    """An answer that is carried out step by step, head included.

    Attributes:
        lasting: Whether the connection can be used again afterwards.
        status: What the head says, for the record.
        is_turn: Whether it counts as an open stream.
        linger: Whether nothing ends the answer but the client.
    """

    steps: Iterator[Step]
    lasting: bool = True
    status: int = 200
    is_turn: bool = False
    linger: bool = False


Answer = Reply | Performance


class Application(Protocol):
    """What a connection needs of the simulator."""

    recorder: Recorder
    gates: Gates
    performing: set[Any]

    def answer(self, request: Request) -> Answer: ...


class Connection:
    """Serves one accepted socket until either side closes it."""

    def __init__(self, sock: Any, application: Application, scheme: str = "http") -> None:
        self._sock = sock
        self._application = application
        self._scheme = scheme
        self._reader = Reader(sock)
        self._actions: dict[type, Callable[[Any], None]] = {
            Send: lambda step: self._send(step.data),
            Sleep: lambda step: gevent.sleep(step.seconds),
            Until: lambda step: gevent.sleep(max(0.0, step.moment - time.monotonic())),
            Wait: lambda step: application.gates.wait(step.gate, step.seconds),
            Cut: self._cut,
        }

    def serve(self) -> None:
        """Answers requests one after the other."""
        # The recorder is asked for anew each time: a reset replaces it.
        self._application.recorder.connections += 1
        self._application.recorder.open_connections += 1
        try:
            sock_options(self._sock)
            while self._serve_one():
                pass
        except (OSError, ClientLeft, Ended):
            # The other end is gone, or the script wanted this end gone: nothing is left to say.
            pass
        finally:
            self._application.recorder.open_connections -= 1
            self._sock.close()

    def _serve_one(self) -> bool:
        try:
            request = read_request(self._reader, self._sock.sendall, self._scheme)
        except BadRequest as error:
            self._sock.sendall(json_reply({"detail": str(error)}, error.status).render(keep_alive=False))
            return False
        if request is None:
            return False
        seen = self._application.recorder.saw(request)
        try:
            answer = self._application.answer(request)
        except BadScript as error:
            answer = json_reply({"detail": f"simulator: {error}"}, 500)
        if isinstance(answer, Reply):
            seen.status = answer.status
            self._sock.sendall(answer.render(request.keep_alive, request.method == "HEAD"))
            self._application.recorder.ended(seen, "answered")
            return request.keep_alive
        self._perform(answer, seen)
        return answer.lasting and request.keep_alive

    def _perform(self, answer: Performance, seen: Seen) -> None:
        recorder = self._application.recorder
        seen.status = answer.status
        if answer.is_turn:
            recorder.opened(seen)
        outcome, greenlet = "cut", getcurrent()
        self._application.performing.add(greenlet)
        watch = Watch(self._sock, self._reader, lambda: recorder.ended(seen, "client_left"))
        try:
            for step in answer.steps:
                self._actions[type(step)](step)
            if answer.linger:
                self._application.gates.wait(None, None)
            outcome = "answered"
        except OSError:
            outcome = "client_left"
            raise
        finally:
            watch.stop()
            self._application.performing.discard(greenlet)
            recorder.ended(seen, outcome)

    def _send(self, data: bytes) -> None:
        # gevent's sendall asks the kernel for its buffer's size each time; most writes fit without.
        sent = self._sock.send(data)
        if sent < len(data):
            self._sock.sendall(memoryview(data)[sent:])

    def _cut(self, step: Cut) -> None:
        if step.how == "reset":
            # Closing with a linger time of zero sends RST instead of FIN.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif step.how == "half_close":
            self._sock.shutdown(socket.SHUT_WR)
            self._application.gates.wait(None, None)
        raise Ended


class Watch:
    """Notices, also in silence, that the client has gone; bytes that come instead are kept for later."""

    def __init__(self, sock: Any, reader: Reader, on_gone: Callable[[], None]) -> None:
        self._sock = sock
        self._reader = reader
        self._on_gone = on_gone
        self._greenlet = getcurrent()
        self._taken = 0
        self._watcher = gevent.get_hub().loop.io(sock.fileno(), 1)
        self._watcher.start(self._readable)

    def _readable(self) -> None:
        # Runs in the hub, which must never block: hence the timeout of zero.
        timeout = self._sock.gettimeout()
        self._sock.settimeout(0.0)
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            if type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError"):
                return
            data = b""
        finally:
            self._sock.settimeout(timeout)
        if data and self._taken < MAX_PIPELINED:
            self._taken += len(data)
            self._reader.feed(data)
            return
        self.stop()
        if not data:
            self._on_gone()
            self._greenlet.kill(ClientLeft(), block=False)

    def stop(self) -> None:
        """Stops watching; harmless when called twice."""
        self._watcher.stop()
        self._watcher.close()


def sock_options(sock: Any) -> None:
    """Small writes leave at once: a paced delta must not wait for its successor."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
