"""LangChain's OpenAI chat model. It takes Responses by itself where the model's name holds ``codex``."""

from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from stage import perform


class Report(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"21 degrees in {city}"


def chat(base_url: str, model: str, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(base_url=base_url, model=model, api_key="any", max_retries=0, stream_usage=True, **more)


def told(message: Any) -> dict[str, Any]:
    usage = message.usage_metadata
    finish = message.response_metadata.get("finish_reason") or message.response_metadata.get("status")
    return {
        "text": message.text,
        "finish": finish,
        "usage": [usage["input_tokens"], usage["output_tokens"]],
        "thought": message.additional_kwargs.get("reasoning_content"),
    }


def whole(ask: str, more: dict[str, Any] | None = None, **where: Any) -> dict[str, Any]:
    return told(chat(**where, **(more or {})).invoke(ask))


def streamed(ask: str, **where: Any) -> dict[str, Any]:
    chunks = list(chat(**where).stream(ask))
    joined = chunks[0]
    for chunk in chunks[1:]:
        joined = joined + chunk
    return {**told(joined), "pieces": sum(bool(chunk.text) for chunk in chunks)}


def tools(ask: str, stream: bool, **where: Any) -> dict[str, Any]:
    model = chat(**where).bind_tools([get_weather])
    messages: list[Any] = [HumanMessage(ask)]
    ran: list[str] = []
    while True:
        answer = joined_stream(model, messages) if stream else model.invoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            return {"text": answer.text, "ran": ran}
        for call in answer.tool_calls:
            ran.append(call["args"]["city"])
            messages.append(get_weather.invoke(call))


def joined_stream(model: Any, messages: list[Any]) -> Any:
    first, *rest = model.stream(messages)
    for chunk in rest:
        first = first + chunk
    return first


def schema(ask: str, method: str = "json_schema", **where: Any) -> dict[str, Any]:
    report = chat(**where).with_structured_output(Report, method=method).invoke(ask)
    return report.model_dump()


def image(ask: str, image: str, **where: Any) -> dict[str, Any]:
    content: list[Any] = [{"type": "text", "text": ask}, {"type": "image_url", "image_url": {"url": image}}]
    return {"text": chat(**where).invoke([HumanMessage(content)]).text}


def cancelled(ask: str, **where: Any) -> dict[str, Any]:
    stream = chat(**where).stream(ask)
    first = next(chunk.text for chunk in stream if chunk.text)
    stream.close()
    return {"first": first}


def conversation(turns: list[str], **where: Any) -> dict[str, Any]:
    model = chat(**where).bind_tools([get_weather])
    messages: list[Any] = []
    texts = []
    for ask in turns:
        messages.append(HumanMessage(ask))
        while (answer := model.invoke(messages)).tool_calls:
            messages += [answer, *(get_weather.invoke(call) for call in answer.tool_calls)]
        messages.append(answer)
        texts.append(answer.text)
    return {"texts": texts}


def list_content(ask: str, **where: Any) -> dict[str, Any]:
    """A tool result of content parts instead of one text."""
    model = chat(**where).bind_tools([get_weather], parallel_tool_calls=False)
    answer = model.invoke(ask)
    (call,) = answer.tool_calls
    parts: list[Any] = [{"type": "text", "text": "21 degrees"}, {"type": "text", "text": "and sunny"}]
    return {"text": model.invoke([HumanMessage(ask), answer, ToolMessage(parts, tool_call_id=call["id"])]).text}


perform(
    {scene.__name__: scene for scene in (whole, streamed, tools, schema, image, cancelled, conversation, list_content)}
)
