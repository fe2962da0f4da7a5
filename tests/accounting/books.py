"""The three places where tokens are counted, read side by side."""

import re
from dataclasses import dataclass

from codexproxy.access.authorization import Identity, KeyLimits
from codexproxy.access.limit_store import storage_uri
from codexproxy.access.rate_limits import Limiter, open_storage
from codexproxy.storage.sqlite.ledger import Ledger
from tests.service import Service, wait_until

KEY = "ann"
ALLOWED = 10**9

_SAMPLE = re.compile(r'^codexproxy_tokens_total\{kind="(input|output)",.*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Tokens:
    """Tokens in and out."""

    input: int
    output: int


class Books:
    """What a service's ledger, metrics and limits say of one key.

    Args:
        service: Whose; its key ``ann`` may use ``ALLOWED`` tokens a day, and nobody else asks it.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._rows = self._count()
        self._measured = self._metrics()
        self._left = self._remaining()

    def entry(self, turns: int = 1) -> Tokens:
        """The tokens of the turns that ended since the books were opened, on which all three must agree."""
        wait_until(lambda: self._count() >= self._rows + turns, "the row of the turn")
        with_ledger = Ledger(self._service.data_dir / "ledger.sqlite3")
        rows = with_ledger.newest(1000)[: self._count() - self._rows]
        with_ledger.close()
        found = Tokens(sum(row.input_tokens for row in rows), sum(row.output_tokens for row in rows))
        before, now = self._measured, self._metrics()
        assert Tokens(now.input - before.input, now.output - before.output) == found, "the metrics say otherwise"
        assert self._left - self._remaining() == found.input + found.output, "the limit says otherwise"
        return found

    def _count(self) -> int:
        path = self._service.data_dir / "ledger.sqlite3"
        if not path.exists():
            return 0
        ledger = Ledger(path)
        try:
            return len(ledger.newest(1000))
        finally:
            ledger.close()

    def _metrics(self) -> Tokens:
        page = self._service.get("/metrics", {"authorization": "Bearer owner-key"}).body.decode()
        found = {"input": 0.0, "output": 0.0}
        for kind, value in _SAMPLE.findall(page):
            found[kind] += float(value)
        return Tokens(int(found["input"]), int(found["output"]))

    def _remaining(self) -> int:
        storage = open_storage(storage_uri(self._service.data_dir / "limits.sqlite3"))
        standing = Limiter(storage, storage).status(Identity(KEY, limits=KeyLimits(tokens_per_day=ALLOWED)))
        assert standing.tokens is not None
        return standing.tokens.remaining
