"""How much of every account is used and by whom, for its owner to read."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codexproxy.errors import NotLoggedIn, NotOffered, ProxyError, local_time
from codexproxy.protocol.quota import Tell
from codexproxy.storage.sqlite.ledger import Use
from codexproxy.upstream.chatgpt.quota import quota_from_usage
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook

log = logging.getLogger(__name__)

# Seconds after which upstream is asked for a quota that no answer has told since.
STALE = 90.0
# Use is told since the long window began; for this many seconds where there is none.
SPAN = 7 * 86_400.0
# What others than the owner are told, since upstream's own words may name the account.
UNKNOWN = "The quota of this provider is not available now; its owner can see why."


# Seconds for which all callers get the same report of upstream's, and for which they get the same failure.
KEPT, PAUSE = 60.0, 10.0


@dataclass(frozen=True, slots=True)
class _Said:
    # What upstream answered at an epoch second, and for how many seconds that is good.
    answer: dict[str, Any] | ProxyError
    at: float
    lasts: float


class QuotaReport:
    """Reads quotas and use; asks upstream for what has grown old.

    Args:
        providers: Whose quotas.
        book: What is known of them.
        used: Use by key since a moment.
        clock: Epoch seconds.
        tell: Writes a moment.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        book: QuotaBook,
        used: Callable[[float], Iterable[Use]],
        *,
        clock: Callable[[], float] = time.time,
        tell: Tell = local_time,
    ) -> None:
        self._providers = tuple(providers)
        self._book = book
        self._used = used
        self._clock = clock
        self._tell = tell
        self._asked: dict[str, float] = {}
        self._said: dict[str, _Said] = {}
        self._asking = {provider.name: threading.Lock() for provider in self._providers}
        self._problems: dict[str, str] = {}

    def stale(self) -> list[Provider]:
        """Providers whose quota is not known as it is now, and that were not asked just before."""
        moment = self._clock() - STALE
        return [
            provider
            for provider in self._providers
            if self._seen_at(provider) < moment and self._asked.get(provider.name, 0.0) < moment
        ]

    def ask(self, provider: Provider) -> None:
        """Asks upstream for a provider's quota; why that failed is told in the report."""
        self._asked[provider.name] = self._clock()
        try:
            self._report(provider)
        except ProxyError as error:
            self._problems[provider.name] = error.message
            log.info("the quota of provider %s could not be asked for: %s", provider.name, error.message)
            return
        self._problems.pop(provider.name, None)

    def usage(self, group: str) -> dict[str, Any]:
        """Upstream's own report of a group's first provider that has one; asked for at most once a minute.

        Raises:
            ProxyError: None has.
        """
        failure: ProxyError = NotOffered("None of your providers has quota windows.")
        members = (provider for provider in self._providers if provider.group == group)
        for provider in sorted(members, key=lambda provider: provider.priority):
            try:
                return self._report(provider)
            except ProxyError as error:
                failure = error
        raise failure

    def _report(self, provider: Provider) -> dict[str, Any]:
        # Those who come while upstream is asked wait for that answer.
        with self._asking[provider.name]:
            said = self._said.get(provider.name)
            if said is None or not 0 <= self._clock() - said.at < said.lasts:
                said = self._said[provider.name] = self._ask(provider)
        if isinstance(said.answer, ProxyError):
            raise said.answer.with_traceback(None)
        return said.answer

    def _ask(self, provider: Provider) -> "_Said":
        try:
            report = provider.backend.usage()
        except ProxyError as error:
            # A login may be there the next moment, and its absence is known without asking anybody.
            return _Said(error, self._clock(), 0.0 if isinstance(error, NotLoggedIn) else PAUSE)
        self._book.note(provider.name, quota_from_usage(report, self._clock()))
        return _Said(report, self._clock(), KEPT)

    def tell(self, group: str | None = None, key: str | None = None, made_at: float = 0.0) -> dict[str, Any]:
        """The report as JSON.

        Args:
            group: Only providers of this group.
            key: Only this key's use; why a quota is not known is then left to the owner's report.
            made_at: When that key was made, in epoch seconds; what an earlier one of its name used is not told.
        """
        providers = [provider for provider in self._providers if group in (None, provider.group)]
        since = max(self._since(providers), made_at)
        return {
            "object": "quota",
            "providers": [self._row(provider, whole=key is None) for provider in providers],
            "use_since": since,
            "use_since_local": self._tell(since),
            "use": [asdict(use) for use in self._uses(since) if key in (None, use.name)],
        }

    def _row(self, provider: Provider, *, whole: bool) -> dict[str, Any]:
        quota = self._book.of(provider.name)
        known = quota.as_dict(self._clock(), self._tell) if quota else {"plan": None, "seen_at": None, "windows": []}
        problem = None if known["windows"] else self._problems.get(provider.name)
        problem = problem if whole or problem is None else UNKNOWN
        facts = {"provider": provider.name, "type": provider.capabilities.type, "group": provider.group}
        return {**facts, **known, "problem": problem}

    def _since(self, providers: Sequence[Provider]) -> float:
        now = self._clock()
        quotas = [self._book.of(provider.name) for provider in providers]
        windows = [quota.long_window() for quota in quotas if quota]
        begun = [
            window.resets_at - window.seconds
            for window in windows
            if window and window.seconds and window.resets_at is not None and window.resets_at > now
        ]
        # To the minute, since upstream's own moments differ by seconds and each moment is a sum of its own.
        return min(begun, default=now - SPAN) // 60 * 60

    def _uses(self, since: float) -> list[Use]:
        try:
            return list(self._used(since))
        except ProxyError as error:
            log.warning("use by key cannot be read: %s", error.message)
            return []

    def _seen_at(self, provider: Provider) -> float:
        quota = self._book.of(provider.name)
        return quota.seen_at if quota else 0.0
