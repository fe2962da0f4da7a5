"""The routes, as a table: from it come ``/openapi.json``, ``/docs`` and who may ask what.

Paths are written with ``/v1``; each also answers without it (see ``paths``).
A test compares the table with the routes that exist; one that is missing here
is for the owner alone.
"""

import re
from dataclasses import dataclass
from functools import cache

from codexproxy.access.authorization import Right
from codexproxy.server.path_aliases import canonical

CHAT, TEXT, RESPONSES, MODELS = "Chat", "Text", "Responses", "Models"
LOGIN, STATUS = "Login", "Status"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    Attributes:
        method: In lower case.
        path: With ``/v1``; parameters in braces.
        tag: The group it belongs to.
        summary: What it does, in one line.
        body: Name of the schema of its body; empty without one.
        streams: Whether it can answer with events.
        right: What its caller needs.
        kind: Content type of its answer.
    """

    method: str
    path: str
    tag: str
    summary: str
    body: str = ""
    streams: bool = False
    right: Right = Right.ASK
    kind: str = "application/json"

    @property
    def open(self) -> bool:
        """Whether it answers without a key."""
        return self.right is Right.OPEN


OPERATIONS = (
    Operation("post", "/v1/chat/completions", CHAT, "A chat completion.", "ChatRequest", streams=True),
    Operation("post", "/v1/completions", TEXT, "A completion of a text.", "CompletionRequest", streams=True),
    Operation("post", "/v1/responses", RESPONSES, "A response.", "ResponseRequest", streams=True),
    Operation("get", "/v1/responses", RESPONSES, "Refuses WebSockets: requests are sent with POST."),
    Operation("get", "/v1/responses/{id}", RESPONSES, "A stored response, or its events again.", streams=True),
    Operation("delete", "/v1/responses/{id}", RESPONSES, "Forgets a stored response."),
    Operation("get", "/v1/responses/{id}/input_items", RESPONSES, "What a stored response was asked."),
    Operation("post", "/v1/responses/{id}/cancel", RESPONSES, "Ends a response that is made in the background."),
    Operation("post", "/v1/responses/input_tokens", RESPONSES, "Counts the input's tokens.", "ResponseRequest"),
    Operation("post", "/v1/responses/compact", RESPONSES, "Shortens a conversation.", "ResponseRequest"),
    Operation("get", "/v1/models", MODELS, "What can be asked for."),
    Operation("get", "/v1/models/{name}", MODELS, "One model; its name may hold slashes."),
    Operation("post", "/auth/login", LOGIN, "Begins a login in a browser.", "Anything", right=Right.OWN),
    Operation("post", "/auth/device", LOGIN, "Begins a login with a code.", right=Right.OWN),
    Operation("post", "/auth/callback", LOGIN, "Takes the address a browser ended at.", "Anything", right=Right.OWN),
    Operation("get", "/auth/status", LOGIN, "Who is logged in; never a token.", right=Right.OWN),
    Operation("post", "/auth/logout", LOGIN, "Logs out.", right=Right.OWN),
    Operation("get", "/v1/quota", STATUS, "How much of the accounts is used."),
    Operation("get", "/health", STATUS, "Whether the process lives.", right=Right.OPEN),
    Operation("get", "/ready", STATUS, "Whether turns can be served; 503 with reasons otherwise.", right=Right.OPEN),
    Operation("get", "/metrics", STATUS, "Numbers for Prometheus.", right=Right.MEASURE, kind="text/plain"),
    Operation("get", "/openapi.json", STATUS, "This description."),
    Operation("get", "/docs", STATUS, "This description as a page.", kind="text/html"),
)

# What only the Codex CLI asks for, below the path of its own backend.
NATIVE_OPERATIONS = (
    Operation("post", "/backend-api/codex/responses", RESPONSES, "A response.", streams=True),
    Operation("get", "/backend-api/codex/responses", RESPONSES, "Refuses WebSockets: requests are sent with POST."),
    Operation("post", "/backend-api/codex/responses/compact", RESPONSES, "Shortens a conversation."),
    Operation("get", "/backend-api/codex/models", MODELS, "Upstream's catalogue."),
    Operation("get", "/backend-api/wham/usage", STATUS, "How much of the account is used."),
    Operation("get", "/backend-api/wham/accounts/check", STATUS, "One account, whose turns come here."),
)

# Method and registered path, parameters in braces -> what the caller needs.
RIGHTS = {
    (operation.method.upper(), canonical(operation.path)): operation.right
    for operation in (*OPERATIONS, *NATIVE_OPERATIONS)
}
# Whatever method is tried on these, no key is asked for.
OPEN_PATHS = frozenset(path for (_, path), right in RIGHTS.items() if right is Right.OPEN)


def right_needed(method: str, rule: str | None) -> Right:
    """What a request needs of its caller.

    Args:
        method: The HTTP method.
        rule: Flask's rule for its path, ``/models/<path:name>``; None when there is none, which any caller may hear.
    """
    return Right.ASK if rule is None else _right_of("GET" if method == "HEAD" else method, rule)


@cache  # Flask's rules are few, and only their own methods reach them.
def _right_of(method: str, rule: str) -> Right:
    return RIGHTS.get((method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)), Right.OWN)
