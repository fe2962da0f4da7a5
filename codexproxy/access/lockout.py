"""A pause for addresses that try one wrong key after the other.

The address is that of the connection. Loopback and Unix sockets are never
paused: behind a proxy of this machine everybody has that address, and a proxy
has limits of its own. Each worker counts for itself, which takes no disk from
whoever guesses; with four workers a guesser gets four times as many guesses.
"""

import ipaddress
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import lru_cache

from codexproxy.errors import RateLimited

log = logging.getLogger(__name__)

# So many wrong keys within so many seconds end in a pause of so many seconds.
MOST, WITHIN, PAUSE = 20, 60.0, 60.0
# Addresses that are remembered; of more, those forgotten first have been silent longest.
ADDRESSES = 4096
# Who has one IPv6 address has a network of them.
NETWORK_BITS = 64


class Lockout:
    """Counts wrong keys by address.

    Args:
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._ends: OrderedDict[str, float] = OrderedDict()

    def check(self, address: str | None) -> None:
        """Refuses an address during its pause, whichever key it presents.

        Raises:
            RateLimited: ``too_many_attempts``.
        """
        if not self._ends:  # as nearly always
            return
        place = counted_as(address)
        left = self._ends.get(place, 0.0) - self._clock() if place else 0.0
        if left > 0:
            raise RateLimited(_PAUSED, code="too_many_attempts", retry_after=left)
        self._ends.pop(place or "", None)

    def count(self, address: str | None) -> None:
        """Counts a wrong key."""
        place = counted_as(address)
        if place is None:
            return
        now = self._clock()
        times = self._wrong.setdefault(place, deque(maxlen=MOST))
        times.append(now)
        if len(times) == MOST and now - times[0] < WITHIN:
            del self._wrong[place]
            self._ends[place] = now + PAUSE
            log.warning("%d wrong keys came from %s within a minute; it has to wait for a minute", MOST, place)
        else:
            self._wrong.move_to_end(place)
        for kept in (self._wrong, self._ends):
            if len(kept) > ADDRESSES:
                kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._wrong) + len(self._ends)


@lru_cache(maxsize=256)
def counted_as(address: str | None) -> str | None:
    """The address or network that a peer's wrong keys are counted for; None for this machine."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if parsed.is_loopback:
        return None
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, NETWORK_BITS), strict=False))


_PAUSED = (
    "Too many wrong keys came from this address. Please wait a minute, then send the right one; "
    "'codexproxy keys list' shows which keys exist, 'codexproxy keys add NAME' makes a new one."
)
