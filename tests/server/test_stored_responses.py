"""Stored responses with the official SDK: created, fetched, listed, continued, deleted."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.base import Limits, Stored
from codexproxy.storage.sqlite.database import Database
from codexproxy.storage.sqlite.response_tables import SCHEMA
from codexproxy.storage.sqlite.responses import SqliteResponseStore
from tests.server.talk import MODEL, frames, sdk, sent, texts, two_users
from tests.service import Service, wait_until

Serve = Callable[..., Service]


def test_a_response_lives_from_creation_to_deletion(service: Service, sim: SimulatorClient) -> None:
    client = sdk(service)
    first = client.responses.create(model=MODEL, input="say:My name is Ann.", instructions="Be brief.")
    assert (first.status, first.store, first.output_text) == ("completed", True, "My name is Ann.")
    assert client.responses.retrieve(first.id) == first
    (item,) = client.responses.input_items.list(first.id)
    assert item.type == "message" and item.id and item.content[0].text == "say:My name is Ann."  # type: ignore[union-attr]
    second = client.responses.create(model=MODEL, input="say:I know.", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert texts(sent(sim)) == ["say:My name is Ann.", "My name is Ann.", "say:I know."]
    assert "previous_response_id" not in sim.last_turn()["json"]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError) as refusal:
        client.responses.retrieve(first.id)
    assert refusal.value.code == "response_not_found"
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as refusal:  # its beginning is gone
        client.responses.create(model=MODEL, input="and?", previous_response_id=second.id)
    assert refusal.value.code == "previous_response_not_found"


def test_a_stream_can_be_continued_as_soon_as_its_last_event_is_there(service: Service, sim: SimulatorClient) -> None:
    client, previous = sdk(service), openai.NOT_GIVEN
    for number in range(8):  # two workers: whichever serves the next one has to know of this one
        with client.responses.stream(
            model=MODEL, input=f"say:answer {number}", previous_response_id=previous
        ) as stream:
            for event in stream:
                if event.type == "response.completed":
                    previous = event.response.id  # type: ignore[assignment]
                    break
    assert [text for text in texts(sent(sim)) if text.startswith("answer")] == [f"answer {n}" for n in range(7)]


def test_what_was_streamed_is_kept_whole_even_where_upstream_ends_with_an_empty_output(
    service: Service, sim: SimulatorClient
) -> None:
    call = {"type": "function_call", "name": "look", "arguments": '{"at": "this"}', "call_id": "call_1"}
    sim.script({"items": [{"type": "reasoning", "summary": ["Hm."]}, {"type": "message", "text": "One moment."}, call]})
    body = service.post("/v1/responses", {"model": MODEL, "input": "hi", "stream": True}).body
    last = frames(body)[-1]["response"]
    assert last["output"] == []
    kept = service.get(f"/v1/responses/{last['id']}").json
    assert [item["type"] for item in kept["output"]] == ["reasoning", "message", "function_call"]
    assert kept["usage"]["total_tokens"] == last["usage"]["total_tokens"]
    output = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
    answer = service.post("/v1/responses", {"model": MODEL, "input": [output], "previous_response_id": last["id"]})
    assert answer.status == 200
    assert [item["type"] for item in sent(sim)][-2:] == ["function_call", "function_call_output"]


def test_what_only_deltas_told_is_kept_and_given_to_who_reads_the_final_object(
    service: Service, sim: SimulatorClient
) -> None:
    ends = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    sim.script({"text": "One moment, please.", "omit_events": ends})
    with sdk(service).responses.stream(model=MODEL, input="hi") as stream:
        last = list(stream)[-1].response  # type: ignore[union-attr]
    assert last.output_text == "One moment, please."
    (item,) = service.get(f"/v1/responses/{last.id}").json["output"]
    assert item["content"][0]["text"] == "One moment, please."


def test_items_are_referred_to_by_their_ids(service: Service, sim: SimulatorClient) -> None:
    client = sdk(service)
    first = client.responses.create(model=MODEL, input="say:remember me")
    client.responses.create(
        model=MODEL,
        input=[
            {"type": "item_reference", "id": first.output[-1].id},  # type: ignore[typeddict-item]
            {"role": "user", "content": "and now?"},
        ],
    )
    assert texts(sent(sim)) == ["remember me", "and now?"]
    with pytest.raises(openai.BadRequestError) as refusal:
        client.responses.create(model=MODEL, input=[{"type": "item_reference", "id": "msg_unknown"}])
    assert (refusal.value.code, refusal.value.param) == ("item_not_found", "input[0].id")


def test_input_items_come_in_pages(service: Service) -> None:
    client = sdk(service)
    asked = [{"role": "user", "content": f"part {number}"} for number in range(45)]
    response = client.responses.create(model=MODEL, input=asked)  # type: ignore[arg-type]
    items = list(client.responses.input_items.list(response.id, order="asc", limit=10))
    assert [item.content[0].text for item in items] == [f"part {number}" for number in range(45)]  # type: ignore[union-attr]
    page = client.responses.input_items.list(response.id, limit=3)
    assert [item.content[0].text for item in page.data] == ["part 44", "part 43", "part 42"]  # type: ignore[union-attr]
    assert page.has_more
    answer = service.get(f"/v1/responses/{response.id}/input_items?limit=0")
    assert (answer.status, answer.json["error"]["param"]) == (400, "limit")


def test_two_keys_cannot_see_each_others_responses(serve: Serve, tmp_path: Path) -> None:
    service = serve(CONFIG_PATH=two_users(tmp_path))
    ann, bob = sdk(service, "ann"), sdk(service, "bob")
    hers = ann.responses.create(model=MODEL, input="say:a secret")
    attempts = (
        lambda: bob.responses.retrieve(hers.id),
        lambda: bob.responses.delete(hers.id),
        lambda: bob.responses.cancel(hers.id),
        lambda: bob.responses.input_items.list(hers.id),
        lambda: bob.responses.create(model=MODEL, input="go on", previous_response_id=hers.id),
        lambda: bob.responses.create(model=MODEL, input=[{"type": "item_reference", "id": hers.output[-1].id}]),  # type: ignore[typeddict-item]
    )
    for attempt in attempts:
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)) as refusal:
            attempt()
        assert refusal.value.code in ("response_not_found", "previous_response_not_found", "item_not_found")
    assert ann.responses.retrieve(hers.id).output_text == "a secret"


def test_nothing_is_lost_by_a_restart(serve: Serve, sim: SimulatorClient) -> None:
    service = serve(WEB_CONCURRENCY="2")
    client = sdk(service)
    first = client.responses.create(model=MODEL, input="say:before")
    service.stop()
    service.start()
    assert client.responses.retrieve(first.id) == first
    client.responses.create(model=MODEL, input="say:after", previous_response_id=first.id)
    assert texts(sent(sim)) == ["say:before", "before", "say:after"]


def test_a_request_that_says_no_is_not_kept(service: Service) -> None:
    client = sdk(service)
    response = client.responses.create(model=MODEL, input="say:forget me", store=False)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_an_owner_who_says_no_has_nothing_kept(serve: Serve) -> None:
    service = serve(CODEX_STORE_RESPONSES="0")
    client = sdk(service)
    response = client.responses.create(model=MODEL, input="say:forget me", store=True)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as refusal:
        client.responses.create(model=MODEL, input="hi", background=True)
    assert refusal.value.param == "background"


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(serve: Serve, sim: SimulatorClient) -> None:
    service = serve()
    (service.data_dir / "responses.sqlite3").mkdir()
    for stream in (False, True):
        answer = service.post("/v1/responses", {"model": MODEL, "input": "say:here", "stream": stream})
        assert answer.status == 200 and b"here" in answer.body
        assert not stream or answer.body.count(b"event: response.completed") == 1
    assert "was not kept" in service.log
    assert service.get("/v1/responses/resp_x").code == "storage_failed"


def test_tokens_of_a_request_are_counted_with_everything_it_continues(service: Service) -> None:
    client = sdk(service)
    alone = client.responses.input_tokens.count(model=MODEL, input="hello there, how are you?")
    assert alone.object == "response.input_tokens" and 5 <= alone.input_tokens <= 20
    first = client.responses.create(model=MODEL, input="say:" + "a long answer, " * 50)
    more = client.responses.input_tokens.count(model=MODEL, input="and?", previous_response_id=first.id)
    assert more.input_tokens > 300


def test_conversations_are_refused_with_a_way_out(service: Service) -> None:
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        sdk(service).responses.create(model=MODEL, input="hi", conversation="conv_1")


def test_ten_thousand_responses_stay_within_the_bound_and_are_found_at_once(serve: Serve) -> None:
    bound = 24 * 2**20
    service = serve(CODEX_STORE_MAX_BYTES=str(bound))
    database = Database(service.data_dir / "responses.sqlite3", SCHEMA)
    store = SqliteResponseStore(database, Limits(max_bytes=bound))

    def save(number: int) -> None:
        item = {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": f"{number} {'x' * 1500}"}
        response = {"id": f"resp_{number}", "object": "response", "status": "completed", "output": [item]}
        store.save(Stored("anonymous", response, [{"id": f"in_{number}", "role": "user", "content": str(number)}]))

    for number in range(10_000):
        save(number)
    connection = service.connect()

    def fetch(path: str) -> tuple[float, bytes]:
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200
        return time.perf_counter() - began, body

    # Beside a request that looks nothing up, so that a busy machine does not count.
    added = []
    for number in range(9_999, 0, -50):
        plain, _ = fetch("/health")
        seconds, body = fetch(f"/v1/responses/resp_{number}")
        added.append(seconds - plain)
        assert f"{number} xxx".encode() in body
    connection.close()
    assert statistics.median(added) < 0.010
    for number in range(10_000, 18_000):
        save(number)
    assert database.rows("SELECT bytes FROM totals")[0][0] <= bound
    assert service.get("/v1/responses/resp_0").status == 404
    assert service.get("/v1/responses/resp_17999").status == 200


OURS = {"instructions": "A prompt of the service's.", "safety_identifier": "user-of-the-account"}
ITEM = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}


def told_by_upstream() -> dict[str, str]:
    response = {"id": "resp_up", "object": "response", "status": "in_progress", "output": [], **OURS}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "response.output_item.done", "output_index": 0, "item": ITEM},
        {"type": "response.completed", "response": {**response, "status": "completed", "output": [ITEM]}},
    ]
    frames = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    return {"raw_text": "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in frames)}


@pytest.mark.parametrize("way", ["whole", "stream", "background"])
@pytest.mark.parametrize("own", [{}, {"instructions": "Mine.", "safety_identifier": "my-user"}])
def test_answers_hold_the_callers_instructions_and_identifier_and_no_others(
    service: Service, sim: SimulatorClient, way: str, own: dict[str, str]
) -> None:
    sim.script(told_by_upstream())
    body = {"model": MODEL, "input": "hi", **own, **({way: True} if way != "whole" else {})}
    answer = service.post("/v1/responses", body)
    events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    objects = [event["response"] for event in events if "response" in event] or [answer.json]
    assert len(objects) == (3 if way == "stream" else 1)
    path = f"/v1/responses/{objects[-1]['id']}"
    wait_until(lambda: service.get(path).json["status"] == "completed", "the end of the answer")
    for response in (*objects, service.get(path).json):
        assert {name: response[name] for name in OURS} == {name: own.get(name) for name in OURS}


LONG = "read_the_very_long_name_of_a_tool_that_somebody_generated_from_a_path_of_theirs"
ODD = "mcp.files:read"


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("client", ["curl/8", "OpenAI/Python 2.1"])
@pytest.mark.parametrize("way", ["whole", "stream", "background"])
def test_tool_names_that_upstream_refuses_are_changed_there_and_restored_in_every_event(
    service: Service, sim: SimulatorClient, way: str, client: str
) -> None:
    body = {
        "model": MODEL,
        "input": "hi",
        "tools": [tool(LONG), tool(ODD), tool("plain")],
        "tool_choice": {"type": "function", "name": LONG},
        **({way: True} if way != "whole" else {}),
    }
    headers = {"user-agent": client}
    dry = service.post("/v1/responses", body, {**headers, "x-codexproxy-dry-run": "1"}).json
    names = [offered["name"] for offered in dry["upstream"][0]["body"]["tools"]]
    assert all(len(name) <= 64 and name.replace("_", "").isalnum() for name in names)
    call = {"type": "function_call", "name": names[0], "arguments": "{}", "call_id": "call_1"}
    sim.script({"items": [call, {**call, "name": names[1], "call_id": "call_2"}]})
    answer = service.post("/v1/responses", body, headers)
    sent_body = sim.last_turn()["json"] if way != "background" else None
    assert answer.headers["x-codexproxy-adapted"] == "tools:names_shortened"
    frames = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    id = frames[-1]["response"]["id"] if frames else answer.json["id"]
    wait_until(lambda: service.get(f"/v1/responses/{id}").json["status"] == "completed", "the end of the answer")
    stored = service.get(f"/v1/responses/{id}").json
    assert [item["name"] for item in stored["output"]] == [LONG, ODD]
    assert [offered["name"] for offered in stored["tools"]] == [LONG, ODD, "plain"]
    assert all(name not in answer.body.decode() for name in names[:2])
    if sent_body:
        assert sent_body["tool_choice"] == {"type": "function", "name": names[0]}
    # The stored calls have the caller's names, and upstream gets its own again.
    outputs = [{"type": "function_call_output", "call_id": f"call_{n}", "output": "done"} for n in (1, 2)]
    service.post("/v1/responses", {**body, "input": outputs, "previous_response_id": id, "stream": True})
    calls = [item for item in sim.last_turn()["json"]["input"] if item["type"] == "function_call"]
    assert [item["name"] for item in calls] == names[:2]


@pytest.mark.parametrize("route", ["/v1/responses", "/v1/chat/completions"])
def test_marks_of_other_apis_prompt_caches_are_left_out_and_named(
    service: Service, sim: SimulatorClient, route: str
) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    kind = "input_text" if route == "/v1/responses" else "text"
    items = [{"role": "user", **mark, "content": [{"type": kind, "text": "hi", **mark}]}]
    function = {"name": "f", "parameters": {"type": "object", "properties": {"cache_control": {"type": "string"}}}}
    tools = [{"type": "function", **function, **mark}, {"type": "web_search", **mark}]
    body = {"model": MODEL, "tools": tools, ("input" if kind == "input_text" else "messages"): items}
    for fields in ({**body, "max_output_tokens": 500}, {**body, **mark, "max_output_tokens": 500}):
        answer = service.post(route, fields)
        assert answer.status == 200
        assert answer.headers["x-codexproxy-ignored"] == "cache_control"
        assert "tokens:emulated" in answer.headers["x-codexproxy-adapted"]
        sent_body = sim.last_turn()["json"]
        assert "ephemeral" not in json.dumps(sent_body)
        assert "cache_control" in sent_body["tools"][0]["parameters"]["properties"]


PERSON = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "nick": {"type": "string"}},
    "required": ["city"],
}
FORM = {"type": "json_schema", "name": "person", "strict": True, "schema": PERSON}


@pytest.mark.parametrize("way", ["whole", "stream", "background"])
def test_strict_schemas_are_fitted_and_answers_come_in_the_callers_shape(
    service: Service, sim: SimulatorClient, way: str
) -> None:
    sim.script({"text": '{"city": "Paris", "nick": null}'})
    loose = {"type": "function", "name": "f", "strict": True, "parameters": PERSON}
    near = {**loose, "name": "g", "parameters": {**PERSON, "required": ["city", "nick"]}}
    body = {"model": MODEL, "input": "hi", "text": {"format": FORM}, "tools": [loose, near]}
    answer = service.post("/v1/responses", {**body, **({way: True} if way != "whole" else {})})
    notes = answer.headers["x-codexproxy-adapted"].split(",")
    assert {"tools:strict_off", "tools:schema_fitted", "text.format:schema_fitted"} <= set(notes)
    frames = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    id = frames[-1]["response"]["id"] if frames else answer.json["id"]
    wait_until(lambda: service.get(f"/v1/responses/{id}").json["status"] == "completed", "the end of the answer")
    sent_body = sim.last_turn()["json"]
    schema = sent_body["text"]["format"]["schema"]
    assert (schema["additionalProperties"], sorted(schema["required"])) == (False, ["city", "nick"])
    assert [tool["strict"] for tool in sent_body["tools"]] == [False, True]
    assert sent_body["tools"][1]["parameters"]["additionalProperties"] is False
    stored = service.get(f"/v1/responses/{id}").json
    assert json.loads(stored["output"][-1]["content"][0]["text"]) == {"city": "Paris"}
    assert (stored["text"]["format"]["schema"], stored["tools"]) == (PERSON, body["tools"])
    deltas = [frame["delta"] for frame in frames if frame["type"] == "response.output_text.delta"]
    assert not frames or json.loads("".join(deltas)) == {"city": "Paris"}
    assert b'\\"nick' not in answer.body


def test_a_strict_schema_that_leads_nowhere_is_refused_with_its_place(service: Service) -> None:
    form = {**FORM, "schema": {"$ref": "#/$defs/none"}}
    answer = service.post("/v1/responses", {"model": MODEL, "input": "hi", "text": {"format": form}})
    assert (answer.status, answer.json["error"]["param"].startswith("text.format.schema")) == (400, True)
