"""Two real upstreams under 200 concurrent turns: nothing is lost, nothing answered twice, conversations stay put."""

import select
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from codexproxy.protocol.request import Caller, Credential, Turn
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from codexproxy.upstream.chatgpt.client import ChatGptBackend
from codexproxy.upstream.chatgpt.transport import Transport
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.router.router import Router

TURNS = 200


class Login:
    """An account that is simply there."""

    def __init__(self, sim: SimulatorClient) -> None:
        tokens = sim.login()
        self._access = Credential(tokens["access_token"], tokens["account_id"])

    def current(self) -> Credential:
        return self._access

    def recover(self, rejected: str) -> Credential:
        raise AssertionError("the login was refused")


def wait(sock: socket.socket, seconds: float) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])


class House:
    """A router over two simulators."""

    def __init__(self, **sims: SimulatorClient) -> None:
        self.sims = sims
        providers = []
        for name, sim in sims.items():
            sim.reset()
            sim.settings(keep_requests=10_000)
            base = sim.backend_url
            providers.append(Provider(ChatGptBackend(name, base, Transport(base, {}), Login(sim), wait=wait)))
        self.router = Router(providers)

    def ask(self, conversation: int, items: list[Any] | None = None) -> str:
        """Runs one turn to its end and returns who answered; fails when the answer is not whole."""
        said = f"conversation {conversation} here"
        user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}
        body = {
            "model": "gpt-5.2",
            "instructions": "Be brief.",
            "input": [user, *(items or [])],
            "store": False,
            "stream": True,
            "include": ["reasoning.encrypted_content"],
        }
        turn = Turn("gpt-5.2", body, stream=True, caller=Caller("ann"), cache_key=f"c{conversation}")
        stream = self.router.open(turn)
        try:
            types = [event.type for batch in stream for event in batch]
        finally:
            stream.close()
        assert types[-1] == "response.completed"
        assert Counter(types)["response.completed"] == 1
        return stream.answerer.backend

    def answered(self) -> int:
        """How many turns the upstreams answered with a stream."""
        return sum(turn["status"] == 200 for sim in self.sims.values() for turn in sim.turns())


@pytest.fixture(scope="module")
def upstreams() -> Iterator[tuple[SimulatorClient, SimulatorClient]]:
    with SimulatorProcess() as one, SimulatorProcess() as two:
        yield SimulatorClient(one.base_url), SimulatorClient(two.base_url)


@pytest.fixture
def house(upstreams: tuple[SimulatorClient, SimulatorClient]) -> House:
    return House(one=upstreams[0], two=upstreams[1])


def all_at_once(house: House) -> list[str]:
    with ThreadPoolExecutor(TURNS) as pool:
        return list(pool.map(house.ask, range(TURNS)))


def test_both_upstreams_share_the_turns_and_conversations_stay_where_they_began(house: House) -> None:
    first = all_at_once(house)
    assert set(first) == {"one", "two"}
    assert all_at_once(house) == first
    assert house.answered() == 2 * TURNS


TROUBLES: dict[str, dict[str, Any]] = {
    "overloaded": {"overload_503": True},
    "overloaded inside a 200": {"overload_in_200": True},
    "broken": {"server_error_500": True},
    "out of quota": {"usage_limit": {"resets_in_seconds": 900}},
    "out of quota inside a 200": {"usage_limit": {"variant": "in_stream", "resets_in_seconds": 900}},
}


@pytest.mark.parametrize("rules", TROUBLES.values(), ids=list(TROUBLES))
def test_when_one_upstream_is_in_trouble_the_other_answers_every_turn_once(house: House, rules: dict[str, Any]) -> None:
    house.sims["one"].rules(**rules)
    assert all_at_once(house) == ["two"] * TURNS
    assert sum(turn["status"] == 200 for turn in house.sims["two"].turns()) == TURNS
    refused = len(house.sims["one"].turns())
    assert all_at_once(house) == ["two"] * TURNS
    # Cooldown or breaker: whoever is in trouble is left alone, but for a probe now and then.
    assert len(house.sims["one"].turns()) - refused <= 3


def test_an_upstream_that_recovers_after_some_refusals_loses_nothing(house: House) -> None:
    house.sims["one"].rules(overload_503={"times": 40})
    house.sims["two"].rules(overload_503={"times": 40})
    answers = []
    with ThreadPoolExecutor(TURNS) as pool:
        for future in [pool.submit(house.ask, number) for number in range(TURNS)]:
            try:
                answers.append(future.result())
            except Exception as error:
                # With both refusing at once some turns must fail; they are told why.
                assert getattr(error, "code", None) == "overloaded"
    assert house.answered() == len(answers)
    assert len(answers) >= TURNS - 80
