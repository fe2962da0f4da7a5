"""The measure itself: it tells quadratic work from linear work, whatever it is made of."""

import re

import pytest

from codexproxy.protocol.pacing import paced
from tests.growth.measuring import Build, check


def _linear(size: int) -> object:
    entries = list(range(size))
    return lambda: list(paced(entries, lambda: None))


def _quadratic_in_python(size: int) -> object:
    entries = list(range(size))
    return lambda: [list(paced(entries, lambda: None)) for _ in entries[:: max(1, 2000 // 100)]]


def _quadratic_in_memory(size: int) -> object:
    return lambda: [b"x" * size for _ in range(size)]


def _quadratic_in_c(size: int) -> object:
    text = "<a " * size
    return lambda: re.search("<a[^>]*>", text)


def test_linear_work_passes() -> None:
    check(_linear, 2_000)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "size"), [(_quadratic_in_python, 300), (_quadratic_in_memory, 300), (_quadratic_in_c, 4_000)]
)
def test_quadratic_work_does_not(build: Build, size: int) -> None:
    with pytest.raises(AssertionError):
        check(build, size)
