"""What the CLI says about its models, in the form of upstream's ModelInfo. Pure.

See docs/reference/models.md#the-catalogue and docs/reference/codex-cli.md#asking-for-its-models.
"""

import re
from collections.abc import Callable
from typing import Any

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import decode_object
from codexproxy.protocol.numbers import MOST, whole

Json = dict[str, Any]
Models = list[Json]

_SLUG = re.compile(r"[A-Za-z][\w.:/-]*", re.ASCII)


def from_catalogue(output: bytes) -> Models:
    """``codex debug models``: the catalogue itself, ``{"models": [ModelInfo]}``."""
    return _sound(_first_object(output).get("models"))


def from_listing(output: bytes) -> Models:
    """``codex models list`` of older versions: JSON, or a table whose first column holds the names."""
    found = _first_object(output)
    rows = found.get("models") or found.get("data")
    if rows:
        return _sound(rows)
    words = [line.split()[0].strip("*-│|") for line in output.decode("utf-8", "replace").splitlines() if line.split()]
    return [{"slug": word} for word in words if _SLUG.fullmatch(word) and any(map(str.isdigit, word))]


def from_app_server(result: Json) -> Models:
    """``model/list`` of the app-server."""
    rows = result.get("data")
    rows = rows if isinstance(rows, list) else []
    return [_translated(row) for row in rows if isinstance(row, dict) and row.get("model")]


def _translated(row: Json) -> Json:
    efforts = row.get("supportedReasoningEfforts") or []
    info = {
        "slug": row["model"],
        "display_name": row.get("displayName"),
        "description": row.get("description"),
        "visibility": "hide" if row.get("hidden") else "list",
        "default_reasoning_level": row.get("defaultReasoningEffort"),
        "supported_reasoning_levels": [
            {"effort": effort.get("reasoningEffort"), "description": effort.get("description")}
            for effort in efforts
            if isinstance(effort, dict)
        ],
        "service_tiers": row.get("serviceTiers"),
        "input_modalities": row.get("inputModalities"),
    }
    return {key: value for key, value in info.items() if value is not None}


def _first_object(output: bytes) -> Json:
    # Warnings may stand before it.
    start = output.find(b"{")
    try:
        return decode_object(output[start:]) if start >= 0 else {}
    except UpstreamFailed:
        return {}


def _sound(rows: Any) -> Models:
    rows = rows if isinstance(rows, list) else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("slug"), str) and row["slug"]]


# The ways to ask the command line, newest first (docs/reference/codex-cli.md#asking-for-its-models).
COMMANDS: tuple[tuple[list[str], Callable[[bytes], Models]], ...] = (
    (["debug", "models"], from_catalogue),
    (["models", "list"], from_listing),
)


def quota_of(result: Json) -> Json:
    """``account/rateLimits/read`` in the form of upstream's usage (docs/reference/quota.md#the-usage-report)."""
    limits = result.get("rateLimits")
    limits = limits if isinstance(limits, dict) else {}
    windows = {f"{name}_window": _window(limits.get(name)) for name in ("primary", "secondary")}
    reached = limits.get("rateLimitReachedType")
    return {
        "plan_type": limits.get("planType"),
        "rate_limit": {"allowed": reached is None, "limit_reached": reached is not None, **windows},
        "rate_limit_reached_type": reached,
    }


def _window(window: Any) -> Json | None:
    if not isinstance(window, dict):
        return None
    minutes = window.get("windowDurationMins")
    return {
        "used_percent": window.get("usedPercent"),
        "limit_window_seconds": whole(minutes, MOST // 60) * 60 or None,
        "reset_at": window.get("resetsAt"),
    }
