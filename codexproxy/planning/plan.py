"""A turn made ready to send: the body is built from an allow-list, step by step.

Each step changes the request under construction. What a step drops or changes
it notes, so that the caller can see it (``x-codexproxy-ignored``, ``-adapted``).

The identity of a conversation for upstream's prompt cache
(docs/reference/requests.md#prompt-cache, docs/reference/clients.md#prompt-cache-misses)
is the explicit key, else the client's own session, else the start of the
conversation: its instructions and first user message, which neither appended
turns nor edits of later ones change. It is never random per request, and never
shared between callers.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from codexproxy.compat.history.sanitize import repair
from codexproxy.compat.tool_names import rename_tools
from codexproxy.errors import InvalidRequest, ModelNotFound
from codexproxy.planning.instructions import settle_instructions
from codexproxy.planning.model_catalog import EFFORTS, LOCAL_PREFIX, Catalogue, Wanted
from codexproxy.planning.request_builder import Draft, Policy, Setting
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.pacing import Encoded, Form, Pause, as_it_is, encode_paced, hashed, no_pause, paced
from codexproxy.protocol.request import Body, Caller, Turn

# The keys the real client sends, and no others
# (docs/reference/requests.md#body-of-a-turn); anything else is a 400 upstream.
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
# Names go into logs, metrics and headers, and are taken apart at their dashes.
LONGEST_MODEL = 256

ENCRYPTED_REASONING = "reasoning.encrypted_content"


def plan(turn: Turn, catalogue: Catalogue, policy: Policy) -> Turn:
    """The turn with the body that is sent upstream.

    Raises:
        InvalidRequest: No model was named and there is no default, or its name is too long.
        ModelNotFound: The name is unknown and ``strict`` is set.
    """
    name = turn.model or _default_model(catalogue, policy)
    if len(name) > LONGEST_MODEL:
        raise InvalidRequest(
            f"The model's name has {len(name)} characters; {LONGEST_MODEL} are the most.",
            code="invalid_value",
            param="model",
        )
    meant = catalogue.meaning(name)
    setting = Setting(policy, catalogue, _wanted(meant.removeprefix(LOCAL_PREFIX), name, catalogue, policy.strict))
    draft = Draft(turn)
    draft.family = catalogue.family(name)
    draft.local = meant.startswith(LOCAL_PREFIX)
    for step in STEPS:
        step(draft, setting)
    return draft.planned(name)


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


def _wanted(name: str, asked: str, catalogue: Catalogue, strict: bool) -> Wanted:
    wanted = catalogue.find(name)
    if strict and (wanted is None or not catalogue.offers(wanted.slug)):
        raise ModelNotFound(f"The model `{asked}` does not exist here.{usable(catalogue)}", param="model")
    return wanted or Wanted(catalogue.meaning(name))


def usable(catalogue: Catalogue, besides: str = "") -> str:
    """The sentence that ends the refusal of a model: which names there are, but for the one that was refused."""
    names = [spec.slug for spec in catalogue.models if spec.slug != besides]
    return f" Usable models: {', '.join(names)}." if names else ""


def settle_model(draft: Draft, setting: Setting) -> None:
    """The upstream's name for the model; a tier in the name is a tier of the request."""
    draft.body["model"] = setting.wanted.slug
    if setting.wanted.tier and not draft.body.get("service_tier"):
        draft.body["service_tier"] = setting.wanted.tier


def settle_input(draft: Draft, setting: Setting) -> None:
    """A list of items that upstream takes: no system role, no orphans, no foreign ids."""
    items = draft.body.get("input")
    if not isinstance(items, list):
        text = {"type": "input_text", "text": items if isinstance(items, str) else ""}
        items = [{"type": "message", "role": "user", "content": [text]}]
    # "System messages are not allowed" (docs/reference/errors.md#gateway-refusals); developer is the same place.
    pause = setting.policy.pause
    items = [{**item, "role": "developer"} if _is_system(item) else item for item in paced(items, pause)]
    draft.body["input"], notes = repair(items, pause)
    draft.adapt(*notes)


def settle_names(draft: Draft, setting: Setting) -> None:
    """Names of tools that upstream takes, in a continued conversation as well."""
    if not draft.turn.planning.responses_api:
        return
    draft.body, names = rename_tools(draft.body, setting.policy.pause)
    if names:
        draft.tool_names = {**draft.tool_names, **names}
        draft.adapt("tools:names_shortened")


def _is_system(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") == "system"


SUMMARIES = ("auto", "concise", "detailed", "none")


def settle_reasoning(draft: Draft, setting: Setting) -> None:
    """Effort and summary; an effort the model lacks becomes the nearest it has.

    Raises:
        InvalidRequest: No model has such an effort, or there is no such summary.
    """
    reasoning = _given(draft, "reasoning")
    if draft.as_sent and not reasoning:
        return
    spec, policy = setting.wanted.spec, setting.policy
    own = spec.default_effort if spec else None
    asked = str(reasoning.get("effort") or "").lower()
    if asked and asked not in (*EFFORTS, *(spec.efforts if spec else ())):
        raise _no_such(draft.turn.planning.effort_param, asked, EFFORTS)
    effort = asked or str(setting.wanted.effort or policy.effort or own or "medium").lower()
    used = spec.nearest_effort(effort) if spec else effort
    if effort != used:
        draft.adapt(f"reasoning.effort:{effort}->{used}" if effort in EFFORTS else f"reasoning.effort:{used}")
    reasoning["effort"] = used
    silent = draft.as_sent or draft.turn.planning.responses_api
    older = reasoning.pop("generate_summary", None)
    summary = reasoning.pop("summary", None) or older
    if summary and summary not in SUMMARIES:
        raise _no_such("reasoning.summary", str(summary), SUMMARIES)
    summary = summary or ("none" if silent else policy.summary)
    if summary != "none":
        reasoning["summary"] = summary
    draft.body["reasoning"] = reasoning


def _no_such(param: str, value: str, values: Sequence[str]) -> InvalidRequest:
    listed = ", ".join(f"'{name}'" for name in values)
    return InvalidRequest(
        f"Invalid value for '{param}': '{value[:60]}'. Supported values are: {listed}.",
        code="invalid_value",
        param=param,
    )


def settle_text(draft: Draft, setting: Setting) -> None:
    """Verbosity where the model has it."""
    text = _given(draft, "text")
    spec = setting.wanted.spec
    if spec is not None and not spec.verbosity:
        if text.pop("verbosity", None):
            draft.ignore(["verbosity"])
    elif spec is not None and not draft.as_sent:
        text.setdefault("verbosity", setting.policy.verbosity)
    draft.body["text"] = text or None


def _given(draft: Draft, key: str) -> dict[str, Any]:
    given = draft.body.get(key)
    return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else {}


# ``auto`` is refused upstream and ``default`` is what a turn gets anyway
# (docs/reference/requests.md#options-of-the-cli-and-what-they-become).
_TIERS = {"fast": "priority", "auto": None, "default": None, "": None, None: None}


def settle_tier(draft: Draft, setting: Setting) -> None:
    """A service tier that upstream knows, or none."""
    asked = draft.body.get("service_tier")
    tier = _TIERS.get(asked, asked) if isinstance(asked, str | None) else None
    offered = setting.wanted.spec.tiers if setting.wanted.spec else ("priority",)
    draft.body["service_tier"] = tier if tier in offered else None
    if tier and tier not in offered:
        draft.ignore(["service_tier"])


def settle_tools(draft: Draft, setting: Setting) -> None:
    """No empty tool list, and a choice wherever there are tools."""
    body = draft.body
    if draft.as_sent:
        return
    if not body.get("tools"):
        for key in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(key, None)
    elif body.get("tool_choice") is None:
        body["tool_choice"] = "auto"


def settle_include(draft: Draft, setting: Setting) -> None:
    """Encrypted reasoning is always asked for, so that the next turn can hand it back."""
    given = draft.body.get("include")
    include = [entry for entry in given if isinstance(entry, str)] if isinstance(given, list) else []
    if ENCRYPTED_REASONING not in include:
        include.append(ENCRYPTED_REASONING)
    draft.body["include"] = include


# Fields that apis turn into something else, so that dropping them is no news.
_SETTLED = frozenset(
    {"model", "store", "stream", "max_output_tokens", "background", "previous_response_id", "metadata"}
)
_KNOWN = _SETTLED.union(ALLOWED)


def settle_keys(draft: Draft, setting: Setting) -> None:
    """Only what upstream takes leaves the house."""
    body = draft.body
    draft.ignore(key for key, value in body.items() if key not in _KNOWN and value is not None)
    draft.body = {key: body[key] for key in ALLOWED if body.get(key) is not None}
    draft.body |= {"store": False, "stream": True}


_NAMESPACE = uuid.UUID("5c0de390-9b1d-4c44-8a6e-2f5b6f0a7c11")

# Callers of a service with one owner; all others are told apart.
_SINGLE = frozenset({"anonymous", "default"})


def settle_cache_key(draft: Draft, setting: Setting) -> None:
    """The conversation's identity in ``prompt_cache_key`` and ``cache_key``."""
    given = draft.body.get("prompt_cache_key")
    own = given if isinstance(given, str) and given else draft.caller.session
    pause = setting.policy.pause
    key = _presentable(own, draft.caller, pause) if own else setting.policy.conversation(fingerprint(draft, pause))
    draft.cache_key = draft.body["prompt_cache_key"] = key


def fingerprint(draft: Draft, pause: Pause = no_pause) -> str:
    """What all turns of a conversation share, as a UUID; another caller's twin has another."""
    users = (_words(item) for item in draft.body["input"] if isinstance(item, dict) and item.get("role") == "user")
    start = [draft.caller.key, draft.body.get("instructions"), list(islice(users, 1))]
    return _named(encode_paced(start, pause) if draft.turn.execution.pause else encode_json(start), pause)


def _words(item: dict[str, Any]) -> Any:
    # Ids are the client's and may be new in every request.
    return item.get("content")


def _presentable(key: str, caller: Caller, pause: Pause) -> str:
    # It travels in headers too, and upstream takes 64 characters at most (docs/reference/requests.md#body-of-a-turn).
    fits = len(key) <= 64 and key.isascii() and key.isprintable() and key == key.strip()
    if fits and caller.key in _SINGLE:
        return key
    own = f"{caller.key}\n{key}".encode("utf-8", "surrogatepass")
    return _named(own, pause, lambda piece: piece.hex().encode())


def _named(name: Encoded, pause: Pause, form: Form = as_it_is) -> str:
    # As ``uuid.uuid5`` has it, which would look through the megabytes of a long conversation in one go.
    digest = hashed(hashlib.sha1(_NAMESPACE.bytes, usedforsecurity=False), name, pause, form)
    return str(uuid.UUID(bytes=digest[:16], version=5))


# With the lite header upstream takes these and refuses hosted tools.
_CLIENT_TOOLS = frozenset({"function", "custom", "namespace", "tool_search"})


def settle_shape(draft: Draft, setting: Setting) -> None:
    """Classic or lite, as the catalogue says.

    A body that is lite already keeps its shape and gets the header; hosted
    tools cannot travel in the lite shape, so such a turn stays classic.
    """
    body, spec = draft.body, setting.wanted.spec
    if is_lite(body):
        draft.lite = True
        draft.body = body if draft.as_sent else {"instructions": "", **body}
    elif spec and spec.lite and all(_type(tool) in _CLIENT_TOOLS for tool in body.get("tools") or []):
        draft.lite = True
        draft.body = _rewritten(body, setting.policy.pause)
        draft.adapt("shape:responses_lite")


def is_lite(body: Body) -> bool:
    """Whether the body carries its tools in the input, as the real client does for such models."""
    items = body.get("input")
    return isinstance(items, list) and bool(items) and _type(items[0]) == "additional_tools"


def _rewritten(body: Body, pause: Pause) -> Body:
    head: list[Any] = [{"type": "additional_tools", "role": "developer", "tools": body.get("tools") or []}]
    if body.get("instructions"):
        text = {"type": "input_text", "text": body["instructions"]}
        head.append({"type": "message", "role": "developer", "content": [text]})
    kept = {key: value for key, value in body.items() if key != "tools"}
    return {
        **kept,
        "instructions": "",
        "input": head + [_without_detail(item, pause) for item in paced(body["input"], pause)],
        "parallel_tool_calls": False,
        "reasoning": {**body.get("reasoning", {}), "context": "all_turns"},
    }


def _without_detail(item: Any, pause: Pause) -> Any:
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(content, list):
        return item
    parts = [
        {key: value for key, value in part.items() if key != "detail"} if _type(part) == "input_image" else part
        for part in paced(content, pause)
    ]
    return {**item, "content": parts}


def _type(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else None


STEPS: tuple[Callable[[Draft, Setting], None], ...] = (
    settle_model,
    settle_input,
    settle_names,
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
