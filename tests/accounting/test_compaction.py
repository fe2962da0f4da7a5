"""A conversation that is compacted costs what was sent of it, also when nobody waits for the summary."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from codexproxy.metering.input_tokens import count_input
from codexproxy.simulator.client import SimulatorClient
from tests.accounting.books import Books
from tests.accounting.test_endings import AUTH
from tests.accounting.test_killed import kill, limited, rows, running
from tests.service import Service, wait_until

__all__ = ["limited"]

COMPACT = "/v1/responses/compact"
HISTORY: dict[str, Any] = {"model": "gpt-5.2", "input": [{"role": "user", "content": "Say something. " * 200}]}


def upstream(sim: SimulatorClient) -> list[dict[str, Any]]:
    return sim.requests("/backend-api/codex/responses/compact")


@pytest.mark.parametrize("way", ["left", "killed"])
def test_a_compaction_that_is_not_waited_for_costs_what_was_sent(
    limited: Callable[..., Service], sim: SimulatorClient, way: str
) -> None:
    service = limited()
    sim.script({"status": 200, "json": {"output": []}, "delay_ms": 60_000}, endpoint="compact")
    books = Books(service)
    connection = service.connect()
    connection.request("POST", COMPACT, json.dumps(HISTORY), AUTH)
    wait_until(lambda: upstream(sim) and running(service)[0][1].input_tokens, "the turn upstream")
    asked = count_input(upstream(sim)[-1]["json"])
    if way == "killed":
        wait_until(lambda: running(service)[0][1].input_tokens == asked, "the close look")
        kill(service, service.worker())
    connection.close()
    found = books.entry()
    assert (found.input, found.output) == (asked, 0)
    assert [row.code for row in rows(service)] == ["worker_killed" if way == "killed" else ""]


def test_a_compaction_that_is_refused_costs_nothing(limited: Callable[..., Service], sim: SimulatorClient) -> None:
    service = limited()
    sim.script({"status": 400, "json": {"detail": "No."}}, endpoint="compact")
    books = Books(service)
    assert service.post(COMPACT, HISTORY, AUTH).status == 400
    found = books.entry()
    assert (found.input, found.output) == (0, 0)
