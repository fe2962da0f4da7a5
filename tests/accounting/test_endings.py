"""A table of the ways in which a turn can end, and what each costs: in the ledger, the metrics and the limit alike."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.metering.estimate import tokens_in
from codexproxy.metering.input_tokens import count_input
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.accounting.books import ALLOWED, KEY, Books, Tokens
from tests.service import Answer, Service, wait_until

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
AUTH = {"authorization": f"Bearer {KEY}"}
MESSAGES: dict[str, Any] = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "Say something. " * 20}]}
INPUT: dict[str, Any] = {"model": "gpt-5.2", "input": "Say something. " * 20}

WORDS = 60
TEXT = "word " * WORDS
SECOND = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
FIRST = {"input_tokens": 4000, "output_tokens": 300, "total_tokens": 4300}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 5}}, "required": ["a"]}
JSON = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}}


@dataclass(frozen=True)
class Way:
    """One way for a turn to end.

    Attributes:
        scripts: What upstream does, turn after turn.
        body: What is asked.
        path: Where.
        leave: How the client leaves; None for one that stays.
        told: What upstream said that it cost.
        sent: How many turns upstream took without saying so.
        words: The fewest and the most words that were heard of these.
    """

    scripts: list[dict[str, Any]]
    body: dict[str, Any] = field(default_factory=lambda: MESSAGES)
    path: str = CHAT
    leave: Callable[["Stage", "Way"], object] | None = None
    told: Tokens = Tokens(0, 0)
    sent: int = 0
    words: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Stage:
    """A service of one key, and its upstream."""

    service: Service
    sim: SimulatorClient

    def ask(self, way: Way) -> Answer:
        """Sends the turn and reads the whole answer."""
        return self.service.post(way.path, way.body, AUTH)


def after(text: bytes) -> Callable[[Stage, Way], object]:
    """Reads a stream until this has come so often as it holds words, then leaves."""

    def leave(stage: Stage, way: Way) -> None:
        connection = stage.service.connect()
        connection.request("POST", way.path, json.dumps({**way.body, "stream": True}), AUTH)
        response = connection.getresponse()
        read = b""
        while read.count(text) < 20:
            read += response.read1(512)
        connection.close()

    return leave


def before_the_first_event(stage: Stage, way: Way) -> None:
    connection = stage.service.connect()
    connection.request("POST", way.path, json.dumps({**way.body, "stream": True}), AUTH)
    wait_until(lambda: stage.sim.counters()["open_streams"] == 1, "a turn upstream")
    connection.close()


def in_the_background(stage: Stage, way: Way) -> None:
    id = stage.ask(way).json["id"]
    wait_until(lambda: stage.service.get(f"{RESPONSES}/{id}", AUTH).json["status"] == "completed", "the answer")


def by_cancelling(stage: Stage, way: Way) -> None:
    id = stage.ask(way).json["id"]
    wait_until(lambda: stage.service.get(f"{RESPONSES}/{id}", AUTH).json["output"], "the beginning of the answer")
    assert stage.service.post(f"{RESPONSES}/{id}/cancel", {}, AUTH).json["status"] == "cancelled"


STREAM = {**MESSAGES, "stream": True}
SLOW = {"text": TEXT, "pace_ms": 20}
OVERLOADED = {"status": 503, "json": {"error": {"code": "server_is_overloaded", "message": "busy"}}}
GOOD = {"text": "good", "usage": SECOND}
TOLD = Tokens(7, 5)

WAYS: dict[str, Way] = {
    "whole": Way([GOOD], told=TOLD),
    "streamed to its end": Way([GOOD], STREAM, told=TOLD),
    "incomplete": Way([{**GOOD, "end": "incomplete"}], told=TOLD),
    "a response": Way([GOOD], INPUT, RESPONSES, told=TOLD),
    "a streamed response": Way([GOOD], {**INPUT, "stream": True}, RESPONSES, told=TOLD),
    "of two answers": Way([GOOD, {**GOOD, "usage": FIRST}], {**MESSAGES, "n": 2}, told=Tokens(4007, 305)),
    "without usage": Way([{"text": TEXT, "usage": None}], sent=1, words=(WORDS, WORDS)),
    "without usage, streamed": Way([{"text": TEXT, "usage": None}], STREAM, sent=1, words=(WORDS, WORDS)),
    "cut by upstream": Way([{"text": TEXT, "cut": {"event": 34, "how": "reset"}}], sent=1, words=(5, 34)),
    "cut by upstream, streamed": Way(
        [{"text": TEXT, "cut": {"event": 34, "how": "close"}}], STREAM, sent=1, words=(20, 34)
    ),
    "failed in the middle": Way([{"text": TEXT, "end": "failed"}], sent=1, words=(WORDS, WORDS)),
    "left after 20 words": Way([SLOW], leave=after(b"word"), sent=1, words=(20, 50)),
    "left after 20 words of a response": Way([SLOW], INPUT, RESPONSES, after(b'"delta":'), sent=1, words=(20, 50)),
    "left before the first event": Way(
        [{"text": TEXT, "stalls": [{"gate": "never", "at": "first_event"}]}], leave=before_the_first_event, sent=1
    ),
    "refused": Way([{"status": 400, "json": {"detail": "No."}}]),
    "refused inside a 200": Way([{"items": [], "end": "failed", "usage": None}] * 4),
    "failed over": Way([OVERLOADED, GOOD], told=TOLD),
    "refused everywhere": Way([OVERLOADED] * 4),
    "empty and asked again": Way([{"items": [], "usage": FIRST}, GOOD], told=Tokens(4007, 305)),
    "repaired": Way(
        [{"text": '{"a": 1}', "usage": FIRST}, {"text": '{"a": 7}', "usage": SECOND}],
        {**MESSAGES, **JSON},
        told=Tokens(4007, 305),
    ),
    "ended by a stop text": Way(
        [{"text": "word " * 20 + "STOP " + "word " * 40, "pace_ms": 5}],
        {**MESSAGES, "stop": "STOP"},
        sent=1,
        words=(20, 30),
    ),
    "ended at its longest length": Way(
        [{"text": TEXT, "pace_ms": 5}], {**STREAM, "max_tokens": 20}, sent=1, words=(19, 32)
    ),
    "in the background": Way([GOOD], {**INPUT, "background": True}, RESPONSES, in_the_background, told=TOLD),
    "cancelled": Way([SLOW], {**INPUT, "background": True}, RESPONSES, by_cancelling, sent=1, words=(1, WORDS)),
}


@pytest.fixture(scope="module")
def service(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("accounting")
    config = folder / "config.json"
    users = [{"name": KEY, "apiKeyHash": hash_key(KEY), "tokensPerDay": ALLOWED}]
    config.write_text(json.dumps({"users": users, "providers": [{"name": "one"}, {"name": "two"}]}))
    sim = SimulatorClient(simulator.base_url)
    with Service(folder, sim, CONFIG_PATH=str(config), PROXY_API_KEY="owner-key") as running:
        yield running


@pytest.mark.parametrize("name", WAYS)
def test_a_turn_costs_what_upstream_was_asked_and_said(service: Service, sim: SimulatorClient, name: str) -> None:
    way, stage = WAYS[name], Stage(service, sim)
    service.login()
    sim.script(*way.scripts)
    books = Books(service)
    (way.leave or Stage.ask)(stage, way)
    found = books.entry()
    asked = way.sent * count_input(sim.last_turn()["json"])
    assert found.input == way.told.input + asked
    fewest, most = (words * tokens_in(TEXT) / WORDS for words in way.words)
    assert way.told.output + 0.8 * fewest <= found.output <= way.told.output + 1.2 * most + 2 * way.sent


def test_the_tokens_of_a_day_cannot_be_had_by_hanging_up(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    config = tmp_path / "users.json"
    config.write_text(json.dumps({"users": [{"name": KEY, "apiKeyHash": hash_key(KEY), "tokensPerDay": 1000}]}))
    stage = Stage(serve(CONFIG_PATH=str(config)), sim)
    sim.script(SLOW, repeat=-1)
    turns, refused = 0, None
    while refused is None and turns < 12:
        turns += 1
        after(b"word")(stage, Way([]))
        wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the turn")
        answer = stage.ask(Way([], {**MESSAGES, "max_tokens": 1}))
        refused = answer if answer.status == 429 else None
    assert refused is not None
    assert (refused.status, refused.code) == (429, "insufficient_quota")
    assert turns < 8
