"""The official OpenAI Python SDK: Chat Completions, Responses with its state."""

import json
from typing import Any

import openai
from openai import OpenAI
from pydantic import BaseModel
from stage import perform


class Report(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: dict[str, Any] = {"name": "get_weather", "description": "The weather of a city.", "parameters": PARAMETERS}


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


class Chat:
    """Chat Completions."""

    def __init__(self, base_url: str, model: str) -> None:
        self._api = OpenAI(base_url=base_url, api_key="any", max_retries=0).chat.completions
        self._model = model

    def _told(self, answer: Any) -> dict[str, Any]:
        (choice,) = answer.choices
        usage = [answer.usage.prompt_tokens, answer.usage.completion_tokens]
        return {"text": choice.message.content, "finish": choice.finish_reason, "usage": usage}

    def whole(self, ask: str) -> dict[str, Any]:
        return self._told(self._api.create(model=self._model, messages=user(ask)))

    def _stream(self, messages: list[Any], **more: Any) -> tuple[Any, list[str]]:
        options: Any = {"include_usage": True}
        with self._api.stream(model=self._model, messages=messages, stream_options=options, **more) as stream:
            pieces = [event.delta for event in stream if event.type == "content.delta" and event.delta]
            return stream.get_final_completion(), pieces

    def streamed(self, ask: str) -> dict[str, Any]:
        answer, pieces = self._stream(user(ask))
        return {**self._told(answer), "text": "".join(pieces), "pieces": len(pieces)}

    def tools(self, ask: str, stream: bool) -> dict[str, Any]:
        messages, ran, offer = user(ask), [], [{"type": "function", "function": WEATHER}]
        while True:
            if stream:
                answer, _ = self._stream(messages, tools=offer)
            else:
                answer = self._api.create(model=self._model, messages=messages, tools=offer)
            message = answer.choices[0].message
            if not message.tool_calls:
                return {"text": message.content, "ran": ran}
            messages.append(message)
            for call in message.tool_calls:
                ran.append(json.loads(call.function.arguments)["city"])
                messages.append({"role": "tool", "tool_call_id": call.id, "content": f"21 degrees in {ran[-1]}"})

    def schema(self, ask: str) -> dict[str, Any]:
        answer = self._api.parse(model=self._model, messages=user(ask), response_format=Report)
        return answer.choices[0].message.parsed.model_dump()

    def image(self, ask: str, image: str) -> dict[str, Any]:
        content = [{"type": "text", "text": ask}, {"type": "image_url", "image_url": {"url": image}}]
        return self._told(self._api.create(model=self._model, messages=user(content)))

    def cancelled(self, ask: str) -> dict[str, Any]:
        with self._api.create(model=self._model, messages=user(ask), stream=True) as stream:
            return {"first": next(chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)}


class Responses:
    """The Responses API; tool results follow by ``previous_response_id``."""

    def __init__(self, base_url: str, model: str) -> None:
        self._api = OpenAI(base_url=base_url, api_key="any", max_retries=0).responses
        self._model = model

    def _told(self, answer: Any) -> dict[str, Any]:
        usage = [answer.usage.input_tokens, answer.usage.output_tokens]
        return {"text": answer.output_text, "finish": answer.status, "usage": usage}

    def whole(self, ask: str) -> dict[str, Any]:
        return self._told(self._api.create(model=self._model, input=ask))

    def _stream(self, **asked: Any) -> tuple[Any, list[str]]:
        pieces = []
        with self._api.stream(model=self._model, **asked) as stream:
            for event in stream:
                if event.type in ("error", "response.failed"):
                    raise openai.APIError(str(event.response.error.message), request=None, body=None)
                if event.type == "response.output_text.delta":
                    pieces.append(event.delta)
            return stream.get_final_response(), pieces

    def streamed(self, ask: str) -> dict[str, Any]:
        answer, pieces = self._stream(input=ask)
        return {**self._told(answer), "text": "".join(pieces), "pieces": len(pieces)}

    def tools(self, ask: str, stream: bool) -> dict[str, Any]:
        asked: dict[str, Any] = {"input": ask, "tools": [{"type": "function", "strict": True, **WEATHER}]}
        ran: list[str] = []
        while True:
            answer = self._stream(**asked)[0] if stream else self._api.create(model=self._model, **asked)
            calls = [item for item in answer.output if item.type == "function_call"]
            if not calls:
                return {"text": answer.output_text, "ran": ran}
            asked |= {"previous_response_id": answer.id, "input": [self._run(call, ran) for call in calls]}

    def _run(self, call: Any, ran: list[str]) -> dict[str, Any]:
        ran.append(json.loads(call.arguments)["city"])
        return {"type": "function_call_output", "call_id": call.call_id, "output": f"21 degrees in {ran[-1]}"}

    def schema(self, ask: str) -> dict[str, Any]:
        return self._api.parse(model=self._model, input=ask, text_format=Report).output_parsed.model_dump()

    def image(self, ask: str, image: str) -> dict[str, Any]:
        content = [{"type": "input_text", "text": ask}, {"type": "input_image", "image_url": image, "detail": "low"}]
        return self._told(self._api.create(model=self._model, input=user(content)))

    def cancelled(self, ask: str) -> dict[str, Any]:
        with self._api.create(model=self._model, input=ask, stream=True) as stream:
            return {"first": next(event.delta for event in stream if event.type == "response.output_text.delta")}


SCENES = ("whole", "streamed", "tools", "schema", "image", "cancelled")


def scene(kind: Any, name: str) -> Any:
    return lambda base_url, model, **args: getattr(kind(base_url, model), name)(**args)


perform({f"{kind.__name__.lower()}.{name}": scene(kind, name) for kind in (Chat, Responses) for name in SCENES})
