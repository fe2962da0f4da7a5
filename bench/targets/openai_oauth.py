"""openai-oauth from npm: Node with the AI SDK."""

from pathlib import Path

from bench.targets.peer import NPM, Peer, environment, redirected, write_login
from bench.targets.server import CHAT, Server, free_port

PEER = Peer("openai-oauth", "openai-oauth@2.0.0", NPM)


def openai_oauth(source_port: int, folder: Path) -> Server | None:
    """It in front of the source; None where it is not installed."""
    if not PEER.installed:
        return None
    port = free_port()
    write_login(folder / "auth.json")
    # With a version given it asks nobody for the newest.
    options = ["--no-open", "--codex-version", "0.144.0", "--port", str(port)]
    command = [*PEER.node("openai-oauth/dist/cli.js"), *options]
    environ = environment(folder, CODEX_HOME=str(folder), **redirected(source_port))
    return Server(PEER.name, port, {"chat": CHAT}, command, environ, folder, "/health", guest=True)
