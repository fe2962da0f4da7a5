"""A body is waited for, but not for ever."""

import io

import gevent
import pytest
from gunicorn.http.errors import InvalidChunkSize

from codexproxy.errors import InvalidRequest
from codexproxy.server.request_body.body import BITE, receive


class Slow(io.BytesIO):
    """Takes some seconds for each read."""

    def __init__(self, data: bytes, seconds: float) -> None:
        super().__init__(data)
        self._seconds = seconds

    def read(self, size: int | None = -1) -> bytes:
        gevent.sleep(self._seconds)
        return super().read(size)


class Broken:
    """Raises instead of bytes."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, size: int) -> bytes:
        raise self._error


@pytest.mark.parametrize("size", [0, 1, BITE - 1, BITE, BITE + 1, 3 * BITE])
@pytest.mark.parametrize("more", [0, 1, BITE])
def test_a_body_is_read_to_its_end_or_to_the_limit(size: int, more: int) -> None:
    data = bytes(index % 251 for index in range(size + more))
    assert receive(io.BytesIO(data), size) == data[:size]
    assert receive(io.BytesIO(data[:size]), size + more) == data[:size]


def test_a_body_that_does_not_come_is_a_408() -> None:
    with pytest.raises(InvalidRequest) as raised:
        receive(Slow(b"{}", 5), 2, patience=0.05)
    assert (raised.value.status, raised.value.code) == (408, "request_timeout")
    assert "0.05 seconds" in raised.value.message


def test_a_large_body_may_take_longer_than_one_bite_of_it() -> None:
    data = b"x" * (5 * BITE)
    assert receive(Slow(data, 0.2), len(data), patience=0.6) == data


@pytest.mark.parametrize("error", [ConnectionResetError(), InvalidChunkSize(b"zz")])
def test_a_body_that_cannot_be_read_is_the_callers_mistake(error: Exception) -> None:
    with pytest.raises(InvalidRequest) as raised:
        receive(Broken(error), 2)
    assert (raised.value.status, raised.value.code) == (400, "invalid_http")
