"""The quota report of these settings, for the route and for the command."""

from collections.abc import Sequence

from codexproxy.data_dir import DataDir
from codexproxy.settings import Settings
from codexproxy.storage.sqlite.ledger import KeySums
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_report import QuotaReport
from codexproxy.upstream.quota_store import QuotaBook


def make_report(settings: Settings, providers: Sequence[Provider], book: QuotaBook) -> QuotaReport:
    """Joins what is known of quotas with the ledger."""
    return QuotaReport(providers, book, KeySums(DataDir(settings.data_dir).ledger).since)
