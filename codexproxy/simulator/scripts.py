"""Scripts: what the next answers shall be, checked when they are queued.

A script is a JSON object. One of three kinds, told by its keys:

* ``status``: a plain HTTP answer: ``headers``, and ``json``, ``html`` or ``body`` (text).
* ``raw_file``, ``raw_base64`` or ``raw_text``: a recorded body, sent as it is.
* else an answer: ``items`` (see ``items.RENDERERS``) or the short form ``text``, and ``end``
  (completed, incomplete, failed, error, error_then_failed, none).

All kinds know ``delay_ms`` (before the head), ``head_pace_ms`` (between its bytes), ``pace_ms``
(between deltas), ``chunking`` (``frame``, ``whole``, ``byte``, or bytes per chunk), ``stalls``, ``cut`` and ``rules``.
A place, for a stall or the cut, is ``{"event": n}``, ``{"byte": n}``, ``{"inside_event": n}``,
``{"inside_chunk": n}``, ``{"inside_utf8": true}`` or ``{"at": "head" | "inside_head" |
"first_event" | "end"}``; negative numbers count from the end.

A script is used up by the request it answers. A turn that is refused leaves it waiting,
unless the script itself switches rules or is a plain HTTP answer, which any request takes.
"""

import re
from base64 import b64decode
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codexproxy.simulator.delivery import CUTS, BadScript, Mark
from codexproxy.simulator.events import EventLog, Ids, Json
from codexproxy.simulator.http import Request
from codexproxy.simulator.items import RENDERERS, Stage, render_items
from codexproxy.simulator.rules import checked

ENDS = ("completed", "incomplete", "failed", "error", "error_then_failed", "none")
RAW_KEYS = ("raw_file", "raw_base64", "raw_text")

KEYS = frozenset(
    [
        "status",
        "headers",
        "json",
        "html",
        "body",
        "text",
        "items",
        "end",
        "error",
        "reason",
        "usage",
        "response",
        "response_id",
        "omit_events",
        "pace_ms",
        "chunking",
        "delay_ms",
        "head_pace_ms",
        "stalls",
        "cut",
        "rules",
        "raw_file",
        "raw_base64",
        "raw_text",
        "raw_frames",
    ]
)
PLACES = ("event", "byte", "inside_event", "inside_chunk", "inside_utf8", "at")
NAMED_PLACES = ("head", "inside_head", "first_event", "end")


def checked_script(given: Any) -> Json:
    """A script in its long form.

    Raises:
        BadScript: It has unknown keys, items, ends or places.
    """
    if not isinstance(given, dict):
        raise BadScript("a script is an object")
    _refuse_unknown("script key", given, KEYS)
    script: Json = {**given}
    if "text" in script:
        script["items"] = [{"type": "message", "text": script.pop("text")}, *script.get("items", [])]
    _refuse_unknown("item type", [item.get("type") for item in script.get("items") or []], RENDERERS)
    _refuse_unknown("end", [script.get("end", "completed")], ENDS)
    for place in [*(script.get("stalls") or []), script.get("cut") or {"byte": 0, "how": "clean"}]:
        _check_place(place)
    for name in script.get("rules") or {}:
        checked(name)
    _rehearse(script)
    return script


def _rehearse(script: Json) -> None:
    """Tries what would else fail only when the script is needed."""
    try:
        raw_body(script)
        render_items(list(script.get("items") or []), Stage(EventLog(), Ids(), "", "", encrypted=True))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadScript(f"the script cannot be played: {type(error).__name__}: {error}") from error


def _refuse_unknown(what: str, names: Any, known: Any) -> None:
    for name in names:
        if name not in known:
            raise BadScript(f"unknown {what} {name!r}; known are {', '.join(sorted(map(str, known)))}")


def _check_place(place: Json) -> None:
    if not any(key in place for key in PLACES):
        raise BadScript(f"{place!r} names no place; places are {', '.join(PLACES)}")
    _refuse_unknown("place", [place.get("at", "end")], NAMED_PLACES)
    _refuse_unknown("cut", [place.get("how", "clean")], CUTS)


def raw_body(script: Json) -> bytes | None:
    """The recorded body of a raw script; None for other kinds."""
    if "raw_file" in script:
        return Path(script["raw_file"]).read_bytes()
    if "raw_base64" in script:
        return b64decode(script["raw_base64"])
    return str(script["raw_text"]).encode() if "raw_text" in script else None


def split_frames(body: bytes) -> list[bytes]:
    """A recorded body cut after each blank line; what follows the last one is a piece too."""
    return [piece for piece in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)|(?<=\r\r)", body) if piece]


def marks_of(script: Json, frames: list[bytes]) -> list[Mark]:
    """Where in the body the script's stalls and its cut lie; those before the body are left out."""
    marks = [
        Mark(_offset(stall, frames), stall=stall, inside_chunk="inside_chunk" in stall)
        for stall in script.get("stalls") or []
        if not in_head(stall)
    ]
    cut = script.get("cut")
    if cut and not in_head(cut):
        marks.append(Mark(_offset(cut, frames), cut=cut.get("how", "clean")))
    return marks


def in_head(place: Json) -> bool:
    """Whether a place lies before the body."""
    return place.get("at") in ("head", "inside_head")


def _offset(place: Json, frames: list[bytes]) -> int:
    total = sum(map(len, frames))
    if "byte" in place:
        return place["byte"] if place["byte"] >= 0 else total + int(place["byte"])
    if "at" in place:
        return 0 if place["at"] == "first_event" else total
    if "inside_utf8" in place:
        return _inside_utf8(b"".join(frames))
    number = next(int(place[key]) for key in ("event", "inside_event", "inside_chunk") if key in place)
    number = number if number >= 0 else len(frames) + number
    start = sum(map(len, frames[:number]))
    middle = "event" not in place and number < len(frames)
    return start + len(frames[number]) // 2 if middle else start


def _inside_utf8(body: bytes) -> int:
    position = next((index for index, byte in enumerate(body) if byte >= 0xC0), None)
    if position is None:
        raise BadScript("inside_utf8, but the body is plain ASCII")
    return position + 1


@dataclass(slots=True, eq=False)
class Queued:
    """A waiting script; ``left`` uses remain, for ever when negative."""

    script: Json
    match: str | None = None
    left: int = 1


@dataclass(slots=True)
class ScriptQueue:
    """Waiting scripts per endpoint name."""

    waiting: dict[str, deque[Queued]] = field(default_factory=dict)

    def push(self, endpoint: str, scripts: list[Any], match: str | None = None, repeat: int = 1) -> None:
        """Queues scripts behind those that wait.

        Raises:
            BadScript: One of them is unusable; none is queued then.
            UnknownRule: One of them switches a rule that does not exist.
        """
        items = [Queued(checked_script(script), match, repeat) for script in scripts]
        self.waiting.setdefault(endpoint, deque()).extend(items)

    def find(self, endpoint: str, request: Request) -> Queued | None:
        """The first waiting script that fits the request; it goes on waiting until it is used."""
        waiting = self.waiting.get(endpoint, ())
        return next((item for item in waiting if item.match is None or request.contains(item.match)), None)

    def use(self, endpoint: str, item: Queued) -> Json:
        """Uses a waiting script once."""
        item.left -= 1
        if item.left == 0:
            self.waiting[endpoint].remove(item)
        return item.script

    def take(self, endpoint: str, request: Request) -> Json | None:
        """Uses the first waiting script that fits the request."""
        item = self.find(endpoint, request)
        return None if item is None else self.use(endpoint, item)

    def lengths(self) -> dict[str, int]:
        """How many scripts wait, per endpoint."""
        return {endpoint: len(items) for endpoint, items in self.waiting.items() if items}
