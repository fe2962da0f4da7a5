"""LiteLLM as a client library, with its ``openai/`` provider."""

import json
from typing import Any

import litellm
from pydantic import BaseModel
from stage import perform


class Report(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def complete(base_url: str, model: str, messages: Any, **more: Any) -> Any:
    where = {"api_base": base_url, "api_key": "any", "max_retries": 0, "timeout": 20}
    return litellm.completion(model=f"openai/{model}", messages=messages, **where, **more)


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def told(answer: Any) -> dict[str, Any]:
    (choice,) = answer.choices
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "usage": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
        "thought": getattr(choice.message, "reasoning_content", None),
    }


def whole(ask: str, more: dict[str, Any] | None = None, **where: Any) -> dict[str, Any]:
    return told(complete(**where, messages=user(ask), **(more or {})))


def collected(stream: Any, messages: Any) -> tuple[Any, list[Any]]:
    chunks = list(stream)
    return litellm.stream_chunk_builder(chunks, messages=messages), chunks


def streamed(ask: str, **where: Any) -> dict[str, Any]:
    asked = user(ask)
    stream = complete(**where, messages=asked, stream=True, stream_options={"include_usage": True})
    answer, chunks = collected(stream, asked)
    return {**told(answer), "pieces": sum(bool(chunk.choices[0].delta.content) for chunk in chunks if chunk.choices)}


def tools(ask: str, stream: bool, **where: Any) -> dict[str, Any]:
    messages, ran = user(ask), []
    while True:
        answer = complete(**where, messages=messages, tools=TOOLS, stream=stream)
        if stream:
            answer, _ = collected(answer, messages)
        message = answer.choices[0].message
        messages.append(message.model_dump())
        if not message.tool_calls:
            return {"text": message.content, "ran": ran}
        for call in message.tool_calls:
            city = json.loads(call.function.arguments)["city"]
            ran.append(city)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"21 degrees in {city}"})


def schema(ask: str, **where: Any) -> Any:
    answer = complete(**where, messages=user(ask), response_format=Report)
    return json.loads(answer.choices[0].message.content)


def image(ask: str, image: str, **where: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": ask}, {"type": "image_url", "image_url": {"url": image}}]
    return told(complete(**where, messages=user(content)))


def cancelled(ask: str, **where: Any) -> dict[str, Any]:
    stream = complete(**where, messages=user(ask), stream=True)
    first = next(chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)
    stream.completion_stream.close()
    return {"first": first}


perform({scene.__name__: scene for scene in (whole, streamed, tools, schema, image, cancelled)})
