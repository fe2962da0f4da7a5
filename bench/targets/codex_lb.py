"""codex-lb from PyPI: FastAPI, aiohttp, SQLite and uvicorn."""

import http.client
from pathlib import Path

from bench.targets.peer import PYPI, Peer, environment, write_login
from bench.targets.server import CHAT, Server, free_port

PEER = Peer("codex-lb", "codex-lb==1.24.0", PYPI, python=(3, 13))
_SETTINGS = {
    # The source speaks HTTP, not WebSocket.
    "CODEX_LB_UPSTREAM_STREAM_TRANSPORT": "http",
    "CODEX_LB_HTTP_DOWNSTREAM_TRANSPORT_POLICY": "always_http",
    "CODEX_LB_HTTP_RESPONSES_SESSION_BRIDGE_ENABLED": "false",
    # One account is allowed 8 streams, one host 50 connections.
    "CODEX_LB_PROXY_ACCOUNT_STREAM_LIMIT": "0",
    "CODEX_LB_PROXY_ACCOUNT_RESPONSE_CREATE_LIMIT": "0",
    "CODEX_LB_HTTP_CONNECTOR_LIMIT": "10000",
    "CODEX_LB_HTTP_CONNECTOR_LIMIT_PER_HOST": "10000",
    # These ask other machines.
    "CODEX_LB_TELEMETRY_ENABLED": "false",
    "CODEX_LB_MODEL_REGISTRY_ENABLED": "false",
}
_BOUNDARY = "bench-boundary"
_PART = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="auth_json"; filename="auth.json"\r\n'
    f"Content-Type: application/json\r\n\r\n%s\r\n--{_BOUNDARY}--\r\n"
)


def codex_lb(source_port: int, folder: Path) -> Server | None:
    """It in front of the source, with one account; None where it is not installed."""
    if not PEER.installed:
        return None
    port = free_port()
    login = write_login(folder / "auth.json").read_text()
    environ = environment(
        folder,
        CODEX_LB_DATA_DIR=str(folder),
        CODEX_LB_UPSTREAM_BASE_URL=f"http://127.0.0.1:{source_port}/backend-api",
        **_SETTINGS,
    )
    command = [PEER.program("codex-lb"), "--port", str(port)]
    return Server(
        PEER.name, port, {"chat": CHAT}, command, environ, folder, "/health", guest=True,
        furnish=lambda: _give_account(port, login),
    )  # fmt: skip


def _give_account(port: int, login: str) -> None:
    # Accounts live in its database, encrypted; its dashboard takes them as a file.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        head = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        connection.request("POST", "/api/accounts/import", _PART % login, head)
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"it did not take its account: {answer.status} {answer.read()[:200]!r}")
    finally:
        connection.close()
