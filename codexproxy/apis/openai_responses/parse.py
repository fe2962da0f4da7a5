"""A Responses request's JSON object as a turn."""

from typing import Any

from codexproxy.apis.cache_marks import without_marks
from codexproxy.apis.openai_responses.fields import ECHOED, TEXT, VERBOSITIES, missing, sort, wrong_type
from codexproxy.apis.openai_responses.items import check_tools, input_items
from codexproxy.apis.openai_responses.response_builder import ResponsesRenderOptions
from codexproxy.apis.openai_responses.strict_schemas import fit_schemas
from codexproxy.apis.validation_errors import wrong_value
from codexproxy.errors import InvalidRequest
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.protocol.request import Caller, PlanningHints, StorageOptions, Turn


def parse(payload: dict[str, Any], caller: Caller, pause: Pause = no_pause) -> Turn:
    """Checks a request and makes it a turn.

    The body stays in the public shape; what is honoured here and not upstream
    is in the turn's ``storage``, ``restorer`` and ``render``. A request without
    a model has an empty one: there may be a default.

    Raises:
        InvalidRequest: ``param`` names the path of the offending field.
    """
    payload, marks = without_marks(payload, pause)
    fields = sort(payload)
    body, emulated = fields.mapped, fields.emulated
    storage = _storage(emulated)
    body["input"] = _input(body.get("input"), storage.previous_response_id, pause)
    check_tools(body.get("tools", []), pause)
    _check_inner(body)
    body, restorer, fitted = fit_schemas(body, pause)
    render = ResponsesRenderOptions(
        given={name: payload[name] for name in ECHOED if payload.get(name) is not None},
        metadata=emulated.get("metadata", {}),
        fitted=tuple(name for name in ("tools", "text") if body.get(name) is not fields.mapped.get(name)),
    )
    cap = _max_tokens(emulated.get("max_output_tokens"))
    turn = Turn(
        model=body.get("model", ""),
        body=body,
        stream=emulated.get("stream", False),
        caller=caller,
        cache_key=body.get("prompt_cache_key", ""),
        max_tokens=cap,
        planning=PlanningHints(responses_api=True),
        storage=storage,
        restorer=restorer,
        render=render,
    )
    adapted = (*fitted, "max_output_tokens:emulated") if cap else fitted
    return turn.with_notes(ignored=(*fields.ignored, *marks), adapted=adapted)


def _storage(emulated: dict[str, Any]) -> StorageOptions:
    storage = StorageOptions(
        store=emulated.get("store"),
        background=emulated.get("background", False),
        previous_response_id=emulated.get("previous_response_id"),
    )
    if storage.background and storage.store is False:
        raise InvalidRequest(
            "A background response has to be stored, or it could never be fetched. Leave 'store' out.",
            param="background",
        )
    return storage


def _input(value: str | list[Any] | None, previous: str | None, pause: Pause) -> list[dict[str, Any]]:
    if value is None and previous is None:
        raise missing("input")
    items = input_items(value or [], pause)
    if not items and previous is None:
        raise InvalidRequest("'input' is empty. Send a question, or at least one item.", param="input")
    return items


# Fields of objects that the backend is strict about, and whose type it would complain of in words of its own.
_INNER: dict[str, tuple[str, ...]] = {
    "reasoning": ("effort", "summary", "generate_summary", "context", "mode"),
    "text": ("verbosity",),
}


def _check_inner(body: dict[str, Any]) -> None:
    for name, inner in _INNER.items():
        for key in inner:
            value = body.get(name, {}).get(key)
            if value is not None and not TEXT.holds(value):
                raise wrong_type(f"{name}.{key}", TEXT)
    verbosity = body.get("text", {}).get("verbosity")
    if verbosity not in (None, *VERBOSITIES):
        raise wrong_value("text.verbosity", verbosity, VERBOSITIES)


def _max_tokens(value: int | None) -> int | None:
    if value is not None and value < 1:
        raise InvalidRequest("'max_output_tokens' must be at least 1.", param="max_output_tokens")
    return value
