"""The quiet paths of the backend: models, usage, accounts, compaction.

See docs/reference/quota.md#the-usage-report, docs/reference/models.md#the-catalogue,
docs/reference/requests.md#compaction and docs/reference/codex-cli.md#as-a-client-of-the-chatgpt-backend.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from codexproxy.simulator.connection import Answer
from codexproxy.simulator.events import Ids, Json, seal
from codexproxy.simulator.http import Request
from codexproxy.simulator.refusals import Refusal, authorize, check_user_agent, check_weather, detail
from codexproxy.simulator.replies import Reply, json_reply
from codexproxy.simulator.responses import scripted_reply
from codexproxy.simulator.rules import Active
from codexproxy.simulator.tokens import Login

if TYPE_CHECKING:
    from codexproxy.simulator.world import World

Endpoint = Callable[["World", Request, Active, Login], Reply]


def signed_in(name: str, endpoint: Endpoint) -> Callable[["World", Request], Answer]:
    """An endpoint that needs a token, and first gives way to a waiting script."""

    def answer(world: "World", request: Request) -> Answer:
        script = world.scripts.take(name, request)
        rules = world.rules.active(request, (script or {}).get("rules"))
        try:
            login = authorize(request.headers, rules, world.tokens)
            check_user_agent(request.headers, rules)
            return scripted_reply(script) if script is not None else endpoint(world, request, rules, login)
        except Refusal as refusal:
            return refusal.reply()

    return answer


def models(world: "World", request: Request, rules: Active, login: Login) -> Reply:
    """The catalogue for one client version, with its ETag."""
    if rules.fires("models_unavailable"):
        raise Refusal(int(rules.option("models_unavailable", "status", 503)), {"detail": "Service Unavailable"})
    version = request.query.get("client_version")
    if not version:
        missing = {"type": "missing", "loc": ["query", "client_version"], "msg": "Field required", "input": None}
        raise Refusal(400, {"detail": [missing]})
    etag = ("etag", world.catalogue.etag)
    if request.headers.get("if-none-match") == world.catalogue.etag:
        return Reply(304, [etag])
    shown = version if rules.on("client_version_hides_models") else None
    return Reply(200, [("content-type", "application/json"), etag], world.catalogue.listing(shown))


def usage(world: "World", request: Request, rules: Active, login: Login) -> Reply:
    """How much of the windows is used."""
    windows = not rules.on("usage_windows_null")
    return json_reply(world.quota.as_usage(login.plan, world.clock(), windows))


def accounts(world: "World", request: Request, rules: Active, login: Login) -> Reply:
    """The account of the token, with the origin its turns go to."""
    account = {
        "id": login.account_id,
        "name": "Personal",
        "structure": "personal",
        "plan_type": login.plan,
        "is_deactivated": False,
        "workspace_backend_origin": request.base_url,
        "account_routing_override": "NO_CONSTRAINT",
    }
    ids = {"account_ordering": [login.account_id], "default_account_id": login.account_id}
    return json_reply({"accounts": [account], **ids})


COMPACT_KEYS = frozenset(["model", "input", "instructions", "tools", "parallel_tool_calls", "reasoning", "text"])


def compact(world: "World", request: Request, rules: Active, login: Login) -> Reply:
    """Compacts a conversation: the user's messages stay, the rest becomes one opaque item."""
    check_weather(rules, login.plan, world.clock())
    body = _object(request)
    for key in body:
        if rules.on("unsupported_parameter") and key not in COMPACT_KEYS:
            raise detail(f"Unsupported parameter: {key}")
    if rules.on("instructions_required") and not isinstance(body.get("instructions"), str):
        raise detail("Instructions are required")
    if not isinstance(body.get("input"), list):
        raise detail("Input must be a list")
    model = body.get("model")
    if rules.on("model_supported") and world.catalogue.find(model) is None:
        raise detail(f"The '{model or ''}' model is not supported when using Codex with a ChatGPT account.")
    ids = Ids()
    kept = [item for item in body["input"] if isinstance(item, dict) and item.get("role") == "user"]
    sealed = {"type": "compaction", "id": ids.new("cmp"), "encrypted_content": seal(login.account_id, str(model))}
    return json_reply({"id": ids.new("resp"), "object": "response.compaction", "output": [*kept, sealed]})


def _object(request: Request) -> Json:
    try:
        body = request.json()
    except ValueError as error:
        raise detail("Invalid JSON body") from error
    if not isinstance(body, dict):
        raise detail("Input should be a valid dictionary")
    return body
