"""ChatMock from PyPI, in a virtual environment of its own (``make .venv-bench/.ready``).

It knows one upstream only, so it is started by a launcher that puts the source's address where the
real one stands, before the server begins; nothing else is changed.
"""

import json
import os
from pathlib import Path

from bench.targets.server import CHAT, Server, free_port, token

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("BENCH_CHATMOCK_PYTHON") or ROOT / ".venv-bench" / "bin" / "python")

_LAUNCHER = """
import sys
from chatmock import cli
upstream = sys.argv.pop(1)
addresses = {"CHATGPT_CODEX_BASE_URL": upstream, "CHATGPT_RESPONSES_URL": upstream + "/responses"}
for name, module in list(sys.modules.items()):
    if name.startswith("chatmock."):
        vars(module).update({key: url for key, url in addresses.items() if key in vars(module)})
cli.main()
"""


def chatmock(source_port: int, folder: Path) -> Server | None:
    """ChatMock in front of the source; None where it is not installed."""
    if not PYTHON.exists():
        return None
    port = free_port()
    launcher = folder / "launch.py"
    launcher.write_text(_LAUNCHER)
    tokens = {"access_token": token(), "id_token": token(), "refresh_token": "bench", "account_id": "acc-bench"}
    (folder / "auth.json").write_text(json.dumps({"tokens": tokens, "last_refresh": "2030-01-01T00:00:00Z"}))
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "CHATGPT_LOCAL_HOME": str(folder)}
    upstream = f"http://127.0.0.1:{source_port}/backend-api/codex"
    command = [str(PYTHON), str(launcher), upstream, "serve", "--port", str(port)]
    return Server("chatmock", port, {"chat": CHAT}, command, environ, folder, "/health")
