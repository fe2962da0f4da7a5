"""Building blocks of an answer: the Response object and the numbered events (docs/reference/stream.md#events). Pure."""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Sequence
from typing import Any

import orjson

Json = dict[str, Any]
Frame = tuple[str, bytes]

# A delta with this text is replaced by the monotonic clock, in nanoseconds, when it is sent.
STAMP = "@stamp@"

_NOISE = secrets.token_urlsafe(16)[:16].encode()
_OBFUSCATION = [_NOISE[: 16 - length] for length in range(16)]


class EventLog:
    """Events in order, numbered from 0.

    Args:
        omitted: Event types that are left out, as if upstream never sent them.
    """

    def __init__(self, omitted: Collection[str] = ()) -> None:
        self.frames: list[Frame] = []
        self._omitted = frozenset(omitted)
        self._next = 0

    def add(self, type: str, **fields: Any) -> None:
        """Appends one event."""
        if type not in self._omitted:
            payload = orjson.dumps({"type": type, **fields, "sequence_number": self._next})
            self.frames.append((type, payload))
            self._next += 1

    def add_verbatim(self, event: Json) -> None:
        """Appends an event as given; only its number is ours, unless it has one."""
        self.frames.append((str(event.get("type", "")), orjson.dumps({"sequence_number": self._next, **event})))
        self._next += 1

    def add_deltas(self, type: str, pieces: Sequence[str], item_id: str, output_index: int, index: Json) -> None:
        """Appends many deltas quickly; ``index`` holds content_index or summary_index, if the type has one."""
        if type in self._omitted:
            return
        before = b'{"type":"%b",%b"delta":' % (type.encode(), orjson.dumps(index)[1:-1] + b"," if index else b"")
        logprobs = b',"logprobs":[]' if type == "response.output_text.delta" else b""
        between = b',"item_id":"%b"%b,"obfuscation":"' % (item_id.encode(), logprobs)
        after = b'","output_index":%d,"sequence_number":' % output_index
        # Long streams repeat their words: each is rendered once, and only numbered many times.
        rendered = {
            piece: b"".join([before, orjson.dumps(piece), between, _OBFUSCATION[len(piece) & 15], after])
            for piece in set(pieces)
        }
        self.frames += [(type, b"%b%d}" % (rendered[piece], n)) for n, piece in enumerate(pieces, self._next)]
        self._next += len(pieces)


def split_text(text: str, how: Any = "word") -> list[str]:
    """Cuts a text into deltas: by ``word``, by ``char``, ``whole``, or every n characters."""
    if how == "whole":
        return [text] if text else []
    if how == "word":
        return re.findall(r"\s*\S+|\s+", text)
    size = 1 if how == "char" else int(how)
    return [text[start : start + size] for start in range(0, len(text), size)]


class Ids:
    """Ids of one response, which share a stem as the real ones do."""

    def __init__(self) -> None:
        self._stem = secrets.token_hex(17)

    def new(self, prefix: str) -> str:
        """An id such as ``msg_<50 hex digits>``."""
        return f"{prefix}_{self._stem}{secrets.token_hex(8)}"

    @staticmethod
    def call() -> str:
        """A call id such as ``call_<24 letters>``."""
        return "call_" + secrets.token_hex(12)


def response_object(body: Json, id: str, created_at: int) -> Json:
    """The Response object of a turn that has just begun, fields as in the recordings."""
    reasoning = body.get("reasoning") or {}
    text = body.get("text") or {}
    none = {"image_tokens": 0, "text_tokens": 0}
    image_usage = {"input_tokens": 0, "input_tokens_details": none, "output_tokens": 0}
    return {
        "id": id,
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": body.get("model"),
        "moderation": None,
        "output": [],
        "parallel_tool_calls": bool(body.get("parallel_tool_calls", True)),
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "prompt_cache_retention": "24h",
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": "user-simulated",
        "service_tier": "auto",
        "store": False,
        "temperature": 1.0,
        "text": {"format": _format(text.get("format")), "verbosity": text.get("verbosity") or "medium"},
        "tool_choice": body.get("tool_choice") or "auto",
        "tool_usage": {
            "image_gen": {**image_usage, "output_tokens_details": none, "total_tokens": 0},
            "web_search": {"num_requests": 0},
        },
        "tools": [_tool(tool) for tool in body.get("tools") or []],
        "top_logprobs": 0,
        "top_p": 0.98,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def _format(format: Json | None) -> Json:
    if not isinstance(format, dict) or not format:
        return {"type": "text"}
    if format.get("type") != "json_schema":
        return format
    return {"description": None, "strict": False, **format}


def _tool(tool: Json) -> Json:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": {}, "strict": True, **tool}


def usage_object(input_tokens: int, cached: int, output_tokens: int, reasoning: int) -> Json:
    """Token counts in the form of the terminal event."""
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": cached},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input_tokens + output_tokens,
    }


def seal(account_id: str, model: str) -> str:
    """Encrypted reasoning that only the same account and model can use again.

    See docs/reference/requests.md#encrypted-reasoning.
    """
    content = orjson.dumps({"account": account_id, "model": model, "nonce": secrets.token_hex(48)})
    return "gAAAAAB" + urlsafe_b64encode(content).rstrip(b"=").decode()


def is_sealed_for(text: Any, account_id: str, model: str) -> bool:
    """Whether encrypted reasoning came from this account and model."""
    try:
        encoded = str(text).removeprefix("gAAAAAB")
        content = orjson.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        return bool(content["account"] == account_id and content["model"] == model)
    except (ValueError, KeyError, TypeError):
        return False
