"""Short ways to write scripts. Each returns a plain script (see ``scripts``); keywords are merged in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def say(*deltas: str, **more: Any) -> Json:
    """A text answer in exactly these deltas."""
    return {"items": [{"type": "message", "deltas": list(deltas)}], **more}


def answer(*items: Json, **more: Any) -> Json:
    """An answer of several items (``message``, ``call``, ``custom_call``, ``think``, …)."""
    return {"items": list(items), **more}


def message(*deltas: str, **more: Any) -> Json:
    """A message item; ``phase``, ``annotations``, ``repeat`` and ``stamp`` are understood."""
    return {"type": "message", "deltas": list(deltas), **more}


def refusal(text: str) -> Json:
    """A refusal item."""
    return {"type": "refusal", "text": text}


def think(*summaries: str, **more: Any) -> Json:
    """A reasoning item with these summary parts; ``text`` adds raw reasoning."""
    return {"type": "reasoning", "summary": list(summaries), **more}


def call(name: str, arguments: Json | str = "{}", fragments: Sequence[str] | None = None, **more: Any) -> Json:
    """A function call item; ``interleave=True`` mixes its fragments with those of its neighbours."""
    cut = {"fragments": list(fragments)} if fragments is not None else {}
    return {"type": "function_call", "name": name, "arguments": arguments, **cut, **more}


def custom_call(name: str, input: str, **more: Any) -> Json:
    """A custom tool call item."""
    return {"type": "custom_tool_call", "name": name, "input": input, **more}


def web_search(query: str) -> Json:
    """A hosted web search item."""
    return {"type": "web_search_call", "query": query}


def fail(code: str, message: str = "It failed.", *items: Json, **more: Any) -> Json:
    """An answer that ends in ``response.failed``, after the items."""
    return {"items": list(items), "end": "failed", "error": {"code": code, "message": message}, **more}


def error_event(code: str, message: str = "It failed.", *items: Json, flat: bool = False, **more: Any) -> Json:
    """An answer that ends in a bare ``error`` event, after the items."""
    ending = {"end": "error", "error": {"code": code, "message": message}}
    return {"items": list(items), **ending, "rules": {"flat_error": flat}, **more}


def incomplete(*deltas: str, reason: str = "max_output_tokens", **more: Any) -> Json:
    """A text answer that was cut short by the model's limits."""
    return say(*deltas, end="incomplete", reason=reason, **more)


def cut_after(script: Json, how: str = "clean", **place: Any) -> Json:
    """The script, cut at a place (``event=``, ``byte=``, ``inside_event=``, ``at=``).

    Args:
        script: What is cut.
        how: clean, close, reset, truncated_chunk, bad_chunk or half_close.
        place: One of the places of ``scripts``.
    """
    return {**script, "cut": {"how": how, **place}}


def stall_at(script: Json, ms: float | None = None, gate: str | None = None, **place: Any) -> Json:
    """The script, silent at a place for some milliseconds, until a gate opens, or for ever."""
    return {**script, "stalls": [*script.get("stalls", []), {"ms": ms, "gate": gate, **place}]}


def replay(path: str | Path, **more: Any) -> Json:
    """A recorded stream, byte for byte."""
    return {"raw_file": str(path), **more}


def http(status: int, json: Any = None, **more: Any) -> Json:
    """A plain HTTP answer; ``html``, ``body``, ``headers`` and ``delay_ms`` are understood."""
    body = {} if json is None else {"json": json}
    return {"status": status, **body, **more}


def flood(deltas: int, pace_ms: float = 0, text: str = " word", stamp: bool = False, **more: Any) -> Json:
    """Many deltas, flat out or paced; stamped ones hold the monotonic clock in nanoseconds at sending."""
    spec = {"type": "message", "stamp": True} if stamp else {"type": "message", "deltas": [text]}
    return {"items": [{**spec, "repeat": deltas}], "pace_ms": pace_ms, **more}
