"""No refusal of upstream's tells a caller whose account it is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Service, wait_until
from tests.two_callers.pair import MODEL, RESPONSES, Pair, configuration, pair_on

ORGANISATION, USER, ADDRESS = "org-0a1B2c3D4e5F6g7H8i9J0k1L", "user-Zz9Yy8Xx7Ww6Vv5Uu4Tt3Ss2", "dev@example.com"
WORDS = f"Limit reached in organization {ORGANISATION} by {USER} ({ADDRESS}). Please write to user-provided ids."
TOLD = "Limit reached in organization [redacted] by [redacted] ([redacted]). Please write to user-provided ids."
ERROR = {"code": "rate_limit_exceeded", "message": WORDS}

# What upstream does.
SCRIPTS: dict[str, dict[str, Any]] = {
    "refusal": {"status": 400, "json": {"detail": WORDS}},
    "limit": {"status": 429, "json": {"error": {**ERROR, "resets_in_seconds": 100}}},
    "failed": {"text": "good words", "end": "failed", "error": ERROR},
    "error": {"text": "good words", "end": "error", "error": ERROR},
    "error, then failed": {"text": "good words", "end": "error_then_failed", "error": ERROR},
}
INPUT: dict[str, Any] = {"model": MODEL, "input": "hi"}
CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
# What is asked.
TURNS: dict[str, tuple[str, dict[str, Any]]] = {
    "response": (RESPONSES, INPUT),
    "streamed response": (RESPONSES, {**INPUT, "stream": True}),
    "chat": ("/v1/chat/completions", CHAT),
    "streamed chat": ("/v1/chat/completions", {**CHAT, "stream": True}),
}


@pytest.fixture(scope="module")
def pair(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("account")
    sim = SimulatorClient(simulator.base_url)
    with Service(folder, sim, CONFIG_PATH=configuration(folder)) as service:
        yield pair_on(service, sim)


def play(pair: Pair, script: str) -> None:
    pair.sim.reset()
    pair.ann.service.login()
    pair.sim.script(SCRIPTS[script], repeat=-1)


def names_nobody(text: str) -> bool:
    return not [name for name in (ORGANISATION, USER, ADDRESS) if name in text]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("turn", TURNS)
def test_no_failure_tells_a_named_key_whose_account_it_is(pair: Pair, turn: str, script: str) -> None:
    play(pair, script)
    path, body = TURNS[turn]
    told = pair.ann.ask(body, path=path).body.decode()
    assert names_nobody(told), told
    assert TOLD in told


def test_a_kept_answer_that_failed_does_not_tell_it_either(pair: Pair) -> None:
    play(pair, "failed")
    kept = f"{RESPONSES}/{pair.ann.ask({**INPUT, 'background': True}).json['id']}"
    service, headers = pair.ann.service, pair.ann.headers()
    wait_until(lambda: service.get(kept, headers).json["status"] == "failed", "the failure")
    for path in (kept, f"{kept}?stream=true"):
        told = service.get(path, headers).body.decode()
        assert names_nobody(told), told
        assert TOLD in told, json.dumps(told)
