"""codex-api-proxy from PyPI: FastAPI, httpx and uvicorn."""

from pathlib import Path

from bench.targets.peer import PYPI, Peer, codex_url, environment, launched, write_login
from bench.targets.server import CHAT, Server, free_port

PEER = Peer("codex-api-proxy", "codex-api-proxy==0.1.6", PYPI)
# Of its 200 streams in S2 httpx would let a hundred wait for the others to end.
_NO_CAP = {"httpx._config:DEFAULT_LIMITS": {"max_connections": None}}


def codex_api_proxy(source_port: int, folder: Path) -> Server | None:
    """It in front of the source; None where it is not installed."""
    if not PEER.installed:
        return None
    port = free_port()
    write_login(folder / "auth.json")
    constants = {"CHATGPT_CODEX_BASE_URL": codex_url(source_port)}
    start = launched(PEER.program("python"), "codex_api_proxy.cli:main", constants, _NO_CAP)
    command = [*start, "start", "--foreground", "--port", str(port)]
    environ = environment(folder, CODEX_HOME=str(folder))
    return Server(PEER.name, port, {"chat": CHAT}, command, environ, folder, "/health", guest=True)
