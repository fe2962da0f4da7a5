"""Scripted and improvised answers have the shapes of the real stream."""

from typing import Any

import pytest

from codexproxy.simulator import recipes
from codexproxy.simulator.client import ControlRefused
from tests.simulator.event_schemas import flaws
from tests.simulator.talk import Answer, Talker

Json = dict[str, Any]

WITH_SECRETS = {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low", "summary": "auto"}}
CITATION = {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "t", "url": "https://example.com/"}

SCRIPTS: dict[str, Json] = {
    "text": recipes.say("Hello", " ", "wörld", " 🌍"),
    "no text": recipes.say(),
    "reasoning": recipes.answer(recipes.think("**One**\n\nfirst", "**Two**"), recipes.message("done")),
    "raw reasoning": recipes.answer(recipes.think(text="step by step"), recipes.message("done")),
    "call": recipes.answer(recipes.call("f", fragments=['{"a"', ":1", "}"])),
    "parallel calls": recipes.answer(recipes.think(), recipes.call("f", {"a": 1}), recipes.call("g", "{}")),
    "interleaved": recipes.answer(*[recipes.call(name, {"a": 1}, interleave=True) for name in "fgh"]),
    "custom call": recipes.answer(recipes.custom_call("exec", "print(1)")),
    "refusal": recipes.answer(recipes.refusal("I would rather not.")),
    "web search": recipes.answer(recipes.web_search("q"), recipes.message("x", annotations=[CITATION])),
    "image": recipes.answer({"type": "image_generation_call", "result": "AA==", "partials": ["AA=="]}),
    "several messages": recipes.answer(
        recipes.message("a", phase="commentary"), recipes.message("b", phase="final_answer")
    ),
    "compaction": recipes.answer({"type": "compaction"}),
    "incomplete": recipes.incomplete("half an ans"),
    "filtered": recipes.incomplete("half", reason="content_filter"),
    "failed": recipes.fail("server_error", "It broke.", recipes.message("par")),
    "error event": recipes.error_event("slow_down", "Slower, please."),
    "flat error event": recipes.error_event("slow_down", "Slower, please.", flat=True),
    "error, then failed": {"end": "error_then_failed", "error": {"code": "server_error", "message": "No."}},
    "two megabytes": recipes.answer({"type": "message", "text": "x" * 2_000_000, "split": "whole"}),
}


def scripted(talker: Talker, script: Json, **changes: Any) -> Answer:
    talker.sim.script(script)
    return talker.turn(**changes)


@pytest.mark.parametrize("final_output", [True, False], ids=["empty final output", "full final output"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_event_validates_against_the_published_schema(talker: Talker, name: str, final_output: bool) -> None:
    talker.sim.rules(empty_final_output=final_output)

    answer = scripted(talker, SCRIPTS[name], **WITH_SECRETS)

    assert [flaw for event in answer.events for flaw in flaws(event)] == []
    assert [event["sequence_number"] for event in answer.events] == list(range(len(answer.events)))


def test_an_improvised_answer_validates_too(talker: Talker) -> None:
    answer = talker.turn(**WITH_SECRETS, tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}}])

    assert [flaw for event in answer.events for flaw in flaws(event)] == []


def test_text_arrives_in_the_scripts_own_deltas(talker: Talker) -> None:
    answer = scripted(talker, recipes.say("Hel", "lo", "", " you"))

    deltas = [event["delta"] for event in answer.events if event["type"].endswith("text.delta")]
    done = next(event for event in answer.events if event["type"] == "response.output_item.done")
    assert deltas == ["Hel", "lo", "", " you"]
    assert done["item"]["content"][0]["text"] == "Hello you"


def test_the_final_output_is_empty_unless_that_rule_is_off(talker: Talker) -> None:
    empty = scripted(talker, recipes.say("a")).events[-1]["response"]["output"]
    talker.sim.rules(empty_final_output=False)
    full = scripted(talker, recipes.say("a")).events[-1]["response"]["output"]

    assert empty == []
    assert [item["content"][0]["text"] for item in full] == ["a"]


def test_encrypted_content_exists_only_when_it_was_asked_for(talker: Talker) -> None:
    def reasoning(**changes: Any) -> Json:
        events = scripted(talker, recipes.answer(recipes.think("x")), **changes).events
        return next(event["item"] for event in events if event["type"] == "response.output_item.done")

    assert "encrypted_content" not in reasoning()
    assert reasoning(include=["reasoning.encrypted_content"])["encrypted_content"].startswith("gAAAA")
    talker.sim.rules(encrypted_only_if_included=False)
    assert "encrypted_content" in reasoning()


def test_interleaved_calls_mix_their_fragments_but_keep_their_indexes(talker: Talker) -> None:
    calls = [recipes.call(name, fragments=["{", "}"], interleave=True) for name in ("f", "g")]

    events = scripted(talker, recipes.answer(*calls)).events

    deltas = [(event["output_index"], event["delta"]) for event in events if event["type"].endswith(".delta")]
    assert deltas == [(0, "{"), (1, "{"), (0, "}"), (1, "}")]


def test_the_terminal_event_can_have_its_older_name(talker: Talker) -> None:
    talker.sim.rules(response_done=True)

    assert scripted(talker, recipes.say("a")).types[-1] == "response.done"


def test_event_types_can_be_left_out(talker: Talker) -> None:
    left_out = ["response.created", "response.in_progress", "response.output_item.done"]

    answer = scripted(talker, recipes.say("a", omit_events=left_out))

    assert not set(left_out) & set(answer.types)
    assert [event["sequence_number"] for event in answer.events] == list(range(len(answer.events)))


def test_a_stream_can_end_without_a_terminal_event(talker: Talker) -> None:
    assert scripted(talker, recipes.say("a", end="none")).types[-1] == "response.output_item.done"


def test_usage_is_the_scripts_or_an_estimate_that_adds_up(talker: Talker) -> None:
    given = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}

    assert scripted(talker, recipes.say("a", usage=given)).events[-1]["response"]["usage"] == given
    assert scripted(talker, recipes.say("a", usage=None)).events[-1]["response"]["usage"] is None
    usage = talker.turn().events[-1]["response"]["usage"]
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]


def test_a_conversation_with_a_stable_key_is_cached(talker: Talker) -> None:
    long = {"role": "user", "content": "x" * 8000}

    def cached(key: str | None, *more: Json) -> int:
        usage = talker.turn(prompt_cache_key=key, input=[long, *more]).events[-1]["response"]["usage"]
        return int(usage["input_tokens_details"]["cached_tokens"])

    assert cached("a") == 0
    assert cached("a", {"role": "user", "content": "more"}) > 1500
    assert cached("b") == 0
    assert cached(None) == 0


def test_unknown_events_and_items_pass_as_given(talker: Talker) -> None:
    script = recipes.answer(
        {"type": "event", "event": {"type": "response.novelty", "x": 1}},
        {"type": "item", "item": {"type": "mcp_approval_request", "id": "mcpr_1", "name": "n"}},
    )

    events = scripted(talker, script).events

    assert {"type": "response.novelty", "x": 1} == {k: v for k, v in events[2].items() if k != "sequence_number"}
    assert events[3]["item"]["type"] == events[4]["item"]["type"] == "mcp_approval_request"


def test_the_side_channel_tells_the_limits_when_switched_on(talker: Talker) -> None:
    talker.sim.rules(rate_limits_event=True)
    talker.sim.settings(quota={"primary_used": 42.5, "secondary_used": None})

    event = talker.turn().events[2]

    assert event["type"] == "codex.rate_limits"
    assert event["rate_limits"]["primary"]["used_percent"] == 42.5
    assert "secondary" not in event["rate_limits"]


def test_answers_carry_the_headers_of_the_real_one(talker: Talker) -> None:
    answer = talker.turn()

    assert answer.headers["x-codex-primary-used-percent"] == "12"
    assert answer.headers["x-codex-secondary-window-minutes"] == "10080"
    assert int(answer.headers["x-codex-primary-reset-at"]) > 1_700_000_000
    assert answer.headers["openai-model"] == "gpt-5.5"
    assert answer.headers["x-models-etag"]
    assert "content-type" not in answer.headers
    talker.sim.rules(no_content_type=False, retired_headers=True)
    answer = talker.turn()
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-codex-primary-reset-after-seconds"] == "7200"


def test_a_script_waits_for_the_request_it_is_meant_for(talker: Talker) -> None:
    talker.sim.script(recipes.say("for two"), match="marker-2")
    talker.sim.script(recipes.say("for one"), match="märker-1 🌍")

    assert talker.turn(instructions="märker-1 🌍").text == "for one"
    assert talker.turn(instructions="nobody").text.startswith("Hello!")
    assert talker.turn(instructions="marker-2").text == "for two"
    assert talker.sim.waiting_scripts() == {}


def test_a_refused_turn_leaves_its_script_waiting(talker: Talker) -> None:
    talker.sim.script(recipes.say("worth the wait"))
    talker.sim.rules(overload_503={"times": 2})

    assert [talker.turn().status for _ in range(2)] == [503, 503]
    assert talker.turn().text == "worth the wait"


def test_a_script_that_switches_rules_is_used_up_by_a_refusal(talker: Talker) -> None:
    talker.sim.script(recipes.say("never", rules={"overload_503": True}), recipes.say("second"))

    assert talker.turn().status == 503
    assert talker.turn().text == "second"


def test_a_script_that_switches_rules_is_used_as_often_as_it_says(talker: Talker) -> None:
    talker.sim.script(recipes.say("twice", rules={"bom": True}), repeat=2)

    assert [talker.turn().text[:5] for _ in range(3)] == ["twice", "twice", "Hello"]


def test_scripts_can_repeat(talker: Talker) -> None:
    talker.sim.script(recipes.say("again"), repeat=2)

    assert [talker.turn().text[:5] for _ in range(3)] == ["again", "again", "Hello"]


def test_a_plain_http_answer_takes_any_turn(talker: Talker) -> None:
    talker.sim.script(recipes.http(418, {"teapot": True}, headers={"x-kind": "pot"}), recipes.http(200, body=""))
    talker.sim.script(recipes.http(502, html="<html>bad gateway</html>"))

    teapot, empty, page = talker.turn(), talker.turn(store=True), talker.turn()

    assert (teapot.status, teapot.json, teapot.headers["x-kind"]) == (418, {"teapot": True}, "pot")
    assert (empty.status, empty.body) == (200, b"")
    assert (page.status, page.headers["content-type"]) == (502, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    "script",
    [
        {"txet": "typo"},
        {"items": [{"type": "massage"}]},
        {"text": "x", "end": "finished"},
        {"text": "x", "cut": {"how": "gently", "event": 1}},
        {"text": "x", "stalls": [{"ms": 5}]},
        {"text": "x", "rules": {"no_such_rule": True}},
        {"items": [{"type": "function_call"}]},
        "text",
    ],
    ids=str,
)
def test_a_script_with_a_mistake_is_refused_when_it_is_queued(talker: Talker, script: Any) -> None:
    with pytest.raises(ControlRefused):
        talker.sim.script(script)
    assert talker.sim.waiting_scripts() == {}
