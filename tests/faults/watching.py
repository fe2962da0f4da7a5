"""Looks after a service around a fault on its own host: what it told, and what it left behind."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.conftest import ledger_of
from tests.faults.outcome import HostFault
from tests.faults.playing import Got, House, Way
from tests.service import Service, wait_until


@contextmanager
def opened(service: Service, *arguments: str) -> Iterator[House]:
    """A house around a service, which is well, keeps its login and leaves nothing behind."""
    try:
        house = House(service.start(*arguments), service.sim, keyed="CONFIG_PATH" in service.environ)
        house.ledger = ledger_of(service.data_dir)
        yield house
    finally:
        service.stop()
    assert service.sim.counters()["open_connections"] == 1, "an upstream connection was left open"
    assert "Traceback" not in service.log
    tokens = (service.data_dir / "tokens.json").read_text()
    assert not [part for part in tokens.split('"') if len(part) > 40 and part in service.log]
    assert ledger_of(service.data_dir) == house.ledger


def login_of(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((service.data_dir / "tokens.json").read_text())
    return found


def is_as_told(row: HostFault, got: dict[Way, Got], service: Service) -> None:
    for way, found in got.items():
        want, told = row.stream if way.stream else row.plain, found.told
        assert (told.status, told.code, told.cut) == (want.status, want.code, want.cut), (
            f"{way}: {told}, {found.answer.body[-300:]!r}"
        )
        assert want.says in told.says
        assert want.cut or found.is_ended
    for line in row.logged:
        wait_until(lambda: line in service.log, f"the line '{line}'")  # noqa: B023


def asked(got: dict[Way, Got]) -> Counter[int]:
    return Counter(found.asked for found in got.values())
