"""Whatever Ann sends, what Bob sends upstream, is answered, keeps and waits for is the same before and after."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.slots import Slots
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.growth.conversations import CHAT as GROWING
from tests.service import Service, wait_until
from tests.two_callers.pair import CODEX, MODEL, RESPONSES, Caller, Json, Pair, configuration, pair_on

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
PLACES = 4
SESSION = "01999999-0000-7000-8000-000000000001"
SAID = "Bob's own answer."
MESSAGES: Json = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}

# Bob's turns: path, body, headers.
BOBS: list[tuple[str, Json, dict[str, str]]] = [
    (RESPONSES, {"model": MODEL, "input": "hi", "prompt_cache_key": SESSION}, {}),
    (RESPONSES, {"model": MODEL, "input": "hi", "instructions": ""}, {"session_id": SESSION, **CODEX}),
    (CHAT, {**MESSAGES, "reasoning_effort": "high", "service_tier": "priority"}, {}),
    (TEXT, {"model": MODEL, "prompt": "hi"}, {}),
]


@dataclass(frozen=True)
class State:
    """What Bob can see of the service.

    Attributes:
        previews: What would be sent for his turns.
        answers: What he is answered, and how many turns upstream that takes.
        kept: An answer that he keeps, and what it was asked.
        queue: Turns that run and that wait.
    """

    previews: list[Json]
    answers: list[tuple[str, int]]
    kept: list[Json]
    queue: tuple[int, int]


@dataclass(frozen=True)
class House:
    """The service, and an answer that Bob keeps there."""

    pair: Pair
    kept: str

    def state(self) -> State:
        """Everything about Bob."""
        bob, sim = self.pair.bob, self.pair.sim
        queue = Slots(bob.service.data_dir / "slots", PLACES, 0)
        wait_until(lambda: (queue.busy(), queue.waiting()) == (0, 0), "the end of Ann's turns")
        sim.reset()
        bob.service.login()
        previews = [bob.preview(body, headers, path)["upstream"] for path, body, headers in BOBS]
        answers = []
        for path, body, headers in BOBS:
            before = turns_of(sim)
            sim.script({"text": SAID})
            answer = bob.ask(body, headers, path)
            answers.append((text_of(answer.json), turns_of(sim) - before))
        kept = [bob.service.get(f"{RESPONSES}/{self.kept}{part}", bob.headers()).json for part in ("", "/input_items")]
        return State(previews, answers, kept, (queue.busy(), queue.waiting()))


def turns_of(sim: SimulatorClient) -> int:
    """Turns that upstream saw, but for those that came with the login of the test before."""
    return sum(turn["status"] != 401 for turn in sim.turns())


def text_of(answer: Json) -> str:
    """The text of an answer in any format."""
    if "choices" in answer:
        choice = answer["choices"][0]
        return str(choice["text"] if "text" in choice else choice["message"]["content"])
    return "".join(part["text"] for item in answer["output"] for part in item.get("content") or ())


@pytest.fixture(scope="module")
def house(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("hostile")
    sim = SimulatorClient(simulator.base_url)
    config = Path(configuration(folder))
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "providers": [{"name": "one"}, {"name": "two", "priority": 1}]})
    )
    places = {"CODEX_MAX_PARALLEL_REQUESTS": str(PLACES), "CODEX_MAX_QUEUED_REQUESTS": "3"}
    with Service(folder, sim, CONFIG_PATH=str(config), **places) as service:
        pair = pair_on(service, sim)
        sim.reset()
        service.login()
        yield House(pair, pair.bob.ask({"model": MODEL, "input": "Remember this."}).json["id"])


Act = Callable[[Caller, SimulatorClient, str], object]


def asks(body: Any, path: str = RESPONSES, times: int = 1, **headers: str) -> Act:
    """Ann sends this."""

    def act(ann: Caller, sim: SimulatorClient, kept: str) -> None:
        for _ in range(times):
            ann.ask(body, headers, path)

    return act


def is_answered(script: Json, body: Json | None = None, times: int = 8) -> Act:
    """Upstream answers Ann's turns, each of a conversation of its own, like this."""

    def act(ann: Caller, sim: SimulatorClient, kept: str) -> None:
        sim.script(script, repeat=4 * times)
        for number in range(times):
            ann.ask({"model": MODEL, "input": f"conversation {number}", **(body or {})})

    return act


def leaves(path: str, body: Json, times: int = 6) -> Act:
    """Ann begins so many streams and leaves each in its middle."""

    def act(ann: Caller, sim: SimulatorClient, kept: str) -> None:
        sim.script({"text": "word " * 500, "pace_ms": 20}, repeat=-1)
        for _ in range(times):
            connection = ann.service.connect()
            connection.request("POST", path, json.dumps({**body, "stream": True}), ann.headers())
            connection.getresponse().read1(64)
            connection.close()

    return act


def meddles(ann: Caller, sim: SimulatorClient, kept: str) -> None:
    """Ann asks for all that can be done with Bob's answer."""
    for method, part in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
        answer = ann.service.request(method, f"{RESPONSES}/{kept}{part}", {}, ann.headers())
        assert answer.status == 404, answer.body
    ann.ask({"model": MODEL, "input": "go on", "previous_response_id": kept})
    ann.ask({"model": MODEL, "input": [{"type": "item_reference", "id": kept}]})


def grows(ann: Caller, sim: SimulatorClient, kept: str) -> None:
    """Ann sends one of everything that costs more the more there is of it."""
    for name, (size, build) in GROWING.items():
        if name != "images":  # which are somewhere else
            ann.ask({**build(min(size, 500)), "model": MODEL}, path=CHAT)


def refused(message: str, param: str | None = None, status: int = 400) -> Json:
    return {"status": status, "json": {"error": {"message": message, "param": param, "type": "invalid_request_error"}}}


USER = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hi", "prompt_cache_breakpoint": 1}],
}
TIER = {"service_tier": "priority"}

ACTS: dict[str, Act] = {
    "no JSON": asks(b"{", times=3),
    "wrong types": asks({"model": 7, "input": {"a": []}, "text": "x", "reasoning": []}),
    "a model nobody knows": asks({"model": "x" * 500, "input": "hi"}, times=3),
    "empty instructions": is_answered(refused("Instructions are required"), {"instructions": ""}),
    "wrong values": is_answered(refused("Unsupported value: 'x'.", "text.verbosity"), {"text": {"verbosity": "x"}}),
    "hints in the input": asks({"model": MODEL, "input": [USER]}),
    "refused parameters of other turns": is_answered(
        refused("Unsupported parameter: tools"), {"tools": [{"type": "function", "name": "f", "parameters": {}}]}
    ),
    "refused fields of items": is_answered(refused("Unsupported parameter: content")),
    "instructions that are not valid": is_answered(refused("Instructions are not valid"), {"instructions": "mine"}),
    "turns that always fail": is_answered({"status": 500, "json": {"error": {"message": "boom"}}}),
    "turns that upstream cuts": is_answered({"text": "word", "cut": {"at": "first_event", "how": "reset"}}),
    "turns that upstream calls invalid": is_answered(refused("No.")),
    "a plan without the model": is_answered(
        {"status": 429, "json": {"error": {"type": "usage_not_included", "message": "Not on your plan."}}}
    ),
    "Bob's session, as the Codex CLI": asks(
        {"model": MODEL, "input": "hi", "prompt_cache_key": SESSION}, session_id=SESSION, **CODEX
    ),
    "Bob's answer": meddles,
    "128 answers": asks({**MESSAGES, "n": 128}, CHAT, times=3),
    "128 prompts": asks({"model": MODEL, "prompt": ["hi"] * 128}, TEXT, times=3),
    "as many answers as there are places": asks({**MESSAGES, "n": PLACES}, CHAT, times=3),
    "streams that are left": leaves(CHAT, MESSAGES),
    "streams of many answers that are left": leaves(CHAT, {**MESSAGES, "n": PLACES}, times=3),
    "background answers": asks({"model": MODEL, "input": "hi", "background": True}, times=3),
    "odd wishes of the local CLI": asks(
        {"model": MODEL, "input": "hi", "x_codex": {"workdir": "/etc", "sandbox": "x"}}
    ),
    "much of everything": grows,
    "much to keep": asks({"model": MODEL, "input": "x" * 400_000}, times=4),
    "encrypted nonsense": asks(
        {"model": MODEL, "input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]}
    ),
    "a strange request id": asks({"model": MODEL, "input": "hi"}, **{"x-request-id": "../../x"}),
}


@pytest.mark.parametrize("name", ACTS)
def test_bob_does_not_notice_what_ann_does(house: House, name: str) -> None:
    before = house.state()
    assert [text for text, _ in before.answers] == [SAID] * len(BOBS)
    house.pair.sim.reset()
    house.pair.ann.service.login()
    ACTS[name](house.pair.ann, house.pair.sim, house.kept)
    after = house.state()
    assert after == before
