"""A turn made ready to send: the body is built from an allow-list, step by step.

Each step is a function from turn to turn. What a step drops or changes it
notes, so that the caller is told (``x-codexproxy-ignored``, ``-adapted``).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from codexproxy.errors import InvalidRequest, ModelNotFound
from codexproxy.turns.cache_key import settle_cache_key
from codexproxy.turns.catalogue import EFFORTS, LOCAL_PREFIX, Catalogue, Wanted
from codexproxy.turns.instructions import settle_instructions
from codexproxy.turns.lite import lite_shape
from codexproxy.turns.policy import AS_SENT, Policy, Setting
from codexproxy.turns.repair import repair
from codexproxy.turns.turn import Body, Turn

# The keys the real client sends, and no others (UPSTREAM.md §3.2); anything else is a 400 upstream.
ALLOWED = (
    "model",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "service_tier",
    "include",
    "prompt_cache_key",
    "client_metadata",
)
ENCRYPTED_REASONING = "reasoning.encrypted_content"


def plan(turn: Turn, catalogue: Catalogue, policy: Policy) -> Turn:
    """The turn with the body that is sent upstream.

    Raises:
        InvalidRequest: No model was named and there is no default.
        ModelNotFound: The name is unknown and ``strict`` is set.
    """
    name = turn.model or _default_model(catalogue, policy)
    meant = catalogue.aliases.get(name, name)
    setting = Setting(policy, catalogue, _wanted(meant.removeprefix(LOCAL_PREFIX), catalogue, policy.strict))
    turn = replace(turn, model=name)
    if meant.startswith(LOCAL_PREFIX):
        turn = replace(turn, options={**turn.options, "local": True})
    for step in STEPS:
        turn = step(turn, setting)
    return turn


def _default_model(catalogue: Catalogue, policy: Policy) -> str:
    name = policy.default_model
    if not name:
        raise InvalidRequest(
            "The request names no model. Please set `model`, or CODEX_MODEL for a default.",
            code="missing_required_parameter",
            param="model",
        )
    known = catalogue.find(name.removeprefix(LOCAL_PREFIX))
    if catalogue.is_live and known is None and catalogue.models:
        return catalogue.models[0].slug
    return name


def _wanted(name: str, catalogue: Catalogue, strict: bool) -> Wanted:
    wanted = catalogue.find(name)
    if strict and (wanted is None or not catalogue.offers(wanted.slug)):
        raise ModelNotFound(f"The model `{name}` does not exist here.{usable(catalogue)}", param="model")
    return wanted or Wanted(catalogue.aliases.get(name, name))


def usable(catalogue: Catalogue, besides: str = "") -> str:
    """The sentence that ends the refusal of a model: which names there are, but for the one that was refused."""
    names = [spec.slug for spec in catalogue.models if spec.slug != besides]
    return f" Usable models: {', '.join(names)}." if names else ""


def settle_model(turn: Turn, setting: Setting) -> Turn:
    """The upstream's name for the model; a tier in the name is a tier of the request."""
    body = {**turn.body, "model": setting.wanted.slug}
    if setting.wanted.tier and not body.get("service_tier"):
        body["service_tier"] = setting.wanted.tier
    return replace(turn, body=body)


def settle_input(turn: Turn, setting: Setting) -> Turn:
    """A list of items that upstream takes: no system role, no orphans, no foreign ids."""
    items = turn.body.get("input")
    if not isinstance(items, list):
        text = {"type": "input_text", "text": items if isinstance(items, str) else ""}
        items = [{"type": "message", "role": "user", "content": [text]}]
    items, notes = repair([_developer(item) for item in items])
    return replace(turn, body={**turn.body, "input": items}).with_notes(adapted=tuple(notes))


def _developer(item: Any) -> Any:
    # "System messages are not allowed" (UPSTREAM.md §3.6); developer is the same place.
    if isinstance(item, dict) and item.get("role") == "system":
        return {**item, "role": "developer"}
    return item


def settle_reasoning(turn: Turn, setting: Setting) -> Turn:
    """Effort and summary; an effort the model lacks becomes the nearest it has."""
    given = turn.body.get("reasoning")
    reasoning = {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else {}
    if turn.options.get(AS_SENT) and not reasoning:
        return turn
    spec, policy = setting.wanted.spec, setting.policy
    own = spec.default_effort if spec else None
    effort = str(reasoning.get("effort") or setting.wanted.effort or policy.effort or own or "medium").lower()
    used = spec.nearest_effort(effort) if spec else effort
    if effort not in EFFORTS and effort != used:
        turn = turn.with_notes(adapted=(f"reasoning.effort:{used}",))
    elif effort != used:
        turn = turn.with_notes(adapted=(f"reasoning.effort:{effort}->{used}",))
    reasoning["effort"] = used
    unasked = "none" if turn.options.get(AS_SENT) else policy.summary
    summary = reasoning.get("summary") or reasoning.pop("generate_summary", None) or unasked
    reasoning.pop("generate_summary", None)
    reasoning["summary"] = summary
    if summary == "none":
        del reasoning["summary"]
    return replace(turn, body={**turn.body, "reasoning": reasoning})


def settle_text(turn: Turn, setting: Setting) -> Turn:
    """Verbosity where the model has it."""
    given = turn.body.get("text")
    text = {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else {}
    spec = setting.wanted.spec
    if spec is not None and not spec.verbosity:
        if text.pop("verbosity", None):
            turn = turn.with_notes(ignored=("verbosity",))
    elif spec is not None and not turn.options.get(AS_SENT):
        text.setdefault("verbosity", setting.policy.verbosity)
    body = {**turn.body, "text": text}
    if not text:
        del body["text"]
    return replace(turn, body=body)


# ``auto`` is refused upstream and ``default`` is what a turn gets anyway (UPSTREAM.md §3.3).
_TIERS = {"fast": "priority", "auto": None, "default": None, "": None, None: None}


def settle_tier(turn: Turn, setting: Setting) -> Turn:
    """A service tier that upstream knows, or none."""
    asked = turn.body.get("service_tier")
    tier = _TIERS.get(asked, asked) if isinstance(asked, str | None) else None
    body = {key: value for key, value in turn.body.items() if key != "service_tier"}
    offered = setting.wanted.spec.tiers if setting.wanted.spec else ("priority",)
    if tier in offered:
        return replace(turn, body={**body, "service_tier": tier})
    return replace(turn, body=body).with_notes(ignored=("service_tier",) if tier else ())


def settle_tools(turn: Turn, setting: Setting) -> Turn:
    """No empty tool list, and a choice wherever there are tools."""
    if turn.options.get(AS_SENT):
        return turn
    body = dict(turn.body)
    if not body.get("tools"):
        for key in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(key, None)
    elif body.get("tool_choice") is None:
        body["tool_choice"] = "auto"
    return replace(turn, body=body)


def settle_include(turn: Turn, setting: Setting) -> Turn:
    """Encrypted reasoning is always asked for, so that the next turn can hand it back."""
    given = turn.body.get("include")
    include = [entry for entry in given if isinstance(entry, str)] if isinstance(given, list) else []
    if ENCRYPTED_REASONING not in include:
        include.append(ENCRYPTED_REASONING)
    return replace(turn, body={**turn.body, "include": include})


def settle_shape(turn: Turn, setting: Setting) -> Turn:
    """Classic or lite, as the catalogue says (UPSTREAM.md §3.4)."""
    spec = setting.wanted.spec
    return lite_shape(turn, wanted=bool(spec and spec.lite))


# Fields that dialects turn into something else, so that dropping them is no news.
_SETTLED = frozenset(
    {"model", "store", "stream", "max_output_tokens", "background", "previous_response_id", "metadata"}
)


def settle_keys(turn: Turn, setting: Setting) -> Turn:
    """Only what upstream takes leaves the house."""
    body: Body = {key: turn.body[key] for key in ALLOWED if turn.body.get(key) is not None}
    left_out = tuple(
        key for key, value in turn.body.items() if key not in ALLOWED and key not in _SETTLED and value is not None
    )
    return replace(turn, body={**body, "store": False, "stream": True}).with_notes(ignored=left_out)


STEPS: tuple[Callable[[Turn, Setting], Turn], ...] = (
    settle_model,
    settle_input,
    settle_instructions,
    settle_reasoning,
    settle_text,
    settle_tier,
    settle_tools,
    settle_include,
    settle_cache_key,
    settle_shape,
    settle_keys,
)
