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

from codexproxy.compat.history.sanitize import sanitize_history
from codexproxy.compat.tool_names import rename_tools
from codexproxy.errors import InvalidRequest, ModelNotFound
from codexproxy.planning.instructions import apply_instructions
from codexproxy.planning.model_catalog import EFFORTS, LOCAL_PREFIX, ModelCatalog, ModelSelection
from codexproxy.planning.request_builder import PlanContext, Policy, RequestBuilder
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


def plan(turn: Turn, catalogue: ModelCatalog, policy: Policy) -> Turn:
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
    context = PlanContext(
        policy, catalogue, _selection(meant.removeprefix(LOCAL_PREFIX), name, catalogue, policy.strict)
    )
    request = RequestBuilder(turn)
    request.family = catalogue.family(name)
    request.local = meant.startswith(LOCAL_PREFIX)
    for step in STEPS:
        step(request, context)
    return request.planned(name)


def _default_model(catalogue: ModelCatalog, policy: Policy) -> str:
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


def _selection(name: str, asked: str, catalogue: ModelCatalog, strict: bool) -> ModelSelection:
    selection = catalogue.find(name)
    if strict and (selection is None or not catalogue.offers(selection.slug)):
        raise ModelNotFound(f"The model `{asked}` does not exist here.{usable(catalogue)}", param="model")
    return selection or ModelSelection(catalogue.meaning(name))


def usable(catalogue: ModelCatalog, besides: str = "") -> str:
    """The sentence that ends the refusal of a model: which names there are, but for the one that was refused."""
    names = [spec.slug for spec in catalogue.models if spec.slug != besides]
    return f" Usable models: {', '.join(names)}." if names else ""


def apply_model(request: RequestBuilder, context: PlanContext) -> None:
    """The upstream's name for the model; a tier in the name is a tier of the request."""
    request.body["model"] = context.selection.slug
    if context.selection.tier and not request.body.get("service_tier"):
        request.body["service_tier"] = context.selection.tier


def apply_input(request: RequestBuilder, context: PlanContext) -> None:
    """A list of items that upstream takes: no system role, no orphans, no foreign ids."""
    items = request.body.get("input")
    if not isinstance(items, list):
        text = {"type": "input_text", "text": items if isinstance(items, str) else ""}
        items = [{"type": "message", "role": "user", "content": [text]}]
    # "System messages are not allowed" (docs/reference/errors.md#gateway-refusals); developer is the same place.
    pause = context.policy.pause
    items = [{**item, "role": "developer"} if _is_system(item) else item for item in paced(items, pause)]
    request.body["input"], notes = sanitize_history(items, pause)
    request.adapt(*notes)


def apply_names(request: RequestBuilder, context: PlanContext) -> None:
    """Names of tools that upstream takes, in a continued conversation as well."""
    if not request.turn.planning.responses_api:
        return
    request.body, names = rename_tools(request.body, context.policy.pause)
    if names:
        request.tool_names = {**request.tool_names, **names}
        request.adapt("tools:names_shortened")


def _is_system(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") == "system"


SUMMARIES = ("auto", "concise", "detailed", "none")


def apply_reasoning(request: RequestBuilder, context: PlanContext) -> None:
    """Effort and summary; an effort the model lacks becomes the nearest it has.

    Raises:
        InvalidRequest: No model has such an effort, or there is no such summary.
    """
    reasoning = _given(request, "reasoning")
    if request.as_sent and not reasoning:
        return
    spec, policy = context.selection.spec, context.policy
    own = spec.default_effort if spec else None
    asked = str(reasoning.get("effort") or "").lower()
    if asked and asked not in (*EFFORTS, *(spec.efforts if spec else ())):
        raise _no_such(request.turn.planning.effort_param, asked, EFFORTS)
    effort = asked or str(context.selection.effort or policy.effort or own or "medium").lower()
    used = spec.nearest_effort(effort) if spec else effort
    if effort != used:
        request.adapt(f"reasoning.effort:{effort}->{used}" if effort in EFFORTS else f"reasoning.effort:{used}")
    reasoning["effort"] = used
    silent = request.as_sent or request.turn.planning.responses_api
    older = reasoning.pop("generate_summary", None)
    summary = reasoning.pop("summary", None) or older
    if summary and summary not in SUMMARIES:
        raise _no_such("reasoning.summary", str(summary), SUMMARIES)
    summary = summary or ("none" if silent else policy.summary)
    if summary != "none":
        reasoning["summary"] = summary
    request.body["reasoning"] = reasoning


def _no_such(param: str, value: str, values: Sequence[str]) -> InvalidRequest:
    listed = ", ".join(f"'{name}'" for name in values)
    return InvalidRequest(
        f"Invalid value for '{param}': '{value[:60]}'. Supported values are: {listed}.",
        code="invalid_value",
        param=param,
    )


def apply_text(request: RequestBuilder, context: PlanContext) -> None:
    """Verbosity where the model has it."""
    text = _given(request, "text")
    spec = context.selection.spec
    if spec is not None and not spec.verbosity:
        if text.pop("verbosity", None):
            request.ignore(["verbosity"])
    elif spec is not None and not request.as_sent:
        text.setdefault("verbosity", context.policy.verbosity)
    request.body["text"] = text or None


def _given(request: RequestBuilder, key: str) -> dict[str, Any]:
    given = request.body.get(key)
    return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else {}


# ``auto`` is refused upstream and ``default`` is what a turn gets anyway
# (docs/reference/requests.md#options-of-the-cli-and-what-they-become).
_TIERS = {"fast": "priority", "auto": None, "default": None, "": None, None: None}


def apply_tier(request: RequestBuilder, context: PlanContext) -> None:
    """A service tier that upstream knows, or none."""
    asked = request.body.get("service_tier")
    tier = _TIERS.get(asked, asked) if isinstance(asked, str | None) else None
    offered = context.selection.spec.tiers if context.selection.spec else ("priority",)
    request.body["service_tier"] = tier if tier in offered else None
    if tier and tier not in offered:
        request.ignore(["service_tier"])


def apply_tools(request: RequestBuilder, context: PlanContext) -> None:
    """No empty tool list, and a choice wherever there are tools."""
    body = request.body
    if request.as_sent:
        return
    if not body.get("tools"):
        for key in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(key, None)
    elif body.get("tool_choice") is None:
        body["tool_choice"] = "auto"


def apply_include(request: RequestBuilder, context: PlanContext) -> None:
    """Encrypted reasoning is always asked for, so that the next turn can hand it back."""
    given = request.body.get("include")
    include = [entry for entry in given if isinstance(entry, str)] if isinstance(given, list) else []
    if ENCRYPTED_REASONING not in include:
        include.append(ENCRYPTED_REASONING)
    request.body["include"] = include


# Fields that apis turn into something else, so that dropping them is no news.
_SETTLED = frozenset(
    {"model", "store", "stream", "max_output_tokens", "background", "previous_response_id", "metadata"}
)
_KNOWN = _SETTLED.union(ALLOWED)


def apply_keys(request: RequestBuilder, context: PlanContext) -> None:
    """Keeps only the fields that upstream takes."""
    body = request.body
    request.ignore(key for key, value in body.items() if key not in _KNOWN and value is not None)
    request.body = {key: body[key] for key in ALLOWED if body.get(key) is not None}
    request.body |= {"store": False, "stream": True}


_NAMESPACE = uuid.UUID("5c0de390-9b1d-4c44-8a6e-2f5b6f0a7c11")

# Callers of a service with one owner; all others have names of their own.
_SINGLE = frozenset({"anonymous", "default"})


def apply_cache_key(request: RequestBuilder, context: PlanContext) -> None:
    """The conversation's identity in ``prompt_cache_key`` and ``cache_key``."""
    given = request.body.get("prompt_cache_key")
    own = given if isinstance(given, str) and given else request.caller.session
    pause = context.policy.pause
    key = _presentable(own, request.caller, pause) if own else context.policy.conversation(fingerprint(request, pause))
    request.cache_key = request.body["prompt_cache_key"] = key


def fingerprint(request: RequestBuilder, pause: Pause = no_pause) -> str:
    """What all turns of a conversation share, as a UUID; another caller's twin has another."""
    users = (_words(item) for item in request.body["input"] if isinstance(item, dict) and item.get("role") == "user")
    start = [request.caller.key, request.body.get("instructions"), list(islice(users, 1))]
    return _named(encode_paced(start, pause) if request.turn.execution.pause else encode_json(start), pause)


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


def apply_shape(request: RequestBuilder, context: PlanContext) -> None:
    """Classic or lite, as the catalogue says.

    A body that is lite already keeps its shape and gets the header; hosted
    tools cannot travel in the lite shape, so such a turn stays classic.
    """
    body, spec = request.body, context.selection.spec
    if is_lite(body):
        request.lite = True
        request.body = body if request.as_sent else {"instructions": "", **body}
    elif spec and spec.lite and all(_type(tool) in _CLIENT_TOOLS for tool in body.get("tools") or []):
        request.lite = True
        request.body = _rewritten(body, context.policy.pause)
        request.adapt("shape:responses_lite")


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


STEPS: tuple[Callable[[RequestBuilder, PlanContext], None], ...] = (
    apply_model,
    apply_input,
    apply_names,
    apply_instructions,
    apply_reasoning,
    apply_text,
    apply_tier,
    apply_tools,
    apply_include,
    apply_cache_key,
    apply_shape,
    apply_keys,
)
