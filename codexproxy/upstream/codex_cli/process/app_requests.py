"""What an app-server is asked for a turn. Pure."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codexproxy.upstream.codex_cli.process.argv import run_settings
from codexproxy.upstream.codex_cli.run_spec import Job
from codexproxy.upstream.codex_cli.security.permission_profile import Places
from codexproxy.upstream.codex_cli.security.sandbox import DANGER

Json = dict[str, Any]


def thread_params(job: Job, places: Places, restraints: Mapping[str, Any]) -> Json:
    """``thread/start``: a fresh thread that nobody keeps and that asks nobody for approval."""
    return {
        "model": job.model,
        "cwd": str(places.workdir),
        "ephemeral": True,
        "approvalPolicy": "never",
        **({"sandbox": DANGER} if job.sandbox.mode == DANGER else {}),
        "config": run_settings(job, places, restraints),
    }


def turn_params(thread: str, job: Job, images: Iterable[Path]) -> Json:
    """``turn/start``: the images in order, then the prompt, as ``codex exec`` sends them."""
    pictures = [{"type": "localImage", "path": str(path)} for path in images]
    params: Json = {"threadId": thread, "input": [*pictures, {"type": "text", "text": job.prompt.text}]}
    return params if job.schema is None else {**params, "outputSchema": job.schema}
