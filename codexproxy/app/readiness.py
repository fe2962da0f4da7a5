"""Whether turns can be served now, as far as the logins tell."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.login.account import Login
from codexproxy.login.status import LoginStatus
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook


def readiness(logins: Mapping[str, Login], providers: Sequence[Provider]) -> Callable[[], list[str]]:
    """Tells why nothing can be served; nothing is asked of anybody for it.

    Args:
        logins: The logins in use, by profile.
        providers: Where turns may go; one of them that can serve is enough.
    """
    # A backend with a login knows of no other problem, unless it is shut out for good.
    by_login = [provider for provider in providers if provider.account and _problem(provider) is None]
    others = [provider for provider in providers if provider not in by_login]
    used = {provider.account for provider in by_login}
    needed = [login for profile, login in logins.items() if f"profile:{profile}" in used]

    def reasons() -> list[str]:
        # The logins come first: a program that has to be asked may take its time.
        standings = [(login, login.glance()) for login in needed]
        if any(status.ready for _, status in standings):
            return []
        problems = [_problem(provider) for provider in others]
        if None in problems:
            return []
        found = [_reason(login, status) for login, status in standings] + [text for text in problems if text]
        return found or ["No provider is enabled."]

    return reasons


def _problem(provider: Provider) -> str | None:
    try:
        return provider.backend.problem()
    except ProxyError as failure:
        return failure.message


def warnings(logins: Mapping[str, Login]) -> list[str]:
    """What the owner should know of the logins that still work."""
    return [status.warning for login in logins.values() if (status := login.glance()).ready and status.warning]


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
