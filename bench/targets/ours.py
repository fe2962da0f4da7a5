"""codexproxy itself: default settings, every feature on, started as a deployment starts it."""

import json
import os
import sys
import time
from pathlib import Path

from bench.targets.server import CHAT, RESPONSES, Server, free_port, token

ROOT = Path(__file__).resolve().parents[2]


def ours(source_port: int, folder: Path, workers: int = 1) -> Server:
    """The product with one worker, as is the default, or more."""
    port = free_port()
    data = folder / "data"
    data.mkdir(mode=0o700)
    now = int(time.time() * 1000)
    tokens = {
        "access_token": token(),
        "refresh_token": "bench",
        "account_id": "acc-bench",
        "expires_at": now + 10 * 24 * 3600 * 1000,
        "updated_at": now,
    }
    path = data / "tokens.json"
    path.write_text(json.dumps(tokens))
    path.chmod(0o600)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PORT": str(port),
        "DATA_DIR": str(data),
        "CODEX_BACKEND_URL": f"http://127.0.0.1:{source_port}/backend-api",
        "CODEX_AUTH_ISSUER": f"http://127.0.0.1:{source_port}",
        "WEB_CONCURRENCY": str(workers),
    }
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(ROOT), "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app"]
    environ["PYTHONPATH"] = str(ROOT)
    name = "ours" if workers == 1 else f"ours, {workers} workers"
    return Server(name, port, {"chat": CHAT, "responses": RESPONSES}, command, environ, folder, "/health")
