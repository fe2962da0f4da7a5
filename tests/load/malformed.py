"""Requests that are wrong in one place each: every position of full requests, with every kind of wrong value."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = Any

_TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

FULL: dict[str, dict[str, Json]] = {
    "/v1/chat/completions": {
        "model": "gpt-5.2",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": _PNG, "detail": "low"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "user", "content": "and now?"},
        ],
        "stream": False, "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": {"name": "weather", "description": "x", "parameters": _TOOL,
                                                    "strict": False}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": True, "max_tokens": 50, "max_completion_tokens": 50, "n": 1, "stop": ["END"],
        "temperature": 0.5, "top_p": 1, "seed": 7, "user": "u", "reasoning_effort": "low", "verbosity": "low",
        "logprobs": False, "top_logprobs": 0, "logit_bias": {"5": 1}, "metadata": {"a": "b"}, "store": False,
        "presence_penalty": 0, "frequency_penalty": 0, "service_tier": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": _TOOL, "strict": False}},
    },
    "/v1/responses": {
        "model": "gpt-5.2", "instructions": "be brief",
        "input": [
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": _PNG, "detail": "low"}]},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "x"}],
             "encrypted_content": "sim-x"},
            {"role": "user", "content": "and now?"},
        ],
        "stream": False, "store": False, "tools": [{"type": "function", "name": "weather", "parameters": _TOOL}],
        "tool_choice": {"type": "function", "name": "weather"}, "parallel_tool_calls": True,
        "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"],
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "s", "schema": _TOOL}},
        "max_output_tokens": 50, "temperature": 0.5, "top_p": 1, "truncation": "auto", "metadata": {"a": "b"},
        "previous_response_id": None, "prompt_cache_key": "k", "service_tier": "auto", "user": "u",
        "background": False, "max_tool_calls": 3,
    },
    "/v1/completions": {
        "model": "gpt-5.2", "prompt": ["once"], "stream": False, "max_tokens": 5, "stop": ["END"], "n": 1,
        "echo": False, "suffix": None, "temperature": 0.5, "logprobs": None, "best_of": 1, "user": "u",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Raw:
    """JSON text that Python's own encoder would not write."""

    text: str


WRONG: tuple[Json, ...] = (
    None, True, 0, -1, 1.5, 10**40, "", "x", "\u0000", [], {}, [[]], [None], {"a": 1},
    Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw(r'"\ud83d"'), Raw('{"type":"a","type":"b"}'),
)  # fmt: skip
# Costly or long ones, in fewer places.
DEEP = Raw("[" * 5_000 + "]" * 5_000)
LONG = "x" * 200_000


def positions(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside, the whole not included."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from positions(inner, (*path, key))


def replaced(value: Json, path: tuple[Any, ...], new: Json) -> Json:
    """A copy with another value at a path."""
    if not path:
        return new
    if isinstance(value, dict):
        return {key: replaced(inner, path[1:], new) if key == path[0] else inner for key, inner in value.items()}
    return [replaced(inner, path[1:], new) if index == path[0] else inner for index, inner in enumerate(value)]


def text_of(value: Json) -> str:
    """JSON text, with raw pieces as they are."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{text_of(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    return json.dumps(value)


def cases() -> Iterator[tuple[str, str, str]]:
    """Route, what is wrong, and the body's text."""
    for route, full in FULL.items():
        for path in positions(full):
            for new in WRONG if len(path) < 6 else WRONG[:8]:
                yield route, f"{path} = {new!r:.40}", text_of(replaced(full, path, new))
        for path in list(positions(full))[::7]:
            for new in (DEEP, LONG):
                yield route, f"{path} = large", text_of(replaced(full, path, new))
        yield from ((route, f"body {text!r:.40}", text) for text in _WHOLE)


_WHOLE = ("", " ", "null", "[]", "1", '"x"', "{", "}", '{"model"', "{'a': 1}", "\ufeff{}", "{}" * 2, DEEP.text, "NaN")
