"""The part of the account's long window, the week on most plans, that a key must leave to its owner; pure."""

import math

from codexproxy.access.authorization import Identity
from codexproxy.errors import RateLimited, local_time
from codexproxy.protocol.quota import QuotaWindow, Tell


def check_reserve(identity: Identity, window: QuotaWindow | None, now: float, tell: Tell = local_time) -> None:
    """Refuses a turn that would eat into the reserve; a quota that is not known refuses nothing.

    Args:
        identity: Who asks.
        window: The long window of the account with most left.
        now: Epoch seconds.
        tell: Writes a moment.

    Raises:
        RateLimited: ``insufficient_quota``.
    """
    reserve = identity.limits.reserve_weekly_percent
    if not reserve or window is None:
        return
    used = window.used_now(now)
    if used < 100 - reserve:
        return
    left = window.resets_at - now if window.resets_at is not None else None
    when = f" It starts again at {tell(window.resets_at)}." if window.resets_at is not None else ""
    raise RateLimited(
        f"The {window.label} quota is {used:g} % used, and the key '{identity.name}' must leave {reserve:g} % of it."
        f"{when}",
        code="insufficient_quota",
        retry_after=math.ceil(left) if left is not None else None,
    )
