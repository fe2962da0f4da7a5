"""codex-proapi from npm: Node with Express."""

from pathlib import Path

from bench.targets.peer import NPM, Peer, environment, redirected, tokens, write_json
from bench.targets.server import CHAT, Server, free_port

PEER = Peer("codex-proapi", "codex-proapi@1.0.8", NPM)


def codex_proapi(source_port: int, folder: Path) -> Server | None:
    """It in front of the source; None where it is not installed."""
    if not PEER.installed:
        return None
    port = free_port()
    accounts = write_json(folder / "accounts.json", {"accounts": [tokens()]})
    environ = environment(
        folder,
        PORT=str(port),
        CODEX_ACCOUNTS_FILE=str(accounts),
        CODEX_DATA_DIR=str(folder),
        **redirected(source_port),
    )
    # Started as its `npm start` does: the program of its package ends without serving (1.0.8).
    command = PEER.node("codex-proapi/src/index.js")
    return Server(PEER.name, port, {"chat": CHAT}, command, environ, folder, "/health", guest=True)
