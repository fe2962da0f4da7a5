"""Bodies of clients that cannot be installed here, as recorded, posted to the service.

The models they name are not the point, so upstream takes every name.
"""

import json
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.data import RECORDINGS
from tests.service import Answer, Service

FOLDER = RECORDINGS / "requests"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
PATH = "/v1/chat/completions"


@pytest.fixture
def sim(sim: SimulatorClient) -> SimulatorClient:
    sim.rules(model_supported=False)
    return sim


def body_of(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((RECORDINGS / f"requests/{name}.json").read_text())
    return body


def spoken(answer: Answer, body: dict[str, Any]) -> str:
    """The text of an answer, streamed or not."""
    if not body.get("stream"):
        return "".join(choice["message"]["content"] or "" for choice in answer.json["choices"])
    *lines, done = [line[6:] for line in answer.body.decode().split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("turned", [False, True], ids=["as_recorded", "stream_turned_over"])
def test_every_recorded_body_is_answered_and_never_refused_upstream(
    via: Service, sim: SimulatorClient, name: str, turned: bool
) -> None:
    body = body_of(name)
    if turned:
        body = {**body, "stream": not body.get("stream")}
        body.pop("stream_options", None)
    answer = via.post(PATH, body)
    assert answer.status == 200, answer.body
    # 401: the first use of the login that each test begins with.
    statuses = [turn["status"] for turn in sim.turns() if turn["status"] != 401]
    assert statuses == [200] * (body.get("n") or 1)
    calls = b'"tool_calls"' in answer.body or b'"function_call"' in answer.body
    assert spoken(answer, body) or calls


def sent(via: Service, sim: SimulatorClient, name: str) -> tuple[dict[str, Any], Answer]:
    """What upstream was asked for a recorded body, and the answer."""
    answer = via.post(PATH, body_of(name))
    assert answer.status == 200, answer.body
    asked: dict[str, Any] = sim.last_turn()["json"]
    return asked, answer


def texts(item: dict[str, Any]) -> list[str]:
    return [part["text"] for part in item["content"]]


def usage_chunks(answer: Answer) -> list[dict[str, Any]]:
    lines = [line[6:] for line in answer.body.decode().split("\n\n") if line.startswith("data: {")]
    return [chunk for chunk in map(json.loads, lines) if chunk.get("usage")]


def test_cursor_in_ask_mode(via: Service, sim: SimulatorClient) -> None:
    asked, answer = sent(via, sim, "cursor_ask_mode")
    assert asked["instructions"].startswith("You are an AI coding assistant")
    assert [tool["name"] for tool in asked["tools"]] == ["read_file", "run_terminal_cmd"]
    assert texts(asked["input"][0])[1].startswith("<user_query>")
    assert "user" not in asked and "temperature" not in asked
    assert answer.headers["x-codexproxy-ignored"] == "user"
    assert len(usage_chunks(answer)) == 1


def test_cline(via: Service, sim: SimulatorClient) -> None:
    asked, answer = sent(via, sim, "cline_first_turn")
    assert "You are a highly skilled software engineer" in asked["instructions"]
    assert [text[:6] for text in texts(asked["input"][0])] == ["<task>", "<envir"]
    first = json.loads(answer.body.split(b"\n\n")[0].removeprefix(b"data: "))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""} | first["choices"][0]["delta"]
    assert len(usage_chunks(answer)) == 1


def test_continue(via: Service, sim: SimulatorClient) -> None:
    asked, answer = sent(via, sim, "continue_chat")
    assert asked["instructions"].startswith("<important_rules>")
    assert "max_tokens" not in asked and "max_output_tokens" not in asked
    assert usage_chunks(answer) == []


def test_open_webui_and_its_title_job(via: Service, sim: SimulatorClient) -> None:
    asked, answer = sent(via, sim, "open_webui_chat")
    assert asked["instructions"] == "User: Alice\nToday: 2026-03-14"
    assert len(usage_chunks(answer)) == 1
    asked, answer = sent(via, sim, "open_webui_title_task")
    assert "Generate a concise" in texts(asked["input"][0])[0]
    assert answer.json["choices"][0]["finish_reason"] == "stop"


def test_n8n(via: Service, sim: SimulatorClient) -> None:
    asked, answer = sent(via, sim, "n8n_basic_chain")
    assert asked.get("text", {}).get("format") in (None, {"type": "text"})
    assert "n8n is a workflow tool" in answer.json["choices"][0]["message"]["content"]
