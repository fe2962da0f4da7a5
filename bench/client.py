"""The load client: many requests at once over raw sockets and one epoll, every delta timed.

Run as ``python -m bench.client``: reads a ``Load`` as JSON from standard input, prints ``open`` once
every first request has its first word, and at the end one line of JSON with what it saw.
"""

import heapq
import json
import re
import select
import socket
import sys
import time
from array import array
from collections import Counter
from dataclasses import dataclass

from bench.answer import Answer
from bench.figures import Metrics, percentile

READ_SIZE = 262_144
# A delta in either dialect; its text is the moment it was sent (see ``frames``).
_DELTA = re.compile(rb'"(?:delta|content)": ?"(\d{10,19}) "')
# Longest beginning of a delta that a read may end in.
_CARRY = 64
_END = re.compile(rb"data: \[DONE\]|event: response\.completed|\"finish_reason\": ?\"|\"object\": ?\"response\"")


@dataclass(frozen=True, slots=True)
class Load:
    """What the client does.

    Attributes:
        port: Where the server listens on 127.0.0.1.
        path: What is asked for.
        body: The JSON text of every request.
        requests: How many requests in all.
        at_once: How many connections; each sends its next request when the last is answered.
        ramp: Seconds over which the connections begin.
        deltas: How many deltas every answer must bring; 0: do not look.
        stamped: Whether deltas tell when they were sent.
        limit: Seconds after which what is unfinished has failed.
    """

    port: int
    path: str
    body: str
    requests: int
    at_once: int
    ramp: float
    deltas: int
    stamped: bool
    limit: float


class Tally:
    """What was seen."""

    def __init__(self) -> None:
        self.lags, self.firsts, self.totals = array("d"), array("d"), array("d")
        self.deltas = self.reads = self.alone = self.size = self.done = 0
        self.errors: Counter[str] = Counter()

    def metrics(self, seconds: float) -> Metrics:
        """Milliseconds, counts and shares by name."""
        metrics = {
            "seconds": seconds,
            "requests": self.done,
            "errors": self.errors.total(),
            "deltas": self.deltas,
            "rps": self.done / seconds,
            "bytes_per_read": self.size / max(1, self.reads),
            "alone": self.alone / max(1, self.deltas),
        }
        for name, values in (("lag", self.lags), ("first", self.firsts), ("total", self.totals)):
            for percent in (50, 99):
                if values:
                    metrics[f"{name}_p{percent}"] = percentile(values, percent) * 1000
        return metrics


class Exchange:
    """One connection and the request under way on it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer bench\r\nContent-Length: {len(load.body)}\r\n\r\n"
        )
        self.sock: socket.socket | None = None
        self.prepare()

    def prepare(self) -> None:
        """Forgets the last answer."""
        self.answer = Answer()
        self.deltas = 0
        self.whole = False
        self._carry = b""
        self.began = time.monotonic()

    def begin(self) -> socket.socket:
        """Sends the next request and returns the socket, a new one when the last was closed."""
        self.prepare()
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self._load.port), timeout=self._load.limit)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(True)
        self.sock.sendall((self._head + self._load.body).encode())
        self.sock.setblocking(False)
        return self.sock

    def take(self, data: bytes, now: int, tally: Tally) -> None:
        """Takes one read apart."""
        body = self._carry + self.answer.feed(data)
        tally.reads += 1
        tally.size += len(data)
        self.whole = self.whole or bool(_END.search(body))
        end = 0
        found = 0
        for match in _DELTA.finditer(body):
            found += 1
            end = match.end()
            if self._load.stamped:
                tally.lags.append((now - int(match[1])) / 1e9)
        self._carry = body[max(end, len(body) - _CARRY) :]
        if found:
            if not self.deltas:
                tally.firsts.append(now / 1e9 - self.began)
            self.deltas += found
            tally.deltas += found
            tally.alone += found == 1

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Client:
    """Runs one load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._tally = Tally()
        self._epoll = select.epoll()
        self._open: dict[int, Exchange] = {}
        self._unsent = load.requests
        self._waiting: list[tuple[float, int]] = []
        self._told = False

    def run(self) -> Metrics:
        """Sends every request and returns what was seen."""
        began = time.monotonic()
        step = self._load.ramp / self._load.at_once
        self._waiting = [(began + step * number, number) for number in range(self._load.at_once)]
        while self._waiting or self._open:
            now = time.monotonic()
            if now - began > self._load.limit:
                self._tally.errors["unfinished"] += len(self._open) + self._unsent
                break
            while self._waiting and self._waiting[0][0] <= now:
                heapq.heappop(self._waiting)
                self._send(Exchange(self._load))
            self._turn(self._waiting[0][0] - now if self._waiting else 1.0)
            self._tell()
        return self._tally.metrics(time.monotonic() - began)

    @property
    def errors(self) -> dict[str, int]:
        """How often what went wrong."""
        return dict(self._tally.errors)

    def _tell(self) -> None:
        seen = len(self._tally.firsts) + self._tally.errors.total()
        if not self._told and not self._waiting and seen >= self._load.at_once:
            self._told = True
            print("open", flush=True)

    def _turn(self, patience: float) -> None:
        for number, _ in self._epoll.poll(min(1.0, max(0.0, patience))):
            exchange = self._open[number]
            assert exchange.sock is not None
            try:
                data = exchange.sock.recv(READ_SIZE)
                now = time.monotonic_ns()
                exchange.take(data, now, self._tally)
            except (OSError, ValueError) as error:
                self._end(exchange, type(error).__name__)
                continue
            if not data or exchange.answer.ended:
                self._end(exchange, self._fault(exchange))

    def _send(self, exchange: Exchange) -> None:
        self._unsent -= 1
        try:
            sock = exchange.begin()
        except OSError as error:
            self._tally.errors[type(error).__name__] += 1
            exchange.close()
            return
        self._open[sock.fileno()] = exchange
        self._epoll.register(sock, select.EPOLLIN)

    def _fault(self, exchange: Exchange) -> str:
        if exchange.answer.status != 200:
            return f"status {exchange.answer.status}"
        if self._load.deltas and exchange.deltas != self._load.deltas:
            return "deltas missing"
        return "" if exchange.whole else "cut"

    def _end(self, exchange: Exchange, fault: str) -> None:
        assert exchange.sock is not None
        del self._open[exchange.sock.fileno()]
        self._epoll.unregister(exchange.sock)
        if fault:
            self._tally.errors[fault] += 1
        else:
            self._tally.done += 1
            self._tally.totals.append(time.monotonic() - exchange.began)
        if fault or exchange.answer.closes or not exchange.answer.ended:
            exchange.close()
        if self._unsent > 0:
            self._send(exchange)
        else:
            exchange.close()


def main() -> None:
    """Runs as a process of its own."""
    client = Client(Load(**json.loads(sys.stdin.readline())))
    metrics = client.run()
    print(json.dumps({"metrics": metrics, "errors": client.errors}), flush=True)


if __name__ == "__main__":
    main()
