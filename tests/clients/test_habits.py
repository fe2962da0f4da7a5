"""Habits of clients that cannot be installed here, as raw requests (docs/reference/clients.md)."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, call, custom_call, message, say, think
from tests.service import Answer, Service

CHAT = "/v1/chat/completions"
MODEL = "gpt-5.2"
PATCH = "*** Begin Patch\n*** Update File: a.py\n-one\n+two\n*** End Patch"
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" /.+/s "*** End Patch"'}
PATH_SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
AS_CURSOR = {"user-agent": "Cursor/1.0"}


def chunks(answer: Answer) -> list[dict[str, Any]]:
    """The chunks of a streamed chat answer."""
    assert answer.status == 200, answer.body
    *lines, done = [line[6:] for line in answer.body.decode().split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(line) for line in lines]


def deltas(answer: Answer) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks(answer) for choice in chunk["choices"]]


def calls(answer: Answer) -> list[dict[str, Any]]:
    return [one for delta in deltas(answer) for one in delta.get("tool_calls") or []]


# Cursor's agent posts a Responses body to the chat route and reads chat chunks (12, 13).
CURSOR_AGENT: dict[str, Any] = {
    "model": MODEL,
    "input": [
        {"role": "system", "content": "You are an AI coding assistant. You operate in Cursor."},
        {"role": "user", "content": [{"type": "input_text", "text": "Rename it."}]},
    ],
    "tools": [
        {"type": "function", "name": "read_file", "description": "Read", "parameters": PATH_SCHEMA},
        {"type": "custom", "name": "ApplyPatch", "description": "Patch", "format": GRAMMAR},
    ],
    "reasoning": {"effort": "high", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "text": {"verbosity": "low"},
    "prompt_cache_retention": "24h",
    "metadata": {"cursorConversationId": "1"},
    "store": False,
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "google-oauth2|0000",
}


def test_cursors_agent_gets_chat_chunks_for_its_responses_body(via: Service, sim: SimulatorClient) -> None:
    sim.script(answer(message("I look."), call("read_file", {"path": "a.py"})))
    told = via.post(CHAT, CURSOR_AGENT, AS_CURSOR)
    assert "".join(delta.get("content") or "" for delta in deltas(told)) == "I look."
    head, *rest = calls(told)
    assert head["function"]["name"] == "read_file"
    assert json.loads("".join(one["function"]["arguments"] for one in [head, *rest])) == {"path": "a.py"}
    asked = sim.last_turn()["json"]
    assert [tool["name"] for tool in asked["tools"]] == ["read_file", "ApplyPatch"]
    assert asked["reasoning"]["effort"] == "high"


def test_cursors_patch_is_told_in_a_function_and_understood_when_it_comes_back(
    via: Service, sim: SimulatorClient
) -> None:
    sim.script(answer(custom_call("ApplyPatch", PATCH)))
    head, *rest = calls(via.post(CHAT, CURSOR_AGENT, AS_CURSOR))
    told = "".join(one["function"]["arguments"] for one in [head, *rest])
    assert (head["type"], head["function"]["name"]) == ("function", "ApplyPatch")
    assert PATCH in (told, *(json.loads(told).values() if told.startswith("{") else ()))
    history = [
        *CURSOR_AGENT["input"],
        {"type": "function_call", "call_id": head["id"], "name": "ApplyPatch", "arguments": told},
        {"type": "function_call_output", "call_id": head["id"], "output": "Done"},
    ]
    assert via.post(CHAT, {**CURSOR_AGENT, "input": history}, AS_CURSOR).status == 200
    again, output = sim.last_turn()["json"]["input"][-2:]
    assert (again["type"], again["input"]) == ("custom_tool_call", PATCH)
    assert output["type"] == "custom_tool_call_output"


def test_cursors_check_of_address_and_key(via: Service, serve: Callable[..., Service]) -> None:
    assert via.get("/models").json["data"]
    probe = {"model": MODEL, "messages": [{"role": "user", "content": "Test"}], "max_tokens": 10}
    assert via.post("/chat/completions", probe).json["choices"][0]["message"]["content"]
    open_to_pages = serve(PROXY_API_KEY="sesame", CORS_ALLOW_ORIGINS="*")
    asked = {"origin": "https://cursor.example", "access-control-request-method": "POST"}
    assert open_to_pages.request("OPTIONS", CHAT, None, asked).status == 204


@pytest.mark.parametrize(("name", "effort"), [("gpt-5.2-high", "high"), ("2.5-tpg", None), ("gpt-5.2-xhigh", "xhigh")])
def test_names_that_do_not_collide_with_cursors_own(
    via: Service, sim: SimulatorClient, name: str, effort: str | None
) -> None:
    told = via.post(CHAT, {"model": name, "messages": [{"role": "user", "content": "hi"}]})
    assert told.json["model"] == name
    asked = sim.last_turn()["json"]
    assert asked["model"] == MODEL
    assert effort is None or asked["reasoning"]["effort"] == effort


def test_cline_finds_the_key_content_before_and_beside_thoughts_and_the_cached_share(
    via: Service, sim: SimulatorClient
) -> None:
    ask = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    sim.script(answer(think("**Thinking**"), message("one ", "two"), call("read_file")))
    told = via.post(CHAT, {**ask, "stream_options": {"include_usage": True}}, {"x-cline-version": "4.0.0"})
    assert deltas(told)[0]["content"] == ""
    thoughts = [delta for delta in deltas(told) if "reasoning_content" in delta]
    assert thoughts and all("content" in delta for delta in thoughts)
    usage = chunks(told)[-1]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_continue_completes_between_prefix_and_suffix(via: Service, sim: SimulatorClient) -> None:
    sim.script(say("return a + b"))
    ask = {"model": MODEL, "prompt": "def add(a, b):\n    ", "suffix": "\n\nprint(add(1, 2))", "stream": True}
    told = via.post("/v1/completions", {**ask, "max_tokens": 200, "stop": ["\n\n"], "temperature": 0.01})
    assert "".join(choice["text"] for chunk in chunks(told) for choice in chunk["choices"]) == "return a + b"
    asked = json.dumps(sim.last_turn()["json"]["input"])
    assert "def add" in asked and "print(add" in asked


def test_continues_embeddings_are_refused_in_json(via: Service) -> None:
    told = via.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": "hi"})
    assert (told.status, told.code) == (501, "not_offered")
    assert "embedding model" in told.json["error"]["message"]


def test_open_webuis_thoughts_do_not_come_back_as_text(via: Service, sim: SimulatorClient) -> None:
    thoughts = '<details type="reasoning" done="true" duration="3">\n<summary>Thought</summary>\n> Hm.\n</details>\n'
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": thoughts + "Hello!"},
        {"role": "user", "content": "and now?"},
    ]
    assert via.post(CHAT, {"model": MODEL, "messages": history}, {"x-openwebui-chat-id": "1"}).status == 200
    (said,) = sim.last_turn()["json"]["input"][1]["content"]
    assert said["text"].strip() == "Hello!"


def test_zed_merges_calls_by_index_and_knows_every_field(via: Service, sim: SimulatorClient) -> None:
    tools = [{"type": "function", "function": {"name": "read_file", "parameters": PATH_SCHEMA}}]
    ask = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "tools": tools, "stream": True}
    both = [call("read_file", {"path": name}, interleave=True) for name in ("a.py", "b.py")]
    sim.script(answer(*both))
    told = via.post(CHAT, {**ask, "parallel_tool_calls": True, "max_completion_tokens": 4096})
    merged: dict[int, str] = {}
    for one in calls(told):
        merged[one["index"]] = merged.get(one["index"], "") + one["function"]["arguments"]
    assert [json.loads(text)["path"] for _, text in sorted(merged.items())] == ["a.py", "b.py"]
    ends = [choice["finish_reason"] for chunk in chunks(told) for choice in chunk["choices"]]
    assert set(ends) == {None, "tool_calls"} and ends[-1] == "tool_calls"


def test_n8n_tests_its_credentials_and_sends_a_string(via: Service) -> None:
    assert via.get("/v1/models", {"authorization": "Bearer any"}).status == 200
    told = via.post("/v1/responses", {"model": MODEL, "input": "Summarise this."}, {"user-agent": "n8n"})
    (item,) = [item for item in told.json["output"] if item["type"] == "message"]
    assert "Summarise this." in item["content"][0]["text"]


@pytest.mark.parametrize("path", ["/v1/v1/chat/completions", "/v1/chat/completions/", "/chat/completions"])
def test_addresses_that_front_ends_put_together(via: Service, sim: SimulatorClient, path: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    content = [{"type": "text", "text": "What is this?"}, image]
    told = via.post(path, {"model": MODEL, "messages": [{"role": "user", "content": content}], "stream": False})
    assert "looked at 1 picture" in told.json["choices"][0]["message"]["content"]


def test_a_shell_scripts_careless_body(via: Service) -> None:
    body = b'\xef\xbb\xbf{"model": "gpt-5.2", "stream": "true", "messages": [{"role": "user", "content": "hi"}]}'
    told = via.post(CHAT, body, {"content-type": "text/plain"})
    assert deltas(told)


def test_old_code_with_functions(via: Service) -> None:
    functions = [{"name": "read_file", "parameters": PATH_SCHEMA}]
    ask = {"role": "user", "content": 'call:read_file {"path": "a.py"}'}
    body = {"model": MODEL, "messages": [ask], "functions": functions, "function_call": "auto", "max_tokens": 99}
    (choice,) = via.post(CHAT, {**body, "logprobs": None, "n": 1}).json["choices"]
    assert choice["finish_reason"] == "function_call"
    called = choice["message"]["function_call"]
    assert (called["name"], json.loads(called["arguments"])) == ("read_file", {"path": "a.py"})
    history = [ask, choice["message"], {"role": "function", "name": "read_file", "content": "print(1)"}]
    (choice,) = via.post(CHAT, {**body, "messages": history}).json["choices"]
    assert "print(1)" in choice["message"]["content"]
