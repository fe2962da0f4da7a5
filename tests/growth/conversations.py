"""Conversations of any size: a row per way in which items, parts and calls can be many."""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Rows = dict[str, tuple[int, Callable[[int], Json]]]

SAID: Json = {"role": "user", "content": "hi"}
WIDE = {f"p{n}": {"type": "string"} for n in range(70)}


def chat(**fields: Any) -> Json:
    """A request of Chat Completions."""
    return {"model": "gpt-5.2", "messages": [SAID], **fields}


def messages(*more: Json) -> Json:
    """The same with these messages."""
    return {"model": "gpt-5.2", "messages": [SAID, *more]}


def call(id: str | None, name: str = "f", arguments: str = "{}") -> Json:
    """An assistant's tool call."""
    named = {} if id is None else {"id": id}
    return {
        "role": "assistant",
        "tool_calls": [{**named, "type": "function", "function": {"name": name, "arguments": arguments}}],
    }


def result(id: str | None, content: str = "ok") -> Json:
    """Its result."""
    return {"role": "tool", "content": content, **({} if id is None else {"tool_call_id": id})}


def tool(name: str, parameters: Json | None = None, **more: Any) -> Json:
    """A function."""
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object"}, **more}}


def said(text: str) -> Json:
    """What the assistant said."""
    return {"role": "assistant", "content": text}


def formatted(schema: Json) -> Json:
    """A request for JSON of a shape."""
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}})


def unfolding(depth: int) -> Json:
    """A schema that is twice as large with each level."""
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(depth)}
    return {"$ref": "#/$defs/l0", "$defs": {**levels, f"l{depth}": {"type": "object", "properties": WIDE}}}


def nested(depth: int) -> Json:
    """A schema of one object in the other."""
    schema: Json = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def strict(count: int, schema: Json) -> Json:
    """Strict functions, all of one schema."""
    return chat(tools=[tool(f"f{n}", schema, strict=True) for n in range(count)])


# What has to be told apart by more than one field -> the smallest size and the request of a size.
CHAT: Rows = {
    "plain messages": (500, lambda n: messages(*[SAID, said("yes")] * n)),
    "messages without content": (500, lambda n: messages(*[said("")] * n)),
    "parts": (500, lambda n: messages({"role": "user", "content": [{"type": "text", "text": "x"}] * n})),
    "assistant parts of the wrong kind": (
        500,
        lambda n: messages({"role": "assistant", "content": [{"type": "input_text", "text": "x"}] * n}),
    ),
    "images": (
        500,
        lambda n: messages(
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": f"https://a.example/{k}.png"}} for k in range(n)
                ],
            }
        ),
    ),
    "long text": (200_000, lambda n: messages({"role": "user", "content": "word " * n})),
    "odd Unicode": (100_000, lambda n: messages({"role": "user", "content": "e\u0301\u202e\U0001f98a" * n})),
    "system texts": (500, lambda n: {"model": "m", "messages": [{"role": "system", "content": "be brief"}] * n}),
    "system messages in between": (500, lambda n: messages(*[{"role": "system", "content": "be brief"}, SAID] * n)),
    "details without an end of the tag": (2_000, lambda n: messages(said('<details type="reasoning"' * n))),
    "details without an end": (2_000, lambda n: messages(said('<details type="reasoning">' * n))),
    "details of something else": (2_000, lambda n: messages(said("<details " * n + ">x</details>"))),
    "details": (1_000, lambda n: messages(said('<details type="reasoning">x</details> y ' * n))),
    "think text without an end": (20_000, lambda n: messages(said("<think>" + "<thinking>" * n))),
    "blanks before think text": (50_000, lambda n: messages(said(" " * n + "<"))),
    "calls and results": (250, lambda n: messages(*[m for k in range(n) for m in (call(f"c{k}"), result(f"c{k}"))])),
    "calls that share an id, then results": (400, lambda n: messages(*[call("c")] * n, *[result("c")] * n)),
    "rounds that share an id": (
        250,
        lambda n: messages(*[m for _ in range(n) for m in (call("c"), result("c"), SAID)]),
    ),
    "results before their calls": (400, lambda n: messages(*[result("c")] * n, *[call("c")] * n)),
    "calls without ids": (400, lambda n: messages(*[call(None, f"f{k}") for k in range(n)], *[result(None)] * n)),
    "calls that are alike": (400, lambda n: messages(*[call("c")] * n)),
    "results without calls": (400, lambda n: messages(*[result(f"c{k}") for k in range(n)])),
    "calls in one message": (400, lambda n: messages({"role": "assistant", "tool_calls": call("c")["tool_calls"] * n})),
    "legacy calls": (
        250,
        lambda n: messages(
            *[
                m
                for k in range(n)
                for m in (
                    {"role": "assistant", "function_call": {"name": f"f{k}", "arguments": "{}"}},
                    {"role": "function", "name": "f0", "content": "ok"},
                )
            ]
        ),
    ),
    "names that do not fit": (300, lambda n: messages(*[call(f"c{k}", f"näme {k}") for k in range(n)])),
    "one long name": (20_000, lambda n: messages(call("c", "ä" * n))),
    "tools": (250, lambda n: chat(tools=[tool(f"f{k}") for k in range(n)])),
    "tools of one name": (250, lambda n: chat(tools=[tool("f")] * n)),
    "allowed tools": (
        250,
        lambda n: chat(
            tools=[tool(f"f{k}") for k in range(n)],
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": f"f{k}"}} for k in range(n)],
                },
            },
        ),
    ),
    "strict tools": (60, lambda n: strict(n, {"type": "object", "properties": WIDE})),
    "a deep schema": (10, lambda n: formatted(nested(n))),
    "a schema of many properties": (
        200,
        lambda n: formatted({"type": "object", "properties": {f"p{k}": {"type": "string"} for k in range(n)}}),
    ),
    "a long reference": (
        5_000,
        lambda n: formatted({"type": "object", "properties": {"a": {"$ref": "#/" + "a/" * n}}}),
    ),
    "unknown fields": (1_000, lambda n: chat(**{f"unknown{k}": 1 for k in range(n)})),
    "unknown fields in camel case": (1_000, lambda n: chat(**{f"unKnown{k}": 1 for k in range(n)})),
    "one long unknown name": (50_000, lambda n: chat(**{"u" * n: 1})),
    "a long model name with endings": (2_000, lambda n: chat(model="gpt-5.2" + "-high" * n)),
}

# What a small request could unfold into without end -> a size beyond all bounds.
UNFOLDING: Rows = {
    "strict tools that unfold": (100, lambda n: strict(n, unfolding(10))),
    "a schema that unfolds": (60, lambda n: formatted(unfolding(n))),
    "references to one wide schema": (
        4_900,
        lambda n: formatted(
            {
                "allOf": [{"$ref": "#/$defs/w"}] * n,
                "$defs": {"w": {"type": "object", "properties": {f"p{k}": {"type": "string"} for k in range(n)}}},
            }
        ),
    ),
    "references to one long text": (
        2_000,
        lambda n: formatted(
            {
                "type": "object",
                "properties": {f"p{k}": {"allOf": [{"$ref": "#/$defs/w"}]} for k in range(n)},
                "$defs": {"w": {"type": "string", "description": "x" * 400 * n}},
            }
        ),
    ),
    "references to one wide enum": (
        2_000,
        lambda n: formatted(
            {
                "type": "object",
                "properties": {f"p{k}": {"allOf": [{"$ref": "#/$defs/w"}]} for k in range(n)},
                "$defs": {"w": {"enum": ["x"] * 10 * n}},
            }
        ),
    ),
    "required names joined": (
        3_000,
        lambda n: formatted({"type": "object", "properties": {}, "allOf": [{"required": [f"p{k}"]} for k in range(n)]}),
    ),
    "chains of references": (
        90,
        lambda n: formatted(
            {
                "type": "object",
                "properties": {f"p{k}": {"$ref": f"#/$defs/d{k}"} for k in range(n)},
                "$defs": {f"d{k}": {"$ref": f"#/$defs/d{k + 1}"} for k in range(n)} | {f"d{n}": {"type": "string"}},
            }
        ),
    ),
}
