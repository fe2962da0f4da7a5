"""A dry run as text for people."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]


def lines(path: str, told: Json) -> Iterator[str]:
    """The answer to a dry run, one line after the other.

    Args:
        path: The request's route.
        told: The answer.
    """
    sent = told.get("upstream") or []
    body = _body(sent[0]) if sent else {}
    yield from _facts(path, told, body)
    for number, turn in enumerate(sent, 1):
        yield ""
        yield _heading(turn, number, len(sent))
        yield from (f"  {name}: {value}" for name, value in (turn.get("headers") or {}).items())
        yield from _indented({key: value for key, value in turn.items() if key not in ("backend", "url", "headers")})


def _facts(path: str, told: Json, body: Json) -> Iterator[str]:
    asked, used = told.get("model"), body.get("model")
    reasoning = body.get("reasoning") or {}
    yield f"Route     {path}"
    yield f"Model     {asked} -> {used}" if used and used != asked else f"Model     {asked}"
    yield f"Effort    {reasoning.get('effort') or 'the backend decides'}"
    yield from _listed("Ignored", told.get("ignored"))
    yield from _listed("Adapted", told.get("adapted"))
    emulated = told.get("emulated") or {}
    yield from _listed("Emulated", [f"{name} {_short(value)}" for name, value in emulated.items()])


def _listed(name: str, entries: Any) -> Iterator[str]:
    for entry in entries or ["nothing"]:
        yield f"{name:<9} {entry}"
        name = ""


def _heading(turn: Json, number: int, count: int) -> str:
    who = turn.get("backend") or "no provider of this key's group"
    where = f" at {turn['url']}" if turn.get("url") else ""
    which = f" (turn {number} of {count})" if count > 1 else ""
    return f"To {who}{where}{which}:"


def _body(turn: Json) -> Json:
    body = turn.get("body")
    return body if isinstance(body, dict) else {}


def _indented(shown: Json) -> Iterator[str]:
    # A backend that sends a body has nothing else to show.
    value = shown["body"] if shown.keys() == {"body"} else shown
    yield from ("  " + line for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n"))


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
