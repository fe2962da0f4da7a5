"""Addresses that try one wrong key after the other have to wait; nobody else does."""

import pytest

from codexproxy.access.lockout import ADDRESSES, MOST, Lockout, counted_as
from codexproxy.errors import RateLimited
from tests.fakes.clock import Clock

FAR = "203.0.113.9"


def is_paused(lockout: Lockout, address: str | None) -> bool:
    try:
        lockout.check(address)
    except RateLimited as refusal:
        assert (refusal.status, refusal.code) == (429, "too_many_attempts")
        assert refusal.retry_after is not None and 0 < refusal.retry_after <= 60
        return True
    return False


def guess(lockout: Lockout, address: str | None, times: int = MOST) -> None:
    for _ in range(times):
        assert not is_paused(lockout, address)
        lockout.count(address)


def test_after_twenty_wrong_keys_within_a_minute_an_address_waits_for_a_minute() -> None:
    clock = Clock()
    lockout = Lockout(clock)
    guess(lockout, FAR)
    assert is_paused(lockout, FAR)
    assert not is_paused(lockout, "203.0.113.10")
    clock.now += 59
    assert is_paused(lockout, FAR)
    clock.now += 2
    guess(lockout, FAR)
    assert is_paused(lockout, FAR)


def test_the_minute_moves_with_the_guesses() -> None:
    clock = Clock()
    lockout = Lockout(clock)
    guess(lockout, FAR, 10)
    clock.now += 50
    guess(lockout, FAR, 9)
    clock.now += 11  # the first ten are more than a minute ago
    guess(lockout, FAR, 10)
    assert not is_paused(lockout, FAR)
    guess(lockout, FAR, 1)
    assert is_paused(lockout, FAR)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", None])
def test_this_machine_never_waits(address: str | None) -> None:
    lockout = Lockout(Clock())
    guess(lockout, address, 100)
    assert not is_paused(lockout, address)
    assert len(lockout) == 0


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:2%eth0", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
    ],
)
def test_a_network_of_addresses_counts_as_one(address: str, place: str) -> None:
    assert counted_as(address) == place


def test_a_crowd_of_addresses_takes_no_more_memory_than_a_few_thousand() -> None:
    lockout = Lockout(Clock())
    for number in range(3 * ADDRESSES):
        address = f"203.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        guess(lockout, address, MOST if number % 2 else 1)
    assert len(lockout) <= 2 * ADDRESSES
