"""A turn made ready to send: the body is built from an allow-list, step by step.

Each step is a function from turn to turn. What a step drops or changes it
notes, so that the caller is told (``x-codexproxy-ignored``, ``-adapted``).
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from codexproxy.errors import InvalidRequest, ModelNotFound
from codexproxy.turns.catalogue import EFFORTS, Catalogue, Wanted
from codexproxy.turns.events import encode_json
from codexproxy.turns.lite import lite_shape
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

# Sent where the caller's own words stand in the input already, since an empty
# string has been refused at times (UPSTREAM.md §3.2).
NEUTRAL_INSTRUCTIONS = "Follow the instructions of the developer messages."

_CACHE_NAMESPACE = uuid.UUID("5c0de390-9b1d-4c44-8a6e-2f5b6f0a7c11")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner decided for all turns.

    Attributes:
        mode: ``auto``, ``true`` or ``false`` (CONTRACT.md, ``codex.mode``).
        effort: Effort when the caller names none; the model's own when None.
        verbosity: Verbosity when the caller names none.
        summary: Reasoning summary when the caller names none; ``none`` asks for none.
        default_model: Model of a request that names none.
        strict: Whether names outside the catalogue are refused here.
        prompts: A model's slug -> its family's instructions.
    """

    mode: str = "auto"
    effort: str | None = None
    verbosity: str = "medium"
    summary: str = "auto"
    default_model: str | None = None
    strict: bool = False
    prompts: Callable[[str], str] = field(default=lambda slug: "")


@dataclass(frozen=True, slots=True)
class Setting:
    """What the steps look things up in."""

    policy: Policy
    catalogue: Catalogue
    wanted: Wanted


def plan(turn: Turn, catalogue: Catalogue, policy: Policy) -> Turn:
    """The turn with the body that is sent upstream.

    Raises:
        InvalidRequest: No model was named and there is no default.
        ModelNotFound: The name is unknown and ``strict`` is set.
    """
    name = turn.model or _default_model(catalogue, policy)
    setting = Setting(policy, catalogue, _wanted(name, catalogue, policy.strict))
    turn = replace(turn, model=name)
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
    if catalogue.is_live and catalogue.find(name) is None and catalogue.models:
        return catalogue.models[0].slug
    return name


def _wanted(name: str, catalogue: Catalogue, strict: bool) -> Wanted:
    wanted = catalogue.find(name)
    if strict and (wanted is None or not catalogue.offers(wanted.slug)):
        names = ", ".join(spec.slug for spec in catalogue.models)
        raise ModelNotFound(f"The model `{name}` does not exist here. Usable models: {names}.", param="model")
    return wanted or Wanted(catalogue.aliases.get(name, name))


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
    fixed = repair([_developer(item) for item in items])
    names = {**turn.tool_names, **getattr(fixed, "tool_names", {})}
    return replace(turn, body={**turn.body, "input": fixed[0]}, tool_names=names).with_notes(adapted=tuple(fixed[1]))


def _developer(item: Any) -> Any:
    # "System messages are not allowed" (UPSTREAM.md §3.6); developer is the same place.
    if isinstance(item, dict) and item.get("role") == "system":
        return {**item, "role": "developer"}
    return item


def settle_instructions(turn: Turn, setting: Setting) -> Turn:
    """Whose words are ``instructions``, by ``codex.mode``."""
    own = turn.body.get("instructions")
    given = own if isinstance(own, str) else None
    text, moved = _INSTRUCTIONS[setting.policy.mode](turn.body, given, setting)
    body = {**turn.body, "instructions": text}
    if not moved:
        return replace(turn, body=body)
    body["input"] = [_developer_message(moved), *turn.body["input"]]
    return replace(turn, body=body).with_notes(adapted=("instructions:moved_to_developer",))


def _auto_instructions(body: Body, given: str | None, setting: Setting) -> tuple[str, str]:
    if given is not None:
        return given, ""
    if _has_developer(body["input"]):
        return NEUTRAL_INSTRUCTIONS, ""
    return setting.policy.prompts(setting.wanted.slug), ""


def _family_instructions(body: Body, given: str | None, setting: Setting) -> tuple[str, str]:
    family = setting.policy.prompts(setting.wanted.slug)
    return (family, given or "") if given != family else (family, "")


def _own_instructions(body: Body, given: str | None, setting: Setting) -> tuple[str, str]:
    return given or "", ""


_INSTRUCTIONS: dict[str, Callable[[Body, str | None, Setting], tuple[str, str]]] = {
    "auto": _auto_instructions,
    "true": _family_instructions,
    "false": _own_instructions,
}


def _has_developer(items: list[Any]) -> bool:
    return any(isinstance(item, dict) and item.get("role") == "developer" for item in items)


def _developer_message(text: str) -> Body:
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}


def settle_reasoning(turn: Turn, setting: Setting) -> Turn:
    """Effort and summary; an effort the model lacks becomes the nearest it has."""
    given = turn.body.get("reasoning")
    reasoning = {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else {}
    spec, policy = setting.wanted.spec, setting.policy
    own = spec.default_effort if spec else None
    effort = str(reasoning.get("effort") or setting.wanted.effort or policy.effort or own or "medium").lower()
    used = spec.nearest_effort(effort) if spec else effort
    if effort not in EFFORTS and effort != used:
        turn = turn.with_notes(adapted=(f"reasoning.effort:{used}",))
    elif effort != used:
        turn = turn.with_notes(adapted=(f"reasoning.effort:{effort}->{used}",))
    reasoning["effort"] = used
    summary = reasoning.get("summary") or reasoning.pop("generate_summary", None) or policy.summary
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
    elif spec is not None:
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


def settle_cache_key(turn: Turn, setting: Setting) -> Turn:
    """Explicit key, else the client's session, else a fingerprint of the conversation's start."""
    given = turn.body.get("prompt_cache_key")
    key = given if isinstance(given, str) and given else turn.caller.session or turn.cache_key
    key = _header_safe(key) if key else _fingerprint(turn)
    return replace(turn, cache_key=key, body={**turn.body, "prompt_cache_key": key})


def _header_safe(key: str) -> str:
    # It travels in headers too, and upstream takes 64 characters at most (UPSTREAM.md §3.2).
    if len(key) <= 64 and key.isascii() and key.isprintable() and key == key.strip():
        return key
    return str(uuid.uuid5(_CACHE_NAMESPACE, key))


def _fingerprint(turn: Turn) -> str:
    # The start of a conversation does not change when turns are appended.
    users = [item for item in turn.body["input"] if isinstance(item, dict) and item.get("role") == "user"]
    start = [turn.caller.key, turn.body.get("instructions"), users[:1]]
    return str(uuid.uuid5(_CACHE_NAMESPACE, encode_json(start).hex()))


def settle_shape(turn: Turn, setting: Setting) -> Turn:
    """Classic or lite, as the catalogue says (UPSTREAM.md §3.4)."""
    spec = setting.wanted.spec
    return lite_shape(turn, wanted=bool(spec and spec.lite))


# Fields that dialects turn into something else, so that dropping them is no news.
_SETTLED: Mapping[str, Any] = dict.fromkeys(
    ("model", "store", "stream", "max_output_tokens", "background", "previous_response_id", "metadata")
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
