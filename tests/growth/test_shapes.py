"""Answers that have to fit a schema: judged and turned back within a bound, and delivered beyond it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from codexproxy.apis.openai_chat import ChatApi
from codexproxy.compat.strict_schema.encode import to_strict
from codexproxy.compat.strict_schema.validate import judge
from codexproxy.protocol.request import Caller
from tests.growth.conversations import formatted
from tests.growth.measuring import LONGEST, Work, check, cost_of
from tests.patience import patient

Json = dict[str, Any]

# Each level asks both options, and each of them the next level again; strict mode drops ``minLength``.
LEVEL: Json = {"$ref": "#/$defs/level"}
RECURSIVE: Json = {
    "type": "object",
    "properties": {"a": LEVEL},
    "required": ["a"],
    "additionalProperties": False,
    "$defs": {
        "level": {
            "anyOf": [
                {"type": "object", "properties": {"a": LEVEL, "b": {"type": "null"}}, "required": ["a"]},
                {"type": "object", "properties": {"a": LEVEL}, "required": ["a"]},
                {"type": "string", "minLength": 5},
            ]
        }
    },
}


def deep(depth: int) -> str:
    """An answer whose innermost text is too short."""
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return json.dumps(value)


def test_what_cannot_be_judged_within_the_budget_is_found_to_be_so_soon() -> None:
    assert judge(RECURSIVE, deep(2)).flaw
    verdicts = []
    cost = cost_of(lambda: verdicts.append(judge(RECURSIVE, deep(60))))
    assert [(verdict.flaw, verdict.judged) for verdict in verdicts] == [(None, False)]
    assert cost.seconds < patient(2 * LONGEST)


def test_an_answer_that_cannot_be_judged_is_delivered_and_said_to_be_so() -> None:
    api = ChatApi()
    turn = api.parse(formatted(RECURSIVE), Caller())
    text = deep(60)
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    response = {"id": "resp_1", "status": "completed", "output": [item]}
    assert api.repair_request(turn, response) is None
    assert api.complete(turn, [response])["choices"][0]["message"]["content"] == text
    assert api.notes(turn) == ("response_format:unchecked",)


def test_an_answer_that_is_judged_is_said_nothing_about() -> None:
    api = ChatApi()
    turn = api.parse(formatted({"type": "object", "properties": {}, "additionalProperties": False}), Caller())
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "{}"}]}
    api.complete(turn, [{"id": "resp_1", "status": "completed", "output": [item]}])
    assert api.notes(turn) == ()


OBJECT: Json = {"type": "object", "properties": {"k": {"type": "integer"}}}
JUDGED: dict[str, tuple[int, Callable[[int], tuple[Json, Any]]]] = {
    "unique entries": (150, lambda n: ({"uniqueItems": True, "items": OBJECT}, [{"k": k} for k in range(n)])),
    "many entries": (150, lambda n: ({"items": OBJECT}, [{"k": k} for k in range(n)])),
    "many wrong entries": (100, lambda n: ({"items": OBJECT}, [{"k": "x"} for _ in range(n)])),
    "many properties": (150, lambda n: (OBJECT, {f"p{k}": k for k in range(n)})),
    "a long text": (50_000, lambda n: ({"type": "string", "maxLength": 5}, "x" * n)),
    "a long enum": (500, lambda n: ({"enum": list(range(n))}, -1)),
    "depth": (10, lambda n: (RECURSIVE, json.loads(deep(n)))),
}


@pytest.mark.parametrize("name", JUDGED)
def test_judging_costs_what_is_judged(name: str) -> None:
    size, make = JUDGED[name]

    def build(count: int) -> Work:
        schema, value = make(count)
        text = json.dumps(value)
        return lambda: judge(schema, text)

    if name != "depth":
        check(build, size)
    assert cost_of(build(size * 20)).seconds < patient(2 * LONGEST)


@pytest.mark.parametrize(
    ("schema", "value", "equal"),
    [
        ({"uniqueItems": True}, [1, 1.0], True),
        ({"uniqueItems": True}, [1, True], False),
        ({"uniqueItems": True}, [{"a": 1, "b": [2]}, {"b": [2], "a": 1}], True),
        ({"uniqueItems": True}, [[1, 2], [2, 1]], False),
        ({"uniqueItems": True}, ["1", 1, None, [None]], False),
    ],
)
def test_entries_are_alike_as_json_has_it(schema: Json, value: Any, equal: bool) -> None:
    assert (judge(schema, json.dumps(value)).flaw is not None) is equal


def test_a_nested_schema_word_is_no_way_around_the_budget() -> None:
    hidden = json.loads(json.dumps(RECURSIVE))
    hidden["$defs"]["level"]["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    cost = cost_of(lambda: judge(hidden, deep(60)))
    assert cost.seconds < patient(2 * LONGEST)


def test_many_options_for_many_entries_are_given_up_and_the_answer_stays() -> None:
    options = [
        {"type": "object", "properties": {f"p{n}": {"type": "string"}}, "required": [f"p{n}"]} for n in range(1_500)
    ]
    schema = {
        "type": "object",
        "properties": {"all": {"type": "array", "items": {"anyOf": options}}, "o": {"type": "string"}},
    }
    api = ChatApi()
    turn = api.parse(formatted(schema), Caller())
    assert to_strict(schema, strict=True).restorer is not None
    text = json.dumps({"all": [{"none": "x"}] * 4_000, "o": None})
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    told: list[Json] = []
    cost = cost_of(lambda: told.append(api.complete(turn, [{"id": "r", "status": "completed", "output": [item]}])))
    assert told[0]["choices"][0]["message"]["content"] == text
    assert api.notes(turn) == ("response_format:unchecked",)
    assert cost.seconds < patient(2 * LONGEST)
