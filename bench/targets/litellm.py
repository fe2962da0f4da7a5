"""LiteLLM's proxy from PyPI with its ``chatgpt/`` provider."""

import time
from pathlib import Path

from bench.scenarios import MODEL
from bench.targets.peer import PYPI, Peer, codex_url, environment, tokens, write_json
from bench.targets.server import CHAT, Server, free_port

PEER = Peer("litellm", "litellm[proxy]==1.105.3", PYPI)
_SETTINGS = {
    # It takes a hundred equal deltas for a model gone astray; flat out, all the source's are equal.
    "REPEATED_STREAMING_CHUNK_LIMIT": "100000000",
    # Nobody need show a key, as with the others.
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    # This asks another machine.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def litellm(source_port: int, folder: Path) -> Server | None:
    """It in front of the source; None where it is not installed."""
    if not PEER.installed:
        return None
    port = free_port()
    write_json(folder / "auth.json", {**tokens(), "expires_at": int(time.time()) + 24 * 3600})
    parameters = {"model": f"chatgpt/{MODEL}"}
    model = {"model_name": MODEL, "litellm_params": parameters, "model_info": {"mode": "responses"}}
    # It reads YAML, of which JSON is a part.
    configuration = write_json(folder / "config.yaml", {"model_list": [model]})
    environ = environment(folder, CHATGPT_TOKEN_DIR=str(folder), CHATGPT_API_BASE=codex_url(source_port), **_SETTINGS)
    command = [PEER.program("litellm"), "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)]
    return Server(
        PEER.name, port, {"chat": CHAT}, [*command, "--telemetry", "False"], environ, folder, "/health/liveliness",
        guest=True,
    )  # fmt: skip
