"""The OpenAI Agents SDK, over Responses (its default) and over Chat Completions."""

import asyncio
from collections.abc import Callable
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel
from stage import perform

set_tracing_disabled(True)
MODELS: dict[str, Any] = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}


class Report(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


def agent(mode: str, base_url: str, model: str, **more: Any) -> Agent:
    client = AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0)
    settings = ModelSettings(include_usage=True)
    return Agent(name="Forecaster", model=MODELS[mode](model, client), model_settings=settings, **more)


def weather(ran: list[str]) -> Any:
    @function_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        ran.append(city)
        return f"21 degrees in {city}"

    return get_weather


def told(result: Any) -> dict[str, Any]:
    usage = result.context_wrapper.usage
    return {"text": result.final_output, "usage": [usage.input_tokens, usage.output_tokens]}


async def read(result: Any) -> list[str]:
    return [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
    ]


async def whole(ask: str, **where: Any) -> dict[str, Any]:
    return told(await Runner.run(agent(**where), ask))


async def streamed(ask: str, **where: Any) -> dict[str, Any]:
    result = Runner.run_streamed(agent(**where), ask)
    pieces = await read(result)
    return {**told(result), "text": "".join(pieces), "pieces": len(pieces)}


async def tools(ask: str, stream: bool, **where: Any) -> dict[str, Any]:
    ran: list[str] = []
    forecaster = agent(**where, tools=[weather(ran)])
    if stream:
        result = Runner.run_streamed(forecaster, ask)
        await read(result)
    else:
        result = await Runner.run(forecaster, ask)
    return {"text": result.final_output, "ran": ran}


async def schema(ask: str, **where: Any) -> dict[str, Any]:
    return (await Runner.run(agent(**where, output_type=Report), ask)).final_output.model_dump()


async def image(ask: str, image: str, **where: Any) -> dict[str, Any]:
    parts = [{"type": "input_text", "text": ask}, {"type": "input_image", "image_url": image, "detail": "low"}]
    return told(await Runner.run(agent(**where), [{"role": "user", "content": parts}]))


async def cancelled(ask: str, **where: Any) -> dict[str, Any]:
    result = Runner.run_streamed(agent(**where), ask)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            result.cancel()
            return {"first": event.data.delta}
    return {}


async def conversation(turns: list[str], chained: bool = False, **where: Any) -> dict[str, Any]:
    """Three turns, remembered by a session of ours or by the service (``previous_response_id``)."""
    ran: list[str] = []
    forecaster = agent(**where, tools=[weather(ran)])
    session = None if chained else SQLiteSession("one")
    texts, last = [], None
    for ask in turns:
        result = await Runner.run(forecaster, ask, session=session, previous_response_id=last)
        last = result.last_response_id if chained else None
        texts.append(result.final_output)
    return {"texts": texts, "ran": ran}


def scene(play: Callable[..., Any], mode: str) -> Callable[..., Any]:
    return lambda **args: asyncio.run(play(mode=mode, **args))


PLAYS = (whole, streamed, tools, schema, image, cancelled, conversation)
perform({f"{mode}.{play.__name__}": scene(play, mode) for mode in MODELS for play in PLAYS})
