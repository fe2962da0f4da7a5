"""The routes; each is registered without ``/v1`` (see ``paths``)."""

from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from codexproxy import __version__
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.errors import InvalidRequest, ModelNotFound
from codexproxy.observability.metrics import CONTENT_TYPE
from codexproxy.planning.model_catalog import EFFORTS, ModelCatalog, ModelSpec
from codexproxy.planning.plan import usable
from codexproxy.protocol.events import encode_json
from codexproxy.server.codex_models import codex_models
from codexproxy.server.codex_request import CODEX
from codexproxy.server.compaction import compact
from codexproxy.server.request_context import current
from codexproxy.server.services import Services
from codexproxy.server.turn_view import handle

# When the models came to be is not told upstream; clients want some whole number.
CREATED = 1_735_689_600


def turn_routes(services: Services) -> Blueprint:
    """One POST route per API format."""
    blueprint = Blueprint("turns", __name__)
    for path, api in services.apis.items():
        blueprint.add_url_rule(path, api.name, partial(handle, api, services), methods=["POST"])
    # The Codex CLI finds its turns below another path, too.
    for base, kind in (("", ""), (CODEX, "native_")):
        path, api = f"{base}/responses", ResponsesApi(services.pause)
        blueprint.add_url_rule(f"{path}/compact", f"{kind}compact", partial(compact, api, services), methods=["POST"])
        blueprint.add_url_rule(path, f"{kind}upgrade", no_upgrade, methods=["GET"], websocket=True)
    view = partial(handle, ResponsesApi(services.pause), services)
    blueprint.add_url_rule(f"{CODEX}/responses", "native_responses", view, methods=["POST"])
    return blueprint


def no_upgrade() -> Response:
    """Refuses a WebSocket at once, so that the Codex CLI goes on with POST (docs/reference/requests.md#websocket).

    Raises:
        InvalidRequest: Always, with 426.
    """
    raise InvalidRequest(
        "There are no WebSockets here. Please send the request with POST.", code="websocket_not_offered", status=426
    )


def model_routes(services: Services) -> Blueprint:
    """The catalogue, as the platform shows it and as the Codex CLI reads it."""
    blueprint = Blueprint("models", __name__)

    @blueprint.get("/models")
    def models() -> Response:
        catalogue = services.planner.models_for(current().identity)
        if "client_version" in request.args:
            return codex_models(catalogue)
        names = [spec.slug for spec in catalogue.models]
        names += [name[::-1] for name in names] if services.reverse_names else []
        names += list(catalogue.aliases)
        usable_here = [name for name in dict.fromkeys(names) if _may_use(name, catalogue)]
        return _json({"object": "list", "data": [model_object(name, catalogue) for name in usable_here]})

    @blueprint.get("/models/<path:name>")
    def model(name: str) -> Response:
        catalogue = services.planner.models_for(current().identity)
        if catalogue.find(name) is None or not _may_use(name, catalogue):
            raise ModelNotFound(f"The model `{name}` does not exist here.{usable(catalogue)}", param="model")
        return _json(model_object(name, catalogue))

    return blueprint


def _may_use(name: str, catalogue: ModelCatalog) -> bool:
    wanted = catalogue.find(name)
    identity = current().identity
    return identity.may_ask(name, catalogue.family(name), wanted.slug if wanted is not None else name)


def model_object(name: str, catalogue: ModelCatalog) -> dict[str, Any]:
    """One model as the platform shows it; ``name`` may be an alias or carry an effort."""
    wanted = catalogue.find(name)
    shown = {"id": name, "object": "model", "created": CREATED, "owned_by": "codex"}
    return {**shown, **_known(wanted.spec)} if wanted and wanted.spec else shown


def _known(spec: ModelSpec) -> dict[str, Any]:
    facts = {
        "context_window": spec.context_window,
        # The same by the name that most routers of models have for it.
        "context_length": spec.context_window,
        "reasoning_efforts": [effort for effort in EFFORTS if effort in spec.efforts],
        "default_reasoning_effort": spec.default_effort,
    }
    return {name: value for name, value in facts.items() if value}


def status_routes(services: Services) -> Blueprint:
    """Whether we live, and whether we can serve."""
    blueprint = Blueprint("status", __name__)

    @blueprint.get("/health")
    def health() -> Response:
        return _json({"status": "ok", "version": __version__})

    @blueprint.get("/ready")
    def ready() -> Response:
        reasons, notes = services.ready(), services.notes()
        told = {"notes": notes} if notes else {}
        if reasons:
            return _json({"status": "not_ready", "reasons": reasons, **told}, 503)
        return _json({"status": "ready", **told})

    @blueprint.get("/metrics")
    def metrics() -> Response:
        return Response(services.observer.page(), content_type=CONTENT_TYPE)

    return blueprint


def _json(value: Any, status: int = 200) -> Response:
    return Response(encode_json(value), status=status, content_type="application/json")
