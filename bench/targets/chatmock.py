"""ChatMock from PyPI, in a virtual environment of its own (``make .venv-bench/.ready``).

It knows one upstream only, so it is started with the source's address where the real one stands.
"""

import os
from pathlib import Path

from bench.targets.peer import ROOT, codex_url, environment, launched, write_login
from bench.targets.server import CHAT, Server, free_port

PYTHON = Path(os.environ.get("BENCH_CHATMOCK_PYTHON") or ROOT / ".venv-bench" / "bin" / "python")


def chatmock(source_port: int, folder: Path) -> Server | None:
    """ChatMock in front of the source; None where it is not installed."""
    if not PYTHON.exists():
        return None
    port = free_port()
    write_login(folder / "auth.json")
    upstream = codex_url(source_port)
    constants = {"CHATGPT_CODEX_BASE_URL": upstream, "CHATGPT_RESPONSES_URL": upstream + "/responses"}
    command = [*launched(str(PYTHON), "chatmock.cli:main", constants), "serve", "--port", str(port)]
    environ = environment(folder, CHATGPT_LOCAL_HOME=str(folder))
    return Server("chatmock", port, {"chat": CHAT}, command, environ, folder, "/health")
