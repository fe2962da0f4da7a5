"""A service that is told to end lets answers finish, and waits for nobody else."""

import json
import signal
import time
from collections.abc import Callable

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import say, stall_at
from tests.patience import patient
from tests.service import Service, wait_until

ASK = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def test_idle_connections_do_not_hold_up_the_end(serve: Callable[..., Service]) -> None:
    service = serve(WEB_CONCURRENCY="2")
    connections = [service.connect() for _ in range(8)]
    for connection in connections:
        connection.request("GET", "/health")
        connection.getresponse().read()
    assert service.process is not None
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(patient(20)) == 0
    assert time.monotonic() - began < patient(10)
    assert all(connection.sock is not None and connection.sock.recv(1) == b"" for connection in connections)


def test_an_answer_under_way_is_finished_first(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve()
    sim.script(stall_at(say("one", " two"), gate="go", event=5))
    connection = service.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
    answer = connection.getresponse()
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: refused(service), "the end of new connections")
    sim.open_gate("go")
    assert b"two" in (body := answer.read()) and body.endswith(b"data: [DONE]\n\n")
    assert service.process.wait(patient(20)) == 0


def refused(service: Service) -> bool:
    try:
        service.connect(timeout=1).connect()
    except OSError:
        return True
    return False
