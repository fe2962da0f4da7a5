"""The quota report of these settings, for the route and for the command."""

from collections.abc import Sequence

from codexproxy.backends.provider import Provider
from codexproxy.backends.quotabook import QuotaBook
from codexproxy.backends.quotareport import QuotaReport
from codexproxy.settings import Settings
from codexproxy.state.ledger import FILE, KeySums


def make_report(settings: Settings, providers: Sequence[Provider], book: QuotaBook) -> QuotaReport:
    """Joins what is known of quotas with the ledger."""
    return QuotaReport(providers, book, KeySums(settings.data_dir / FILE).since)
