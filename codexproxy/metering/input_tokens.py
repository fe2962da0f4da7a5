"""How many input tokens a request is, estimated offline.

Measured on recorded requests whose usage is known, the estimate is within
15 % or 16 tokens, whichever is more, for texts, calls, functions and custom
tools. It does not know what upstream adds for hosted tools, what is in files,
or how large remote images are.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Any

from codexproxy.errors import InvalidRequest
from codexproxy.metering.estimate import size_of, tokens_in
from codexproxy.protocol.json_schema import names_in
from codexproxy.protocol.pacing import Pause, no_pause, paced

Json = dict[str, Any]

# Found by comparing recorded requests with the usage that came back.
PER_REQUEST = 2
PER_MESSAGE = 4
PER_CALL = 8
PER_OUTPUT = 6
FOR_TOOLS = 13
PER_CUSTOM_TOOL = 22

# Ciphertext of recorded reasoning: so many characters around it, then so many per token.
_CIPHER_FRAME, _CIPHER_PER_TOKEN = 650, 7.3

# Text and its JSON, most of it Latin.
_BYTES_PER_TOKEN = 4.2

# The published rule of the gpt-5 family: scaled to fit a square, then its
# shorter side, then counted in tiles.
_IMAGE_BASE, _IMAGE_TILE = 70, 140
_IMAGE_SQUARE, _IMAGE_SHORT_SIDE, _TILE = 2048, 768, 512
_UNKNOWN_SIZE = (1024, 1024)
# Pieces of a written schema between two looks at the clock.
_OFTEN = 2_000
# Enough of a file to find its size in.
_IMAGE_HEAD = 64 * 1024


def count_input(body: Mapping[str, Any], pause: Pause = no_pause) -> int:
    """About how many input tokens a Responses request is.

    Args:
        body: The request; what it continues must be in its ``input`` already.
        pause: Lets others run, now and then.

    Raises:
        InvalidRequest: It is nested too deeply to be looked through.
    """
    try:
        return round(_request(body, pause))
    except RecursionError:
        raise InvalidRequest("The request is nested too deeply. Please flatten its items or schemas.") from None


def count_item(item: Json) -> float:
    """About how many tokens an item is, 0 for one that is nested too deeply to be looked through."""
    try:
        return _item(item, no_pause)
    except RecursionError:
        return 0.0


def count_lightly(body: Mapping[str, Any], size: int, pause: Pause = no_pause) -> int:
    """About how many input tokens a long request is, by its length; text is not looked at.

    Args:
        body: The request.
        size: Its bytes as JSON.
        pause: Lets others run, now and then.
    """
    tokens, heavy = 0.0, 0
    given = body.get("input")
    for item in paced(given if isinstance(given, list) else (), pause):
        if not isinstance(item, dict):
            continue
        ciphertext = item.get("encrypted_content")
        if isinstance(ciphertext, str):
            heavy += len(ciphertext)
            tokens += _ciphered(item, pause)
        for content in (item.get("content"), item.get("output")):
            if not isinstance(content, list):
                continue
            for part in paced(content, pause):
                url = part.get("image_url") if isinstance(part, dict) else None
                if isinstance(url, str) and part.get("type") == "input_image":
                    heavy += len(url)
                    tokens += _image(part)
    return round(tokens + max(size - heavy, 0) / _BYTES_PER_TOKEN)


def _parts(content: Any, pause: Pause) -> list[Json]:
    return [part for part in paced(content, pause) if isinstance(part, dict)] if isinstance(content, list) else []


def _request(body: Mapping[str, Any], pause: Pause) -> float:
    total = float(PER_REQUEST)
    if body.get("instructions"):
        total += PER_MESSAGE + tokens_in(str(body["instructions"]))
    given = body.get("input") or []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    total += sum(_item(item, pause) for item in paced(items, pause) if isinstance(item, dict))
    return total + _tools(body.get("tools") or [], pause) + _format(body.get("text"))


def _item(item: Json, pause: Pause) -> float:
    count = _ITEMS.get(item.get("type") or "message")
    return count(item, pause) if count else sum(map(tokens_in, _strings(item, pause)))


def _message(item: Json, pause: Pause) -> float:
    return PER_MESSAGE + _content(item.get("content"), pause)


def _function_call(item: Json, pause: Pause) -> float:
    return PER_CALL + tokens_in(str(item.get("name"))) + tokens_in(str(item.get("arguments")))


def _custom_call(item: Json, pause: Pause) -> float:
    return PER_CALL + tokens_in(str(item.get("name"))) + tokens_in(str(item.get("input")))


def _output(item: Json, pause: Pause) -> float:
    return PER_OUTPUT + _content(item.get("output"), pause)


def _ciphered(item: Json, pause: Pause) -> float:
    ciphertext = item.get("encrypted_content")
    length = len(ciphertext) if isinstance(ciphertext, str) else 0
    return max(length - _CIPHER_FRAME, 0) / _CIPHER_PER_TOKEN


def _additional_tools(item: Json, pause: Pause) -> float:
    return _tools(item.get("tools") or [], pause)


_ITEMS: dict[str, Callable[[Json, Pause], float]] = {
    "message": _message,
    "function_call": _function_call,
    "custom_tool_call": _custom_call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "reasoning": _ciphered,
    "compaction": _ciphered,
    "additional_tools": _additional_tools,
}


def _content(content: Any, pause: Pause) -> float:
    return tokens_in(content) if isinstance(content, str) else sum(map(_part, paced(_parts(content, pause), pause)))


def _part(part: Json) -> float:
    if part.get("type") == "input_image":
        return _image(part)
    return tokens_in(str(part.get("text") or part.get("refusal") or ""))


def _image(part: Json) -> float:
    if part.get("detail") == "low":
        return _IMAGE_BASE
    width, height = _image_size(part.get("image_url")) or _UNKNOWN_SIZE
    scale = min(1.0, _IMAGE_SQUARE / max(width, height, 1))
    scale = min(scale, _IMAGE_SHORT_SIDE / max(min(width, height), 1))
    return _IMAGE_BASE + _IMAGE_TILE * ceil(width * scale / _TILE) * ceil(height * scale / _TILE)


def _image_size(url: Any) -> tuple[int, int] | None:
    head, found, data = url.partition(";base64,") if isinstance(url, str) else ("", "", "")
    if not found or not head.startswith("data:"):
        return None
    try:
        return size_of(base64.b64decode(data[:_IMAGE_HEAD]))
    except (binascii.Error, ValueError):
        return None


def _tools(tools: Iterable[Any], pause: Pause) -> float:
    flat = [tool for tool in _flattened(tools) if tool.get("type") in ("function", "custom")]
    if not flat:
        return 0.0
    return FOR_TOOLS + sum(_tool(tool, pause) for tool in paced(flat, pause))


def _flattened(tools: Iterable[Any]) -> Iterable[Json]:
    for tool in tools:
        if isinstance(tool, dict) and isinstance(tool.get("tools"), list):
            yield from _flattened(tool["tools"])
        elif isinstance(tool, dict):
            yield tool


def _tool(tool: Json, pause: Pause) -> float:
    about = _comment(tool.get("description"))
    if tool.get("type") == "custom":
        grammar = tool.get("format")
        definition = grammar.get("definition") if isinstance(grammar, dict) else None
        return PER_CUSTOM_TOOL + tokens_in(f"{about}{tool.get('name')}") + tokens_in(str(definition or ""))
    parameters = tool.get("parameters")
    shape = f"_: {_typed(parameters, pause)}" if isinstance(parameters, dict) and parameters.get("properties") else ""
    return tokens_in(f"{about}type {tool.get('name')} = ({shape}) => any;\n\n")


def _format(text: Any) -> float:
    form = text.get("format") if isinstance(text, dict) else None
    schema = form.get("schema") if isinstance(form, dict) else None
    return tokens_in(json.dumps(schema, separators=(",", ":"))) if schema else 0.0


def _comment(text: Any) -> str:
    return "".join(f"// {line}\n" for line in str(text).split("\n")) if text else ""


def _typed(schema: Any, pause: Pause) -> str:
    """A JSON schema as the type that models are shown."""
    pieces: list[str] = []

    def write(piece: str) -> None:
        pieces.append(piece)
        if not len(pieces) % _OFTEN:
            pause()

    _type(schema, write)
    return "".join(pieces)


def _type(schema: Any, write: Callable[[str], None]) -> None:
    # Written piece by piece: what is nested is not copied once more by each level above it.
    if not isinstance(schema, dict):
        write("any")
        return
    kinds, kind = schema.get("anyOf") or schema.get("oneOf"), schema.get("type")
    if isinstance(kinds, list):
        for position, inner in enumerate(kinds):
            write(" | " if position else "")
            _type(inner, write)
    elif isinstance(schema.get("enum"), list):
        write(" | ".join(json.dumps(value) for value in schema["enum"]))
    elif isinstance(schema.get("properties"), dict):
        _object(schema, write)
    elif kind == "array":
        _type(schema.get("items"), write)
        write("[]")
    else:
        write(" | ".join(map(str, kind)) if isinstance(kind, list) else str(kind or "any"))


def _object(schema: Json, write: Callable[[str], None]) -> None:
    # Older schemas have ``"required": true`` beside a property.
    required = names_in(schema.get("required"))
    write("{\n")
    for name, inner in schema["properties"].items():
        write(f"{_comment(_described(inner))}{name}{'' if name in required else '?'}: ")
        _type(inner, write)
        write(",\n")
    write("}")


def _described(schema: Any) -> Any:
    return schema.get("description") if isinstance(schema, dict) else None


def _strings(value: Any, pause: Pause) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in paced(list(value.values()) if isinstance(value, dict) else value, pause):
            yield from _strings(inner, pause)
