"""Every number of an upstream's answer, in every wrong form: an answer or an error, never a bug, and a row for each."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from codexproxy.storage.sqlite.ledger import Ledger
from tests.faults.company import limited_key
from tests.hostile_numbers.numbers import WIRE
from tests.hostile_numbers.upstream import PLACES, hostile_upstream
from tests.service import Answer, Service

NUMBERS = list(WIRE.values())
# One of the four ways each, in turn, so that all meet every number somewhere.
WAYS = [(path, stream) for path in ("/v1/chat/completions", "/v1/responses") for stream in (False, True)]
KEY = {"Authorization": "Bearer ann"}


@pytest.fixture(scope="module")
def service(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("numbers")
    with hostile_upstream(NUMBERS) as url:
        # A provider each, so that what one place says of its quota is no reason to refuse the next turn.
        users = [{**limited_key("ann"), "ratePerMinute": 1_000_000, "tokensPerDay": 2**62}]
        providers = [{"name": "hostile", "url": url}]
        path = folder / "config.json"
        path.write_text(json.dumps({"providers": providers, "users": users}))
        sim = SimulatorClient(simulator.base_url)
        with Service(folder / "service", sim, CONFIG_PATH=str(path), CODEX_FIRST_EVENT_TIMEOUT="5") as running:
            yield running


def ask(service: Service, place: int, number: int, way: tuple[str, bool]) -> Answer:
    path, stream = way
    text = f"place {place} number {number}"
    asked = {"input": text} if path == "/v1/responses" else {"messages": [{"role": "user", "content": text}]}
    return service.post(path, {"model": "gpt-5.2", "stream": stream, **asked}, KEY)


def is_sound(answer: Answer) -> bool:
    """Whether an answer is one of ours, and no bug."""
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in ("application/json", "text/event-stream"), answer.body[:200]
    if kind == "text/event-stream":
        lines = [line[6:] for line in answer.body.decode().split("\n") if line.startswith("data: ")]
        parsed = [json.loads(line) for line in lines if line != "[DONE]"]
        assert parsed
    else:
        parsed = [json.loads(answer.body)]
    assert b"internal_error" not in answer.body, answer.body[:500]
    return answer.status in (200, 429, 502, 503)


@pytest.mark.parametrize("number", range(len(NUMBERS)), ids=WIRE)
def test_no_number_in_any_place_of_an_answer_is_a_bug(service: Service, number: int) -> None:
    cases = [(place, WAYS[(place + number) % len(WAYS)]) for place in range(len(PLACES))]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda case: ask(service, case[0], number, case[1]), cases))
    wrong = [PLACES[place].name for (place, _), answer in zip(cases, answers, strict=True) if not is_sound(answer)]
    assert not wrong
    for path in ("/v1/quota", "/v1/models", "/metrics"):
        assert service.get(path, KEY).status in (200, 403)


def test_usage_beyond_all_bounds_is_counted_up_to_the_bound(service: Service) -> None:
    place = next(
        at for at, found in enumerate(PLACES) if found.name == "response.completed.response.usage.input_tokens"
    )
    for name, counted in (("2^64-1", 2**53), ("minus one", 0), ("NaN", 0), ("a text", 0)):
        answer = ask(service, place, list(WIRE).index(name), ("/v1/chat/completions", False))
        if answer.status == 200:
            assert answer.json["usage"]["prompt_tokens"] == counted


def test_every_one_of_those_turns_has_its_row(service: Service) -> None:
    before = service.log.count("request end status=")
    service.stop()
    asked = [line for line in service.log.split("\n") if "request start method=POST" in line]
    with closing(Ledger(Path(service.data_dir) / "ledger.sqlite3")) as ledger:
        assert len(ledger.newest(100_000)) == len(asked)
    assert before >= len(asked) > len(NUMBERS)
    assert "Traceback" not in service.log
    assert "dropped" not in service.log
