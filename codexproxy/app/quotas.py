"""The quota report of these settings, for the route and for the command."""

from collections.abc import Sequence

from codexproxy.backends.provider import Provider
from codexproxy.backends.quotabook import QuotaBook
from codexproxy.backends.quotareport import QuotaReport
from codexproxy.settings import Settings
from codexproxy.state.ledger import FILE, Ledger


def make_report(settings: Settings, providers: Sequence[Provider], book: QuotaBook) -> QuotaReport:
    """Joins what is known of quotas with the ledger."""
    path = settings.data_dir / FILE
    ledger = Ledger(path)
    # Reading must not be what makes the file.
    return QuotaReport(providers, book, lambda since: ledger.used("key", since) if path.exists() else ())
