"""Notices clients that leave while nothing is being written to them.

gunicorn would notice at the next write only, which may be minutes away. One
``epoll`` per worker, edge-triggered for the peer's hang-up, is polled every
200 ms by a greenlet that exists only while somebody is being watched.
"""

import select
import socket
from contextlib import suppress
from typing import Any

import gevent
from gevent import monkey

# Seconds between two looks.
INTERVAL = 0.2


def _new_poll() -> Any:
    # gevent takes ``epoll`` out of the patched module. Where the system has none,
    # a client that left is noticed at the next write or heartbeat.
    try:
        return monkey.get_original("select", "epoll")()
    except AttributeError:
        return None


class ClientGone(gevent.GreenletExit):  # type: ignore[misc]
    """Thrown into the greenlet that serves a client which has left (499, logged only)."""


class Departures:
    """Watches the sockets of clients that are being served; one per worker."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._watched: dict[int, gevent.Greenlet] = {}
        self._poll: Any = None
        self._looker: gevent.Greenlet | None = None

    def watch(self, sock: socket.socket) -> int | None:
        """Throws ``ClientGone`` into the calling greenlet once this client leaves.

        A half-closed client counts as gone.

        Returns:
            What ``forget`` wants back.
        """
        number = sock.fileno()
        if number < 0:
            return None
        self._poll = self._poll or _new_poll()
        try:
            self._poll.register(number, select.EPOLLRDHUP | select.EPOLLET)
        except (OSError, AttributeError):
            return None
        self._watched[number] = gevent.getcurrent()
        if self._looker is None or self._looker.dead:
            self._looker = gevent.spawn(self._look)
        return number

    def forget(self, number: int | None) -> None:
        """Ends the watch; called by the greenlet that began it."""
        if number is None or self._watched.pop(number, None) is None:
            return
        with suppress(OSError):  # A closed socket was forgotten by epoll itself.
            self._poll.unregister(number)

    def _look(self) -> None:
        while self._watched:
            gevent.sleep(self._interval)
            for number, _ in self._poll.poll(0):
                greenlet = self._watched.pop(number, None)
                if greenlet is not None:
                    gevent.kill(greenlet, ClientGone)
