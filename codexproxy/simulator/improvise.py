"""What the simulated model says when no script is waiting. Pure.

Directives in the last user text let real clients run whole conversations:
``call:NAME {json}`` on a line of its own calls a tool, ``say:TEXT`` is answered
with that text, ``refuse:TEXT`` with a refusal.
"""

import re
from typing import Any

from codexproxy.protocol.events import encode_json
from codexproxy.simulator.events import Json
from codexproxy.simulator.instances import instance_of
from codexproxy.simulator.tool_checks import all_tools

CALLABLE = ("function", "custom")
OUTPUT_TYPES = ("function_call_output", "custom_tool_call_output")

_DIRECTIVE = re.compile(r"^[ \t]*(call|say|refuse):[ \t]*(.*)$", re.MULTILINE)


def improvise(body: Json) -> Json:
    """The script of a fitting answer to a request."""
    items = [item for item in body.get("input") or [] if isinstance(item, dict)]
    last = items[-1] if items else {}
    if last.get("type") == "compaction_trigger":
        return {"items": [{"type": "compaction"}]}
    said, pictures = _last_user_text(items)
    answered = last.get("type") in OUTPUT_TYPES
    answer = _wanted_calls(body, items, "" if answered else said)
    if not answer and answered:
        answer = _structured_or(f"The tool answered: {plain_text(last.get('output'))}", body)
    return {"items": [*_thoughts(body), *(answer or _spoken(body, items, said, pictures))]}


def _thoughts(body: Json) -> list[Json]:
    reasoning = body.get("reasoning") or {}
    if reasoning.get("effort") in (None, "none"):
        return []
    summary = ["**Reading the question**\n\nLooking for what is asked."] if reasoning.get("summary") else []
    return [{"type": "reasoning", "summary": summary}]


def _last_user_text(items: list[Json]) -> tuple[str, int]:
    for item in reversed(items):
        if item.get("role") == "user":
            content = item.get("content")
            parts = content if isinstance(content, list) else []
            pictures = sum(isinstance(part, dict) and part.get("type") == "input_image" for part in parts)
            return plain_text(content), pictures
    return "", 0


def plain_text(content: Any) -> str:
    """The text of a string or of a list of content parts."""
    if not isinstance(content, list):
        return str(content or "")
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _wanted_calls(body: Json, items: list[Json], said: str) -> list[Json]:
    choice = body.get("tool_choice") or "auto"
    if choice == "none":
        return []
    tools = [tool for tool in all_tools(body, items) if tool.get("type") in CALLABLE]
    calls = _calls(tools, said) or _forced(tools, choice)
    return calls if body.get("parallel_tool_calls", True) else calls[:1]


def _forced(tools: list[Json], choice: Any) -> list[Json]:
    if choice == "auto" or (isinstance(choice, dict) and choice.get("mode") == "auto"):
        return []
    name = choice.get("name") if isinstance(choice, dict) else None
    return [_call(tool, "") for tool in tools if name in (None, tool.get("name"))][:1]


def _spoken(body: Json, items: list[Json], said: str, pictures: int) -> list[Json]:
    for kind, text in _DIRECTIVE.findall(said):
        if kind != "call":
            return [{"type": "refusal" if kind == "refuse" else "message", "text": text}]
    searchers = [tool for tool in all_tools(body, items) if str(tool.get("type")).startswith("web_search")]
    if searchers and "search" in said.lower():
        return _searched(said)
    return _structured_or(_echo(said, pictures), body)


def _calls(tools: list[Json], said: str) -> list[Json]:
    by_name = {str(tool.get("name")): tool for tool in tools}
    calls = []
    for kind, rest in _DIRECTIVE.findall(said):
        name, _, arguments = rest.strip().partition(" ")
        if kind == "call" and name in by_name:
            calls.append(_call(by_name[name], arguments.strip()))
    return calls


def _call(tool: Json, given: str) -> Json:
    if tool["type"] == "custom":
        return {"type": "custom_tool_call", "name": tool["name"], "input": given or "simulated"}
    arguments = given or encode_json(instance_of(tool.get("parameters") or {"type": "object"})).decode()
    return {"type": "function_call", "name": tool["name"], "arguments": arguments}


def _searched(said: str) -> list[Json]:
    text = "The simulator searched and found one page. (example.com)"
    place = {"start_index": 43, "end_index": 56}
    citation = {"type": "url_citation", **place, "title": "Example", "url": "https://example.com/"}
    return [
        {"type": "web_search_call", "query": said[:80]},
        {"type": "message", "text": text, "annotations": [citation]},
    ]


def _structured_or(text: str, body: Json) -> list[Json]:
    settings = body.get("text") or {}
    format = settings.get("format") or {}
    if format.get("type") == "json_schema":
        text = encode_json(instance_of(format.get("schema") or {})).decode()
    elif format.get("type") == "json_object":
        text = encode_json({"answer": text}).decode()
    return [{"type": "message", "text": text, "phase": "final_answer"}]


def _echo(said: str, pictures: int) -> str:
    quoted = said.strip().replace("\n", " ")
    if len(quoted) > 200:
        quoted = quoted[:200] + "…"
    seen = f" and looked at {pictures} picture{'s' * (pictures > 1)}" if pictures else ""
    if not quoted:
        return f"Hello! I am the simulated model{seen}; ask me something and I will repeat it."
    return f"Hello! I am the simulated model. I heard “{quoted}”{seen}, and every word of this answer was streamed."
