"""What upstream refused, and the one change after which it takes the turn.

See docs/reference/clients.md#refused-instructions, docs/reference/clients.md#unsupported-parameters and
docs/reference/clients.md#tool-calls-lost-or-doubled.

A refusal is read once, turned into a fix, and the turn is sent again with
exactly that change. ``request_fixer.py`` decides which fixes are worth
remembering, and for which turns.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS, developer_message
from codexproxy.planning.model_catalog import EFFORTS, ModelSpec
from codexproxy.protocol.request import Body, Turn

_UNSUPPORTED = re.compile(r"^Unsupported parameter: '?([\w.\[\]-]+)'?")
_NOT_VALID = re.compile(r"Instructions are not valid", re.IGNORECASE)
_REQUIRED = re.compile(r"Instructions are required", re.IGNORECASE)
_ORPHAN = re.compile(r"No tool (?:output|call) found for .*?call(?: output with call_id)? ([\w.:-]+?)\.?$")
_SUPPORTED = re.compile(r"[Ss]upported values are:? (.*)")
_WORD = re.compile(r"[a-z]+")

# Parts of a body that an answer can do without when upstream refuses their value.
_DISPENSABLE = ("text.verbosity", "service_tier", "reasoning.summary", "parallel_tool_calls", "client_metadata")


@dataclass(frozen=True, slots=True)
class RequestFix:
    """One change to a turn.

    Attributes:
        action: Which change, a key of ``_ACTIONS``.
        detail: What it is about: a path, efforts parted by commas, a call id.
        is_permanent: Whether upstream may refuse the next turn of this kind for the same reason;
            a refused value and a broken conversation are one caller's alone.
    """

    action: str
    detail: str = ""
    is_permanent: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        return f"{self.action}:{self.detail}" if self.detail else self.action


def fix_for(error: ProxyError) -> RequestFix | None:
    """The fix that a refusal asks for, None when it names nothing that could be changed."""
    if error.status not in (400, 404, 422):
        return None
    return next(filter(None, (read(error) for read in _READERS)), None)


def _read_unsupported(error: ProxyError) -> RequestFix | None:
    found = _UNSUPPORTED.match(error.message)
    return RequestFix("drop", found[1]) if found else None


def _read_instructions(error: ProxyError) -> RequestFix | None:
    if _NOT_VALID.search(error.message):
        return RequestFix("official_instructions")
    return RequestFix("neutral_instructions") if _REQUIRED.search(error.message) else None


def _read_effort(error: ProxyError) -> RequestFix | None:
    listed = _SUPPORTED.search(error.message)
    if error.param != "reasoning.effort" or listed is None:
        return None
    efforts = [word for word in _WORD.findall(listed[1]) if word in EFFORTS]
    return RequestFix("effort", ",".join(efforts), is_permanent=False) if efforts else None


def _read_value(error: ProxyError) -> RequestFix | None:
    return RequestFix("drop", error.param, is_permanent=False) if error.param in _DISPENSABLE else None


def _read_orphan(error: ProxyError) -> RequestFix | None:
    found = _ORPHAN.search(error.message)
    return RequestFix("orphan", found[1], is_permanent=False) if found else None


_READERS = (_read_unsupported, _read_instructions, _read_effort, _read_value, _read_orphan)


def apply_fix(turn: Turn, fix: RequestFix, official: Callable[[str], str]) -> Turn | None:
    """The changed turn, None when the fix would change nothing.

    Args:
        turn: A planned turn.
        fix: What to change.
        official: A model's slug -> its official instructions, the best there are.
    """
    body = _ACTIONS[fix.action](turn.body, fix.detail, official)
    if body is None or body == turn.body:
        return None
    return replace(turn, body=body).with_notes(adapted=(f"healed:{fix}",))


# Without these no turn can be sent at all.
_ESSENTIAL = frozenset({"model", "input", "stream", "store"})


def _drop(body: Body, path: str, official: Callable[[str], str]) -> Body | None:
    first, _, rest = path.partition(".")
    if first in _ESSENTIAL:
        return None
    if first not in body:
        # Hints such as ``prompt_cache_breakpoint`` sit deep in the input, where upstream names no path.
        return {**body, "input": _stripped(body["input"], path)}
    inner = body[first]
    kept = {key: value for key, value in inner.items() if key != rest} if rest and isinstance(inner, dict) else {}
    if kept:
        return {**body, first: kept}
    return {key: value for key, value in body.items() if key != first}


def _stripped(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _stripped(inner, key) for name, inner in value.items() if name != key}
    return [_stripped(inner, key) for inner in value] if isinstance(value, list) else value


def _official(body: Body, detail: str, official: Callable[[str], str]) -> Body:
    text = official(body["model"])
    own = body.get("instructions") or ""
    if own in (text, NEUTRAL_INSTRUCTIONS, ""):
        return {**body, "instructions": text}
    return {**body, "instructions": text, "input": [developer_message(own), *body["input"]]}


def _neutral(body: Body, detail: str, official: Callable[[str], str]) -> Body | None:
    return None if body.get("instructions") else {**body, "instructions": NEUTRAL_INSTRUCTIONS}


def _effort(body: Body, detail: str, official: Callable[[str], str]) -> Body:
    spec = ModelSpec(body["model"], efforts=tuple(detail.split(",")))
    reasoning = body.get("reasoning") or {}
    return {**body, "reasoning": {**reasoning, "effort": spec.nearest_effort(str(reasoning.get("effort")))}}


def _orphan(body: Body, call_id: str, official: Callable[[str], str]) -> Body:
    items = body["input"]
    kept = [item for item in items if not (isinstance(item, dict) and item.get("call_id") == call_id)]
    return {**body, "input": kept}


_ACTIONS: dict[str, Callable[[Body, str, Callable[[str], str]], Body | None]] = {
    "drop": _drop,
    "official_instructions": _official,
    "neutral_instructions": _neutral,
    "effort": _effort,
    "orphan": _orphan,
}
