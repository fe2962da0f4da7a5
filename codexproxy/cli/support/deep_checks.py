"""The checks of ``doctor --deep``: real turns through a running server, which cost a few tokens."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codexproxy.cli.support.checks import FAIL, OK, SKIPPED, WARN, Finding

if TYPE_CHECKING:
    import requests

# Seconds to connect, and of silence.
_TIMEOUT = (10.0, 120.0)

# A stream that arrives within this part of its whole time was held back somewhere.
HELD_BACK = 0.2

_TOOL = {
    "type": "function",
    "function": {
        "name": "report",
        "description": "Report the number.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        },
    },
}
_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Target:
    """The server that is asked.

    Attributes:
        base_url: Without ``/v1``.
        model: Which model.
        key: What it asks its callers for.
    """

    base_url: str
    model: str
    key: str | None = field(default=None, repr=False)

    def chat(self, stream: bool = False, **fields: Any) -> "requests.Response":
        """One chat completion."""
        return self.send("POST", "/v1/chat/completions", {"model": self.model, "stream": stream, **fields})

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **headers: str
    ) -> "requests.Response":
        """One request; the answer's body is not read yet."""
        import requests

        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return requests.request(method, self.base_url + path, json=body, headers=headers, timeout=_TIMEOUT, stream=True)


def say(text: str) -> list[dict[str, str]]:
    """One user message."""
    return [{"role": "user", "content": text}]


def small_chat(target: Target) -> Finding:
    """One tiny answer."""
    body, problem = _asked(target, messages=say("Answer with the word: ready"))
    if problem:
        return Finding("chat", FAIL, problem, "The message says what to do; the server's log knows more.")
    return Finding("chat", OK, f"{target.model} says {str(anywhere(body, 'content'))[:40]!r}")


def tool_call(target: Target) -> Finding:
    """One call of a function."""
    choice = {"type": "function", "function": {"name": "report"}}
    body, problem = _asked(target, messages=say("Report the number 7."), tools=[_TOOL], tool_choice=choice)
    if problem:
        return Finding("tool call", FAIL, problem, "Try another model.")
    arguments = anywhere(body, "arguments")
    if arguments is None:
        return Finding("tool call", WARN, "the model answered without calling", "Try another model.")
    return Finding("tool call", OK, f"report({str(arguments)[:40]})")


def json_answer(target: Target) -> Finding:
    """One answer in a given form."""
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": _SCHEMA}}
    body, problem = _asked(target, messages=say('Answer {"ok": true} as JSON.'), response_format=form)
    if problem:
        return Finding("JSON answer", FAIL, problem, "Try another model.")
    content = str(anywhere(body, "content"))
    try:
        json.loads(content)
    except ValueError:
        return Finding("JSON answer", WARN, f"no JSON: {content[:40]!r}", "Try another model.")
    return Finding("JSON answer", OK, content[:40])


def anywhere(value: Any, name: str) -> Any:
    """The first value that is kept under a name, however deep; None without one."""
    if isinstance(value, dict):
        if value.get(name) is not None:
            return value[name]
        value = list(value.values())
    if isinstance(value, list):
        return next((found for part in value if (found := anywhere(part, name)) is not None), None)
    return None


def cadence(target: Target, name: str) -> Finding:
    """Whether a stream arrives as it is spoken."""
    began = time.monotonic()
    with target.chat(stream=True, messages=say("Count from 1 to 60 in words, separated by commas.")) as answer:
        if answer.status_code != 200:
            return Finding(name, FAIL, _message(answer), "The message says what to do.")
        chunks = answer.iter_content(chunk_size=None)
        arrivals = [time.monotonic() - began for chunk in chunks if b'"content":' in chunk]
    return judge(name, arrivals)


def judge(name: str, arrivals: Sequence[float]) -> Finding:
    """What the moments at which words arrived mean.

    Args:
        name: The check's name.
        arrivals: Seconds since the request.
    """
    if not arrivals:
        return Finding(name, FAIL, "no words arrived", "Look into the server's log.")
    first, last = arrivals[0], arrivals[-1]
    text = f"{len(arrivals)} pieces, the first after {first:.2f} s, the last after {last:.2f} s"
    if len(arrivals) > 1 and (last - first) >= HELD_BACK * last:
        return Finding(name, OK, text)
    if last < 1.0:
        return Finding(name, SKIPPED, f"{text}: too quick to tell")
    return Finding(
        name, WARN, text, "Something on the way buffers the stream: turn its buffering off (see docs/deployment.md)."
    )


def cors(target: Target, origin: str) -> Finding:
    """Whether a web page of that origin may ask."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    with target.send("OPTIONS", "/v1/chat/completions", None, **headers) as answer:
        allowed = answer.headers.get("access-control-allow-origin")
    if allowed in ("*", origin):
        return Finding("CORS", OK, f"pages of {origin} may ask")
    return Finding("CORS", WARN, f"pages of {origin} may not ask", "If they should: CORS_ALLOW_ORIGINS.")


def _asked(target: Target, **fields: Any) -> tuple[dict[str, Any], str]:
    with target.chat(**fields) as answer:
        if answer.status_code != 200:
            return {}, _message(answer)
        return answer.json(), ""


def _message(answer: "requests.Response") -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}, and no error object"
