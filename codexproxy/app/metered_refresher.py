"""Renewals of the login, counted where they are asked for."""

from collections.abc import Callable

from codexproxy.login.token_refresher import Refresher
from codexproxy.login.tokens.tokens import Grant


class CountedRefresher:
    """Another refresher whose every attempt is told.

    Args:
        inner: Who renews.
        told: Told whether it succeeded.
    """

    def __init__(self, inner: Refresher, told: Callable[[bool], None]) -> None:
        self._inner = inner
        self._told = told

    def refresh(self, refresh_token: str, reason: str) -> Grant:
        """See ``Refresher.refresh``."""
        succeeded = False
        try:
            grant = self._inner.refresh(refresh_token, reason)
            succeeded = True
        finally:
            self._told(succeeded)
        return grant
