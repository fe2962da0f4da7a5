"""What every backend promises, so that no client notices which one answered."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import NotLoggedIn, NotOffered, ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.events import TERMINAL, Batch, Event
from codexproxy.protocol.numbers import usage_of
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.provider_types import PROVIDER_TYPES
from codexproxy.upstream.base import Backend
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.router.attempt import attempt
from tests.contracts.backend_stages import PATIENCE, ChatGptStage, CliStage, RealCliStage, RelayStage, Stage, eventually
from tests.patience import patient
from tests.simulator.event_schemas import flaws

ANSWER: tuple[dict[str, Any], ...] = (
    {"think": ["**Plan** it"]},
    {"say": "Hello world", "deltas": ["Hel", "lo ", "wor", "ld"]},
    {"done": {}},
)


REAL = [pytest.param(f"real {transport}", marks=pytest.mark.real_cli) for transport in ("exec", "app-server")]


@pytest.fixture(params=["chatgpt", "relay", "exec", "app-server", *REAL])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    real, _, transport = request.param.rpartition(" ")
    stage: Stage
    if transport == "chatgpt":
        stage = ChatGptStage(request.getfixturevalue("sim"))
    elif transport == "relay":
        stage = RelayStage(request.getfixturevalue("sim"))
    elif real:
        stage = RealCliStage(tmp_path, transport, request.getfixturevalue("sim"))
    else:
        stage = CliStage(tmp_path, transport)
    yield stage
    stage.close()
    assert stage.in_use() == 0


def turn(text: str = "hi") -> Turn:
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    body = {"model": "gpt-5.5", "instructions": "Be kind.", "input": [message], "store": False, "stream": True}
    return Turn("gpt-5.5", {**body, "reasoning": {"effort": "low", "summary": "auto"}}, cache_key="conversation")


def collect(stream: EventStream) -> list[Event]:
    """All events of a stream, which is closed."""
    try:
        return [event for batch in stream for event in batch]
    finally:
        stream.close()


def failure(backend: Backend) -> ProxyError:
    """Why a turn was refused before its first meaningful event, as the router sees it."""
    outcome = attempt(Provider(backend), turn(), lambda: 0.0)
    outcome.close()
    assert outcome.error is not None
    return outcome.error


def test_an_answer_begins_and_ends_once_and_says_what_upstream_said(stage: Stage) -> None:
    stage.play(*ANSWER)
    stream = stage.backend().open(turn())
    events = collect(stream)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert [kind for kind in kinds if kind in TERMINAL] == ["response.completed"] == kinds[-1:]
    response = aggregate([events])
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert response["output"][0]["summary"][0]["text"] == "**Plan** it"
    assert response["output"][1]["content"][0]["text"] == "Hello world"
    assert response["output"] == events[-1].data["response"]["output"] or not events[-1].data["response"]["output"]
    assert (stream.answerer.backend, response["status"]) == ("stage", "completed")


def test_tokens_are_counted(stage: Stage) -> None:
    stage.play(*ANSWER)
    usage = usage_of(collect(stage.backend().open(turn()))[-1])
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"] > 0
    assert isinstance(usage["input_tokens_details"]["cached_tokens"], int)
    assert isinstance(usage["output_tokens_details"]["reasoning_tokens"], int)


def test_items_and_their_parts_open_grow_and_close_in_order(stage: Stage) -> None:
    stage.play(*ANSWER)
    events = collect(stage.backend().open(turn()))
    assert [event.data["sequence_number"] for event in events] == list(range(len(events)))
    for index, kind, place in ((0, "reasoning_summary_text", "summary"), (1, "output_text", "content")):
        own = [event for event in events if event.data.get("output_index") == index]
        steps = [event.type.removeprefix("response.") for event in own]
        part = "reasoning_summary_part" if place == "summary" else "content_part"
        deltas = steps.count(f"{kind}.delta")
        ends = [f"{kind}.done", f"{part}.done", "output_item.done"]
        assert steps == ["output_item.added", f"{part}.added", *[f"{kind}.delta"] * deltas, *ends]
        texts = [event.data["delta"] for event in own if event.type.endswith(".delta")]
        assert "".join(texts) == own[-3].data["text"] == own[-1].data["item"][place][0]["text"]
        ids = {event.data.get("item_id") or event.data["item"]["id"] for event in own}
        assert len(ids) == 1
    if stage.deltas:
        assert [event.data["delta"] for event in events if event.type == "response.output_text.delta"] == [
            "Hel",
            "lo ",
            "wor",
            "ld",
        ]


def test_every_event_is_as_published(stage: Stage) -> None:
    stage.play(*ANSWER)
    events = collect(stage.backend().open(turn()))
    assert [flaw for event in events for flaw in flaws(event.data)] == []


def test_every_event_is_one_whole_frame(stage: Stage) -> None:
    stage.play(*ANSWER)
    for event in collect(stage.backend().open(turn())):
        assert event.raw.startswith(b"event: " + event.type.encode() + b"\ndata: {")
        assert event.raw.endswith(b"}\n\n") and event.raw.count(b"\n") == 3
        assert event.data["type"] == event.type


def test_silence_is_told_and_harms_nothing(stage: Stage) -> None:
    stage.play({"gate": "go"}, *ANSWER[1:])
    stream = stage.backend().open(turn())
    batches: list[Batch] = []
    for batch in stream:
        batches.append(batch)
        if batches.count([]) == 2:
            stage.open_gate("go")
    stream.close()
    assert batches.count([]) >= 2
    assert aggregate(batches)["output"][-1]["content"][0]["text"] == "Hello world"


REFUSALS: list[tuple[str, dict[str, Any], int, str]] = [
    (
        "an unknown model",
        {
            "status": 404,
            "body": {"error": {"message": "The model `gpt-x` does not exist.", "code": "model_not_found", "type": "x"}},
            "fail": "The model `gpt-x` does not exist or you do not have access to it.",
            "info": "modelNotFound",
        },
        404,
        "model_not_found",
    ),
    (
        "a used up quota",
        {
            "status": 429,
            "body": {"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached"}},
            "fail": "You've hit your usage limit. Upgrade to Pro or try again at 5:46 AM.",
            "info": "usageLimitExceeded",
        },
        429,
        "usage_limit_reached",
    ),
    (
        "a conversation that is too long",
        {
            "code": "context_length_exceeded",
            "fail": "Codex ran out of room in the model's context window. Start a new thread.",
            "info": "contextWindowExceeded",
        },
        400,
        "context_length_exceeded",
    ),
    (
        "an upstream that is overloaded",
        {
            "code": "server_is_overloaded",
            "fail": "Selected model is at capacity. Please try a different model.",
            "info": "serverOverloaded",
        },
        503,
        "overloaded",
    ),
    (
        "too many requests",
        {
            "status": 429,
            "body": {"error": {"message": "Slow down", "code": "rate_limit_exceeded", "type": "x"}},
            "fail": "exceeded retry limit, last status: 429 Too Many Requests",
            "info": {"responseTooManyFailedAttempts": {"httpStatusCode": 429}},
        },
        429,
        "rate_limit_exceeded",
    ),
    (
        "a login that is no good",
        {
            "status": 401,
            "body": {"detail": "Unauthorized"},
            "fail": "unexpected status 401 Unauthorized: bad key, url: http://127.0.0.1/v1/responses",
            "info": {"responseStreamConnectionFailed": {"httpStatusCode": 401}},
        },
        401,
        "login_expired",
    ),
    (
        "something upstream does not take",
        {
            "status": 400,
            "body": {"detail": "Unsupported parameter: temperature"},
            "fail": '{"detail":"Unsupported parameter: temperature"}',
            "info": "other",
        },
        400,
        "upstream_rejected",
    ),
]


@pytest.mark.parametrize(("step", "status", "code"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_refusal_keeps_its_meaning(stage: Stage, step: dict[str, Any], status: int, code: str) -> None:
    stage.play(step)
    error = failure(stage.backend())
    assert (error.status, error.code) == (status, code)
    eventually(lambda: stage.in_use() == 0)


def test_an_upstream_that_stops_in_the_middle_is_a_failure(stage: Stage) -> None:
    stage.play({"think": ["**Plan** it"]}, {"say": "never all of it"}, {"exit": 3})
    stream = stage.backend().open(turn())
    with pytest.raises(UpstreamFailed) as failure:
        collect(stream)
    assert failure.value.code in ("upstream_truncated", "codex_cli_failed")
    eventually(lambda: stage.in_use() == 0)


def test_what_came_before_a_failure_is_delivered(stage: Stage) -> None:
    stage.play({"think": ["**Plan** it"]}, {"fail": "upstream broke", "code": "server_error", "info": "other"})
    stream, events, error = stage.backend().open(turn()), [], None
    try:
        for batch in stream:
            events += batch
    except ProxyError as raised:
        error = raised
    finally:
        stream.close()
    error = error or failure_of(events[-1])
    assert error is not None and error.status == 502
    assert "response.reasoning_summary_text.delta" in [event.type for event in events]


@pytest.mark.parametrize(
    "steps", [({"hang": True},), ({"think": ["**Plan** it"]}, {"hang": True})], ids=["before", "after the first event"]
)
def test_a_stream_that_is_closed_frees_upstream_at_once(stage: Stage, steps: tuple[dict[str, Any], ...]) -> None:
    stage.play(*steps, *ANSWER[1:])
    stream = stage.backend().open(turn())
    batches = iter(stream)
    while [] not in [next(batches)]:
        pass
    assert stage.in_use() == 1
    stream.close()
    stream.close()
    eventually(lambda: stage.in_use() == 0, 1.0)


def test_a_stream_that_nobody_read_frees_upstream_too(stage: Stage) -> None:
    stage.play(*ANSWER)
    stage.backend().open(turn()).close()
    eventually(lambda: stage.in_use() == 0, 1.5)


def test_a_turn_that_takes_too_long_is_ended(stage: Stage) -> None:
    stage.play({"think": ["**Plan** it"]}, {"hang": True}, *ANSWER[1:])
    stream = stage.backend(total=0.8).open(turn())
    with pytest.raises(UpstreamTimeout) as timeout:
        collect(stream)
    assert (timeout.value.status, timeout.value.code) == (504, "upstream_timeout")
    eventually(lambda: stage.in_use() == 0, 1.5)


def test_turns_at_the_same_time_do_not_mix(stage: Stage) -> None:
    stage.play(*ANSWER)
    backend, texts = stage.backend(), []

    def ask() -> None:
        response = aggregate([collect(backend.open(turn()))])
        texts.append(response["output"][-1]["content"][0]["text"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(30))
    assert texts == ["Hello world"] * 6


def test_the_catalogue_names_models_by_slug(stage: Stage) -> None:
    models = stage.backend().models()
    assert models and all(isinstance(model["slug"], str) for model in models)


def test_the_quota_is_told_as_upstream_tells_it(stage: Stage) -> None:
    if not stage.has_quota:
        with pytest.raises(NotLoggedIn):
            stage.backend().usage()
        return
    window = stage.backend().usage()["rate_limit"]["primary_window"]
    assert 0 <= window["used_percent"] <= 100
    assert window["limit_window_seconds"] > 0 and window["reset_at"] > 0


def test_a_backend_says_what_it_can_do_as_its_type_promises(stage: Stage) -> None:
    backend = stage.backend()
    assert backend.capabilities is PROVIDER_TYPES[backend.capabilities.type]
    models = backend.models()
    if backend.capabilities.describes_models:
        assert all(model["supported_reasoning_levels"] for model in models)


def test_a_backend_that_works_has_no_problem(stage: Stage) -> None:
    backend = stage.backend()
    assert backend.problem() is None
    assert backend.supports(turn())


def test_a_preview_is_plain_json_starts_nothing_and_holds_no_credential(stage: Stage) -> None:
    asked = turn("what is shown")
    shown = json.dumps(stage.backend().preview(asked))
    assert "what is shown" in shown
    assert not any(secret in shown for secret in stage.secrets())
    assert stage.in_use() == 0


def test_compaction_gives_an_object_or_is_not_offered(stage: Stage) -> None:
    body = {"model": "gpt-5.5", "instructions": "Be kind.", "input": turn().body["input"]}
    try:
        summary = stage.backend().compact(body)
    except NotOffered as refusal:
        assert refusal.status == 501
        return
    assert summary["output"]


def test_a_patience_is_kept(stage: Stage) -> None:
    stream = stage.backend().open(turn())
    stream.close()
    assert stream.patience == PATIENCE
