"""Waits for a socket: ended by data, by silence, or from outside; never by another's end."""

import time
from collections.abc import Iterator

import gevent
import pytest
from gevent import socket

from codexproxy.gunicorn import socket_wait
from codexproxy.gunicorn.socket_wait import EXACTLY_BELOW, TICK, wait_readable
from tests.patience import patient

LONG = EXACTLY_BELOW + 1


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


def timed(sock: socket.socket, seconds: float) -> tuple[bool, float]:
    began = time.monotonic()
    return wait_readable(sock, seconds), time.monotonic() - began


@pytest.mark.parametrize("seconds", [0.5, LONG])
def test_data_that_is_there_ends_the_wait_at_once(pair: tuple[socket.socket, socket.socket], seconds: float) -> None:
    near, far = pair
    far.send(b"x")
    found, took = timed(near, seconds)
    assert found
    assert took < patient(0.2)


@pytest.mark.parametrize("seconds", [2.0, LONG])
def test_data_that_comes_ends_the_wait(pair: tuple[socket.socket, socket.socket], seconds: float) -> None:
    near, far = pair
    gevent.spawn_later(0.1, far.send, b"x")
    assert timed(near, seconds)[0]
    assert near.recv(1) == b"x"


def test_a_short_silence_is_timed_exactly(pair: tuple[socket.socket, socket.socket]) -> None:
    found, took = timed(pair[0], 0.05)
    assert not found
    assert 0.04 < took < TICK


def test_many_long_silences_end_soon_after_their_time() -> None:
    pairs = [socket.socketpair() for _ in range(5)]
    waits = [gevent.spawn(timed, near, EXACTLY_BELOW + 0.1 * number) for number, (near, _) in enumerate(pairs)]
    gevent.joinall(waits, timeout=LONG + 5)
    for number, wait in enumerate(waits):
        found, took = wait.value
        assert not found
        assert took >= EXACTLY_BELOW + 0.1 * number
    assert not any(waits.ends for waits in socket_wait._WAITS.values())
    for near, far in pairs:
        near.close()
        far.close()


def test_the_peers_end_is_something_to_read(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    gevent.spawn_later(0.05, far.close)
    assert timed(near, LONG)[0]
    assert near.recv(1) == b""


def test_a_wait_that_is_killed_leaves_the_socket_usable(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    waiting = gevent.spawn(wait_readable, near, LONG)
    gevent.sleep(0)
    waiting.kill()
    far.send(b"x")
    assert timed(near, LONG)[0]


def test_a_socket_that_is_closed_meanwhile_ends_the_wait_with_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, _ = pair
    waiting = gevent.spawn(_outcome, near)
    gevent.sleep(0)
    near.close()
    assert isinstance(waiting.get(timeout=patient(2)), OSError)


def _outcome(sock: socket.socket) -> object:
    try:
        return wait_readable(sock, LONG)
    except OSError as error:
        return error
