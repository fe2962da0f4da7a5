"""What the gateway layer refuses before the model sees a turn. Pure.

See docs/reference/errors.md#gateway-refusals and docs/reference/errors.md#http-errors.
"""

from dataclasses import dataclass, field
from typing import Any

from codexproxy.simulator.catalogue import ModelCatalog
from codexproxy.simulator.replies import Headers, Reply, html_reply, json_reply
from codexproxy.simulator.rules import Active
from codexproxy.simulator.tokens import AccessRefused, Login, TokenStore

Body = dict[str, Any]

ALLOWED_KEYS = frozenset(
    [
        "model",
        "stream",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "store",
        "include",
        "prompt_cache_key",
        "text",
        "client_metadata",
        "service_tier",
    ]
)


@dataclass
class Refusal(Exception):
    """An HTTP error answer."""

    status: int
    body: Any
    headers: Headers = field(default_factory=list)

    def reply(self) -> Reply:
        """The answer itself; a text body is an HTML page."""
        if isinstance(self.body, str):
            return html_reply(self.body, self.status, self.headers)
        return json_reply(self.body, self.status, self.headers)


def detail(message: str, status: int = 400) -> Refusal:
    """A refusal in the gateway's form."""
    return Refusal(status, {"detail": message})


def api_error(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> Refusal:
    """A refusal in the public API's form."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Refusal(status, {"error": error})


def _token_error(message: str, code: str, type: str | None) -> Body:
    return {"error": {"message": message, "type": type, "code": code, "param": None}, "status": 401}


UNAUTHORIZED: dict[str, Refusal] = {
    "missing": Refusal(401, {"detail": "Unauthorized"}),
    "unknown": Refusal(401, {"detail": "Unauthorized"}),
    "wrong_account": Refusal(401, {"detail": "Unauthorized"}),
    "unreadable": Refusal(401, {"detail": "Could not parse your authentication token. Please try signing in again."}),
    "expired": Refusal(
        401,
        _token_error("Provided authentication token is expired. Please try signing in again.", "token_expired", None),
        [("x-openai-ide-error-code", "token_expired")],
    ),
    "revoked": Refusal(
        401,
        _token_error(
            "Your authentication token has been invalidated. Please try signing in again.",
            "token_invalidated",
            "invalid_request_error",
        ),
        [("x-openai-ide-error-code", "token_invalidated")],
    ),
}

CHALLENGE_PAGE = (
    "<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
    "<body><h1>Checking your browser</h1><p>Enable JavaScript and cookies to continue</p></body></html>"
)


def challenge(status: int = 403) -> Refusal:
    """The page of the network in front of the real service."""
    return Refusal(status, CHALLENGE_PAGE, [("cf-mitigated", "challenge"), ("cf-ray", "9d0000000000beef-SIM")])


def authorize(headers: dict[str, str], rules: Active, tokens: TokenStore) -> Login:
    """Whose request it is.

    Raises:
        Refusal: The token or the account id is no good.
    """
    if not rules.on("authorization"):
        return Login(account_id=headers.get("chatgpt-account-id", "anonymous"))
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UNAUTHORIZED["missing"]
    try:
        login = tokens.check(token.strip())
    except AccessRefused as refused:
        raise UNAUTHORIZED[refused.kind] from refused
    if rules.on("account_id_must_match") and headers.get("chatgpt-account-id") != login.account_id:
        raise UNAUTHORIZED["wrong_account"]
    return login


_LIBRARY_AGENTS = (
    "",
    "python-requests",
    "python-urllib",
    "curl/",
    "openai/",
    "python-httpx",
    "node",
    "axios",
    "go-http",
)


def check_user_agent(headers: dict[str, str], rules: Active) -> None:
    """Raises a Refusal for a User-Agent that looks like a bare library, when that rule is on."""
    agent = headers.get("user-agent", "").lower()
    bare = not agent or any(agent.startswith(prefix) for prefix in _LIBRARY_AGENTS if prefix)
    if rules.on("user_agent_like_codex") and bare:
        raise challenge()


def check_gateway(body: Body, rules: Active, catalogue: ModelCatalog, official_instructions: str | None) -> None:
    """Raises the gateway's Refusal for a turn it does not let through."""
    _check_instructions(body.get("instructions"), rules, official_instructions)
    if rules.on("store_must_be_false") and body.get("store") is not False:
        raise detail("Store must be set to false")
    if rules.on("stream_must_be_true") and body.get("stream") is not True:
        raise detail("Stream must be set to true")
    if rules.on("unsupported_parameter"):
        for key in body:
            if key not in ALLOWED_KEYS:
                raise detail(f"Unsupported parameter: {key}")
    model = body.get("model")
    if rules.on("model_supported") and catalogue.find(model) is None:
        raise detail(f"The '{model or ''}' model is not supported when using Codex with a ChatGPT account.")
    tier = body.get("service_tier")
    if rules.on("service_tier_supported") and tier not in (None, "priority"):
        raise detail(f"Unsupported service_tier: {tier}")
    _check_input(body.get("input"), rules)


def _check_instructions(instructions: Any, rules: Active, official: str | None) -> None:
    if rules.on("instructions_required") and not isinstance(instructions, str):
        raise detail("Instructions are required")
    if rules.on("instructions_non_empty") and not instructions:
        raise detail("Instructions are required")
    if rules.on("instructions_exact") and instructions != official:
        raise detail("Instructions are not valid")


def _check_input(items: Any, rules: Active) -> None:
    if rules.on("input_must_be_list") and not isinstance(items, list):
        raise detail("Input must be a list")
    if not rules.on("system_messages_not_allowed") or not isinstance(items, list):
        return
    if any(isinstance(item, dict) and item.get("role") == "system" for item in items):
        raise detail("System messages are not allowed")


def usage_limit_error(rules: Active, plan: str, now: float) -> Body:
    """The error object of a spent usage window (docs/reference/errors.md#http-errors)."""
    seconds = int(rules.option("usage_limit", "resets_in_seconds", 9000))
    type = rules.option("usage_limit", "type", "usage_limit_reached")
    clock = {"plan_type": plan, "resets_at": int(now) + seconds, "resets_in_seconds": seconds}
    return {"type": type, "message": "The usage limit has been reached", **clock}


def check_weather(rules: Active, plan: str, now: float) -> None:
    """Raises the refusals that do not depend on the turn: limits, overload, the network in front."""
    if rules.fires("challenge_html"):
        raise challenge(rules.option("challenge_html", "status", 403))
    if rules.fires("deactivated"):
        raise Refusal(402, {"detail": {"code": "deactivated_workspace"}})
    if rules.on("usage_limit") and rules.option("usage_limit", "variant") != "in_stream" and rules.fires("usage_limit"):
        status = int(rules.option("usage_limit", "variant", 429))
        raise Refusal(status, {"error": usage_limit_error(rules, plan, now)})
    if rules.fires("rate_limit_short"):
        raise _short_limit(rules.option("rate_limit_short", "retry_after"))
    if rules.fires("overload_503"):
        raise Refusal(503, {"error": {"code": rules.option("overload_503", "code", "server_is_overloaded")}})
    if rules.fires("server_error_500"):
        message = "The server had an error while processing your request. Sorry about that!"
        error = {"message": message, "type": "server_error", "param": None, "code": "server_error"}
        raise Refusal(int(rules.option("server_error_500", "status", 500)), {"error": error})


def _short_limit(retry_after: float | None) -> Refusal:
    error = {
        "message": "Rate limit reached. Please try again in 1.2s.",
        "type": "tokens",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    headers = [] if retry_after is None else [("retry-after", f"{retry_after:g}")]
    return Refusal(429, {"error": error}, headers)
