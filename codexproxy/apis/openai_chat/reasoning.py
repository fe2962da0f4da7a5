"""What the caller says about reasoning, in any of the ways clients say it."""

from typing import Any

from codexproxy.apis.openai_chat.options import REASONING_STYLES
from codexproxy.apis.validation_errors import wrong_type, wrong_value

Json = dict[str, Any]

_STYLE_ALIASES = {"think-tags": "think", "think_tags": "think", "think": "think", "off": "none", "hidden": "none"}

# A thinking budget in tokens -> the effort it stands for.
_BUDGETS = ((1024, "low"), (8192, "medium"))
_FIELDS = ("effort", "summary", "generate_summary", "context", "mode")


def read_reasoning(fields: Json) -> Json:
    """``reasoning`` of the Responses API, with nothing in it that the caller did not ask for.

    Raises:
        InvalidRequest: A field has the wrong type.
    """
    given = fields.get("reasoning")
    if given is not None and not isinstance(given, dict):
        raise wrong_type("reasoning", "an object", given)
    given = given or {}
    asked = {key: given[key] for key in _FIELDS if given.get(key) is not None}
    for key, value in asked.items():
        if not isinstance(value, str):
            raise wrong_type(f"reasoning.{key}", "a string", value)
    effort = _effort(fields, given)
    if effort:
        asked["effort"] = effort
    if fields.get("reasoning_summary"):
        asked["summary"] = fields["reasoning_summary"]
    return asked


def _effort(fields: Json, given: Json) -> str | None:
    explicit = fields.get("reasoning_effort") or given.get("effort")
    if explicit:
        return str(explicit)
    if given.get("enabled") is False or fields.get("enable_thinking") is False:
        return "none"
    return _of_budget(given.get("max_tokens")) or _of_thinking(fields.get("thinking"))


def _of_thinking(thinking: Any) -> str | None:
    if thinking is False:
        return "none"
    if not isinstance(thinking, dict):
        return None
    return "none" if thinking.get("type") == "disabled" else _of_budget(thinking.get("budget_tokens"))


def _of_budget(budget: Any) -> str | None:
    if not isinstance(budget, int | float) or isinstance(budget, bool) or budget <= 0:
        return None
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")


def read_style(fields: Json, default: str) -> str:
    """How reasoning is shown: the request's wish, else the owner's.

    Raises:
        InvalidRequest: The style is unknown.
    """
    given = fields.get("reasoning")
    if fields.get("include_reasoning") is False or (isinstance(given, dict) and given.get("exclude") is True):
        return "none"
    style = str(fields.get("reasoning_compat") or default).lower()
    style = _STYLE_ALIASES.get(style, style)
    if style not in REASONING_STYLES:
        raise wrong_value("reasoning_compat", style, REASONING_STYLES)
    return style
