"""Two accounts behind one service: nothing is lost, nothing is answered twice, conversations stay where they are."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Answer, Service, wait_until

TURNS = 200
RESPONSES = "/v1/responses"

Json = dict[str, Any]


class House:
    """A service with two accounts, each with an upstream of its own."""

    def __init__(self, folder: Path, sims: dict[str, SimulatorClient], workers: int) -> None:
        self.sims = sims
        for sim in sims.values():
            sim.reset()
            sim.settings(keep_requests=10_000)
        config = folder / "config.json"
        rows = [{"name": name, "profile": name, "url": sim.backend_url} for name, sim in sims.items()]
        config.write_text(json.dumps({"providers": rows}))
        environ = {"CONFIG_PATH": str(config), "WEB_CONCURRENCY": str(workers)}
        self.service = Service(folder, next(iter(sims.values())), **environ)
        for name, sim in sims.items():
            profile = self.service.data_dir / "profiles" / name
            profile.mkdir(mode=0o700, parents=True)
            (profile / "tokens.json").write_text(json.dumps(sim.login()))
        self.service.start()

    def ask(self, number: int, **more: Any) -> Answer:
        """One turn of conversation ``number``."""
        body = {"model": "gpt-5.2", "input": f"say: this is {number}", "reasoning": {"effort": "low"}, **more}
        return self.service.post(RESPONSES, body, {"session-id": f"conversation-{number}"})

    def answered_by(self, number: int) -> str:
        """Asks, sees that the answer is whole and its own, and returns who gave it."""
        answer = self.ask(number, stream=number % 2 == 0)
        assert answer.status == 200, answer.body
        assert f"this is {number}".encode() in answer.body
        if number % 2 == 0:
            assert answer.body.count(b"event: response.completed") == 1
        return answer.headers["x-codexproxy-backend"]

    def all_at_once(self) -> list[str]:
        """So many conversations, each with one turn, at the same time."""
        with ThreadPoolExecutor(TURNS) as pool:
            return list(pool.map(self.answered_by, range(TURNS)))

    def answered(self) -> int:
        """How many turns upstream began to answer."""
        return sum(turn["status"] == 200 for sim in self.sims.values() for turn in sim.turns())


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, SimulatorClient]]:
    with SimulatorProcess() as one, SimulatorProcess() as two:
        yield {"one": SimulatorClient(one.base_url), "two": SimulatorClient(two.base_url)}


@pytest.fixture
def house(tmp_path: Path, upstreams: dict[str, SimulatorClient]) -> Iterator[House]:
    """With one worker, so that what one turn learned every other knows."""
    house = House(tmp_path, upstreams, workers=1)
    yield house
    house.service.stop()


@pytest.fixture
def wide_house(tmp_path: Path, upstreams: dict[str, SimulatorClient]) -> Iterator[House]:
    """With two workers, between which connections go as they like."""
    house = House(tmp_path, upstreams, workers=2)
    yield house
    house.service.stop()


def test_200_conversations_share_the_accounts_and_stay_where_they_began(wide_house: House) -> None:
    first = wide_house.all_at_once()
    assert min(Counter(first).values()) > TURNS // 10 and set(first) == {"one", "two"}
    # A worker that was not asked the first time knows where each conversation belongs.
    assert wide_house.all_at_once() == first
    assert wide_house.answered() == 2 * TURNS


def test_a_conversation_stays_across_a_restart(house: House) -> None:
    first = [house.answered_by(number) for number in range(12)]
    house.service.stop()
    house.service.start()
    assert [house.answered_by(number) for number in range(12)] == first


TROUBLES: dict[str, Json] = {
    "overloaded": {"overload_503": True},
    "overloaded inside a 200": {"overload_in_200": True},
    "out of quota": {"usage_limit": {"resets_in_seconds": 900}},
}


@pytest.mark.parametrize("rules", TROUBLES.values(), ids=list(TROUBLES))
def test_while_one_account_is_in_trouble_the_other_answers_everything_once(house: House, rules: Json) -> None:
    one, two = house.sims.values()
    one.rules(**rules)
    assert house.all_at_once() == ["two"] * TURNS
    assert sum(turn["status"] == 200 for turn in two.turns()) == TURNS
    refused = len(one.turns())
    assert house.all_at_once() == ["two"] * TURNS
    # Breaker or cooldown: it is left alone, but for a probe now and then.
    assert len(one.turns()) - refused <= 3


def test_after_upstreams_own_reset_time_an_account_is_asked_again(house: House) -> None:
    one, two = house.sims.values()
    one.rules(usage_limit={"resets_in_seconds": 2})
    two.rules(overload_503=True)
    wait_until(lambda: house.ask(1).status != 200 and one.turns(), "the limit of the first account")
    one.rules(usage_limit=False)
    asked = len(one.turns())
    assert house.ask(2).status != 200
    assert len(one.turns()) == asked
    wait_until(lambda: house.ask(2).status == 200, "the first account's return", 10)
    assert one.turns()[asked:][-1]["status"] == 200


def test_with_both_out_of_quota_the_answer_is_the_last_real_reason(house: House) -> None:
    for sim in house.sims.values():
        sim.rules(usage_limit={"resets_in_seconds": 900})
    for number in range(4):
        answer = house.ask(number)
        assert (answer.status, answer.code) == (429, "usage_limit_reached")
        assert 800 < answer.long_wait <= 901
    # Each account was asked once and then left alone.
    assert [len(sim.turns()) for sim in house.sims.values()] == [1, 1]


def test_after_the_first_word_nobody_else_is_asked(house: House) -> None:
    for sim in house.sims.values():
        sim.script({"text": "one two three four", "cut": {"how": "reset", "event": 9}}, repeat=-1)
    answer = house.ask(2, stream=True)
    assert answer.status == 200
    assert b"upstream_truncated" in answer.body
    assert sum(len(sim.turns()) for sim in house.sims.values()) == 1


def test_encrypted_reasoning_never_travels_to_the_other_account(house: House) -> None:
    answer = house.ask(1, include=["reasoning.encrypted_content"])
    home = answer.headers["x-codexproxy-backend"]
    thoughts = [item for item in answer.json["output"] if item["type"] == "reasoning"]
    assert thoughts[0]["encrypted_content"]
    away = next(name for name in house.sims if name != home)
    history = [{"type": "message", "role": "user", "content": "hi"}, *answer.json["output"]]
    house.sims[home].rules(overload_503=True)
    second = house.ask(1, input=[*history, {"type": "message", "role": "user", "content": "go on"}])
    assert (second.status, second.headers["x-codexproxy-backend"]) == (200, away)
    assert 'encrypted_content": "' not in json.dumps(house.sims[away].last_turn()["json"]["input"])
    house.sims[home].rules(overload_503=False)
