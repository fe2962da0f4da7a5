"""JSON-RPC with ``codex app-server`` over its standard input and output.

See docs/reference/codex-cli.md#asking-for-its-models.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from codexproxy.errors import UpstreamFailed, UpstreamTimeout
from codexproxy.observability.redaction import Redactor
from codexproxy.protocol.events import decode_object, encode_json
from codexproxy.upstream.codex_cli.decode.error_mapping import failure_of_exit, failure_of_text
from codexproxy.upstream.codex_cli.process.exec_transport import run_settings
from codexproxy.upstream.codex_cli.process.process import CliProcess
from codexproxy.upstream.codex_cli.run_spec import Job
from codexproxy.upstream.codex_cli.security.sandbox import DANGER, Places

Json = dict[str, Any]

# JSON-RPC 2.0 §5.1: what a server asks of us that we do not offer, approvals included.
_METHOD_NOT_FOUND = -32601


class AppServer:
    """A conversation with one app-server.

    Args:
        process: The server, started with its standard input open.
        redact: Takes secrets out of error messages.
        clock: Monotonic seconds.
    """

    def __init__(self, process: CliProcess, redact: Redactor, clock: Callable[[], float] = time.monotonic) -> None:
        self.process = process
        self._redact = redact
        self._clock = clock
        self._last_id = 0
        self._inbox: deque[Json] = deque()

    def begin(self, version: str, timeout: float) -> None:
        """Says who we are; the server takes nothing before.

        Raises:
            UpstreamFailed: It is no app-server, or an ancient one.
            UpstreamTimeout: It did not answer in time.
        """
        client = {"name": "codexproxy", "title": "codexproxy", "version": version}
        self.call("initialize", {"clientInfo": client}, timeout)
        self._send({"method": "initialized"})

    def call(self, method: str, params: Json, timeout: float) -> Json:
        """Asks, and waits for the answer; what else comes meanwhile is kept for ``read``.

        Raises:
            ProxyError: The server refused, ended, or did not answer in time.
        """
        wanted, until, others = self.ask(method, params), self._clock() + timeout, []
        try:
            while True:
                for message in self._heard(until, method):
                    if message.get("id") != wanted:
                        others.append(message)
                        continue
                    return self._result(message)
        finally:
            self._inbox.extend(others)

    def _heard(self, until: float, method: str) -> list[Json]:
        left = until - self._clock()
        messages = self.read(max(0.0, left))
        if messages is None:
            raise failure_of_exit(self.process.wait(1.0), self.process.stderr(), self._redact)
        if left <= 0 and not messages:
            raise UpstreamTimeout(f"The Codex CLI did not answer `{method}` in time. Please try again.")
        return messages

    def _result(self, message: Json) -> Json:
        error = message.get("error")
        if isinstance(error, dict):
            raise failure_of_text(str(error.get("message") or ""), self._redact)
        result = message.get("result")
        return result if isinstance(result, dict) else {}

    def ask(self, method: str, params: Json) -> int:
        """Asks without waiting; the answer comes with ``read`` under the returned id."""
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        return self._last_id

    def read(self, timeout: float) -> list[Json] | None:
        """Messages of the server: notifications, and answers that nobody waits for.

        Returns:
            The messages; ``[]`` after ``timeout`` silent seconds; None when it has ended.
        """
        if self._inbox:
            messages = list(self._inbox)
            self._inbox.clear()
            return messages
        lines = self.process.read(timeout)
        if lines is None:
            return None
        return [message for line in lines if (message := self._parsed(line)) and not self._refused(message)]

    def _parsed(self, line: bytes) -> Json:
        try:
            return decode_object(line)
        except UpstreamFailed:
            # What the CLI loads may write to its output too.
            return {}

    def _refused(self, message: Json) -> bool:
        if "method" not in message or "id" not in message:
            return False
        error = {"code": _METHOD_NOT_FOUND, "message": "This client does not decide that."}
        self._send({"id": message["id"], "error": error})
        return True

    def wait(self, seconds: float) -> int | None:
        """See ``CliProcess.wait``."""
        return self.process.wait(seconds)

    def stderr(self) -> str:
        """See ``CliProcess.stderr``."""
        return self.process.stderr()

    def _send(self, message: Json) -> None:
        self.process.send(encode_json(message) + b"\n")


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
