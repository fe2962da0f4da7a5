"""Whether turns can be served now, as far as the logins tell."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.login.account import Login
from codexproxy.login.status import LoginStatus
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook
from codexproxy.upstream.unavailable import RefusingBackend


def readiness(logins: Mapping[str, Login], providers: Sequence[Provider]) -> Callable[[], list[str]]:
    """Tells why nothing can be served; nothing is asked of anybody for it.

    Args:
        logins: The logins in use, by profile.
        providers: Where turns may go; one of them that can serve is enough.
    """
    needed = {profile: login for profile, login in logins.items() if _uses(providers, profile)}
    others = [provider for provider in providers if not _has_login(provider)]

    def reasons() -> list[str]:
        # The logins come first: a program that has to be asked may take its time.
        standings = [(login, login.glance()) for login in needed.values()]
        if any(status.ready for _, status in standings):
            return []
        problems = [_problem(provider) for provider in others]
        if None in problems:
            return []
        found = [_reason(login, status) for login, status in standings] + [text for text in problems if text]
        return found or ["No provider is enabled."]

    return reasons


def _problem(provider: Provider) -> str | None:
    ask = getattr(provider.backend, "problem", None)
    try:
        return ask() if ask is not None else None
    except ProxyError as failure:
        return failure.message


def warnings(logins: Mapping[str, Login]) -> list[str]:
    """What the owner should know of the logins that still work."""
    return [status.warning for login in logins.values() if (status := login.glance()).ready and status.warning]


def _uses(providers: Sequence[Provider], profile: str) -> bool:
    return any(_has_login(provider) and provider.account == f"profile:{profile}" for provider in providers)


def _has_login(provider: Provider) -> bool:
    return provider.account.startswith("profile:") and not isinstance(provider.backend, RefusingBackend)


def _reason(login: Login, status: LoginStatus) -> str:
    if status.state == "not_logged_in":
        return status.warning or f"Nobody is logged in. Run `{login.command}`, then try again."
    return f"The login has ended and cannot be renewed. Run `{login.command}` to sign in again."


def login_quota(login: Login, providers: Sequence[Provider], quotas: QuotaBook) -> list[dict[str, Any]]:
    """The windows of the login's account, as upstream last told them; empty when it has not."""
    found = [quotas.of(provider.name) for provider in providers if provider.account == f"profile:{login.profile}"]
    known = [quota for quota in found if quota is not None]
    if not known:
        return []
    newest = max(known, key=lambda quota: quota.seen_at)
    return [window.as_dict(time.time()) for window in newest.windows]
