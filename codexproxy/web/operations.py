"""The public routes, as a table: from it come ``/openapi.json`` and ``/docs``.

Paths are written with ``/v1``; each also answers without it (see ``paths``).
A test compares the table with the routes that exist.
"""

from dataclasses import dataclass

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
        open: Whether it answers without a key.
        kind: Content type of its answer.
    """

    method: str
    path: str
    tag: str
    summary: str
    body: str = ""
    streams: bool = False
    open: bool = False
    kind: str = "application/json"


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
    Operation("post", "/auth/login", LOGIN, "Begins a login in a browser.", "Anything"),
    Operation("post", "/auth/device", LOGIN, "Begins a login with a code."),
    Operation("post", "/auth/callback", LOGIN, "Takes the address a browser ended at.", "Anything"),
    Operation("get", "/auth/status", LOGIN, "Who is logged in; never a token."),
    Operation("post", "/auth/logout", LOGIN, "Logs out."),
    Operation("get", "/v1/quota", STATUS, "How much of the accounts is used."),
    Operation("get", "/health", STATUS, "Whether the process lives.", open=True),
    Operation("get", "/ready", STATUS, "Whether turns can be served; 503 with reasons otherwise.", open=True),
    Operation("get", "/metrics", STATUS, "Numbers for Prometheus.", kind="text/plain"),
    Operation("get", "/openapi.json", STATUS, "This description."),
    Operation("get", "/docs", STATUS, "This description as a page.", kind="text/html"),
)
