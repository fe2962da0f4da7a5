"""What is done for anybody, with or without a key: headers, keys, origins, and what they are recognised by."""

from collections.abc import Callable
from typing import Any

import pytest

from codexproxy.access.client_detection import CONVERSATION_IDS, OTHER_SESSION_IDS, SESSION_IDS, detect_client
from codexproxy.access.keys import KeyRing, presented_key
from codexproxy.access.origins import OriginPolicy, RequestOrigin
from codexproxy.planning.official_instructions import KnownInstructions, OfficialInstructions
from codexproxy.protocol.request import Turn
from tests.growth.measuring import Work, check

OFFICIAL = KnownInstructions(["official"])
RING = KeyRing(api_key="the key, which nobody guesses")
POLICY = OriginPolicy(cors_allow_origins=("https://app.example",))
# Every header that is asked for before or just behind the key.
HEADERS = (
    "authorization",
    "x-api-key",
    "api-key",
    "user-agent",
    "originator",
    "x-title",
    "http-referer",
    "referer",
    "x-app",
    *CONVERSATION_IDS,
    *SESSION_IDS,
    *OTHER_SESSION_IDS,
)
VALUES: dict[str, Callable[[int], str]] = {
    "one word": lambda n: "x" * n,
    "many words": lambda n: "Bearer x/" * n,
    "many values": lambda n: "a, " * n,
    "blanks": lambda n: " " * n + "x",
    "odd letters": lambda n: "\u00e4\u00ff" * n,
}


def _asked(headers: dict[str, str], body: dict[str, Any] | None = None) -> Work:
    def ask() -> None:
        detect_client(headers, body or {}, OFFICIAL)
        RING.identify(presented_key(headers))

    return ask


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_costs_what_it_is_long(header: str, value: str) -> None:
    check(lambda n: _asked({header: VALUES[value](n)}), 500)


@pytest.mark.parametrize("value", VALUES)
def test_hosts_and_origins_cost_what_they_are_long(value: str) -> None:
    check(lambda n: lambda: POLICY.check(RequestOrigin(VALUES[value](n), None)), 500)
    check(lambda n: lambda: POLICY.check(RequestOrigin("localhost", "https://" + VALUES[value](n))), 500)
    check(lambda n: lambda: POLICY.cors_headers("https://" + VALUES[value](n), preflight=True), 500)
    check(lambda n: lambda: _preflight(VALUES[value](n)), 500)


def _preflight(wanted: str) -> object:
    return POLICY.cors_headers("https://app.example", requested_headers=wanted, preflight=True)


BODIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "instructions": lambda n: {"instructions": "word " * n},
    "developer parts": lambda n: {
        "input": [{"role": "developer", "content": [{"type": "input_text", "text": "x"}] * n}]
    },
    "messages": lambda n: {"messages": [{"role": "user", "content": "x"}] * n},
    "a user id": lambda n: {"metadata": {"user_id": "_session_" * n}},
}


@pytest.mark.parametrize("name", BODIES)
def test_recognising_a_client_costs_what_its_request_is_long(name: str) -> None:
    check(lambda n: _asked({"user-agent": "codex_exec/1"}, BODIES[name](n)), 2_000)


def test_completing_a_request_costs_what_it_is_long() -> None:
    def build(size: int) -> Work:
        items = [{"type": "message", "role": "user", "content": "x"}] * size
        turn = Turn("m", {"model": "m", "instructions": "mine", "input": items})
        return lambda: OfficialInstructions(OFFICIAL, OFFICIAL, {"m": "official"}, {}).inject(turn)

    check(build, 500)
