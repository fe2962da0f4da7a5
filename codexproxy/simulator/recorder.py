"""What the simulator has seen: requests, streams, clients that went away."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codexproxy.simulator.http import Request

CONTROL_PREFIX = "/_sim/"
KEPT_REQUESTS = 2000
KEPT_BODY = 8 * 1024 * 1024


@dataclass(slots=True)
class Seen:
    """One received request; times in epoch seconds."""

    number: int
    at: float
    request: Request
    status: int | None = None
    outcome: str = "open"
    ended_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The request as tests read it."""
        request = self.request
        return {
            "number": self.number,
            "at": self.at,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "raw_headers": request.raw_headers,
            "content_encoding": request.headers.get("content-encoding"),
            "raw_size": len(request.raw_body),
            "size": len(request.body),
            "json": _json_of(request),
            "text": None if len(request.body) > KEPT_BODY else request.body.decode("utf-8", "replace"),
            "status": self.status,
            "outcome": self.outcome,
            "ended_at": self.ended_at,
        }


def _json_of(request: Request) -> Any:
    if not request.body or len(request.body) > KEPT_BODY:
        return None
    try:
        return request.json()
    except ValueError:
        return None


@dataclass(slots=True)
class Recorder:
    """Counters and the last requests.

    Attributes:
        open_streams: Turns that are being answered right now.
        keeping: Whether requests are kept; a benchmark switches it off.
    """

    clock: Callable[[], float] = time.time
    keeping: bool = True
    requests: deque[Seen] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    by_path: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    open: set[int] = field(default_factory=set)
    max_open: int = 0
    disconnects: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    polls: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    connections: int = 0
    open_connections: int = 0
    _number: int = 0

    def saw(self, request: Request) -> Seen:
        """Notes a request; those that steer the simulator are not traffic."""
        if request.path.startswith(CONTROL_PREFIX):
            return Seen(0, self.clock(), request)
        self._number += 1
        seen = Seen(self._number, self.clock(), request)
        self.by_path[request.path] += 1
        if self.keeping:
            self.requests.append(seen)
        return seen

    def opened(self, seen: Seen) -> None:
        """A turn begins."""
        self.open.add(seen.number)
        self.max_open = max(self.max_open, len(self.open))

    def ended(self, seen: Seen, outcome: str) -> None:
        """A request is over: ``answered``, ``cut`` by script, or the ``client_left``."""
        if seen.ended_at is not None:
            return
        seen.outcome, seen.ended_at = outcome, self.clock()
        self.open.discard(seen.number)
        if outcome == "client_left":
            self.disconnects.append({"at": seen.ended_at, "request": seen.number, "path": seen.request.path})

    def counters(self) -> dict[str, Any]:
        """Everything countable, as JSON."""
        return {
            "open_streams": len(self.open),
            "max_open_streams": self.max_open,
            "requests": dict(self.by_path),
            "total_requests": self._number,
            "disconnects": len(self.disconnects),
            "disconnect_times": [item["at"] for item in self.disconnects],
            "disconnected": list(self.disconnects),
            "connections": self.connections,
            "open_connections": self.open_connections,
            "refreshes": self.counts["refreshes"],
            "refreshes_cut": self.counts["refreshes_cut"],
            "exchanges": self.counts["exchanges"],
            "revocations": self.counts["revocations"],
            "device_poll_times": list(self.polls),
        }
