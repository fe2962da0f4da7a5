"""The local Codex CLI as a backend."""

import secrets
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from codexproxy.errors import InvalidRequest, NotOffered, PermissionRefused, UpstreamFailed, UpstreamTimeout
from codexproxy.metering.charge import note_sent
from codexproxy.protocol.request import Turn, encoded
from codexproxy.protocol.stream import Deadlines, EventStream, ResponseMetadata, Source
from codexproxy.provider_types import CODEX_CLI
from codexproxy.upstream.base import Backend, Permits
from codexproxy.upstream.codex_cli.process.app_transport import AppTransport
from codexproxy.upstream.codex_cli.process.exec_transport import ExecTransport, exec_argv
from codexproxy.upstream.codex_cli.process.launch import Launcher, Surroundings
from codexproxy.upstream.codex_cli.process.run_folder import sweep
from codexproxy.upstream.codex_cli.queries import Inquiries
from codexproxy.upstream.codex_cli.run_spec import CodexCliOptions, Job, job_of, tools_of
from codexproxy.upstream.codex_cli.security.sandbox import DANGER, Places, check_access

# How long, in seconds, a CLI that has no app-server is not asked for one again.
EXEC_FOR = 300.0


@contextmanager
def told_plainly() -> Iterator[None]:
    """Makes files that cannot be written an error with an answer.

    Raises:
        UpstreamFailed: ``codex_cli_failed``.
    """
    try:
        yield
    except OSError as error:
        raise UpstreamFailed(
            f"The Codex CLI's files cannot be written ({error.strerror}: {error.filename}). "
            "Please check the disk's space and the folder's owner.",
            code="codex_cli_failed",
        ) from error


class CodexCliBackend(Backend):
    """Runs turns in the Codex CLI of this machine.

    Args:
        name: The provider's name.
        options: How the CLI is run.
        permits: How many of its processes may run on this host; no limit when omitted.
        patience: Seconds of silence after which a stream yields ``[]``.
        is_own: Whether instructions are those the CLI brings along, so that they are left out.
        clock: Monotonic seconds.
        now: Epoch seconds.
    """

    capabilities = CODEX_CLI

    def __init__(
        self,
        name: str,
        options: CodexCliOptions,
        *,
        permits: Permits | None = None,
        patience: float = 15.0,
        is_own: Callable[[str], bool] = lambda text: False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._options = options
        self._patience = patience
        self._is_own = is_own
        self._clock = clock
        self._secret = options.secret or secrets.token_bytes(32)
        self._launcher = Launcher(options, permits, clock)
        self._exec = ExecTransport(self._launcher, now)
        self._app = AppTransport(self._launcher, now)
        self._inquiries = Inquiries(self._launcher, self._app)
        self._exec_until = float("-inf")
        # Also at the end of the worker, whoever stops it.
        weakref.finalize(self, self._app.close)
        sweep(options.scratch)

    def supports(self, turn: Turn) -> bool:
        """See ``Backend.supports``."""
        try:
            check_access(turn.caller.cli)
            tools_of(turn.body)
        except (InvalidRequest, PermissionRefused):
            return False
        return turn.count == 1

    def prepare(self, turn: Turn) -> Turn:
        """The turn with a note of all that the CLI cannot honour; nothing is started.

        Raises:
            ProxyError: The turn cannot be run here.
        """
        return turn.with_notes(ignored=self._job(turn).ignored)

    def preview(self, turn: Turn) -> dict[str, Any]:
        """The command a turn would be run with, and its prompt; nothing is started.

        Raises:
            ProxyError: The turn cannot be run here.
        """
        job, around = self._job(turn), self._launcher.surroundings()
        folder = self._options.scratch / "…"
        temporary, schema = folder / "tmp", folder / "in" if job.schema else None
        hidden = self._options.hidden_places()
        places = Places("…", temporary, job.workdir or temporary / "work", hidden, job.scope)
        argv = exec_argv(self._options.bin, job, places, around.pins, around.restraints, schema)
        # Where things are on this machine is the owner's own business.
        argv = argv[:1] if job.restrained else argv
        return {"command": argv, "input": job.prompt.text, "images": len(job.prompt.images), "ignored": job.ignored}

    def open(self, turn: Turn) -> EventStream:
        """See ``Backend.open``; the stream's answerer names what is not honoured."""
        job, around = self._job(turn), self._launcher.surroundings()
        with told_plainly():
            if job.sandbox.mode != DANGER:
                self._inquiries.require_confinement()
            source = self._source(job, turn.body, around, Deadlines(self._options.limits, self._clock()))
        note_sent(turn, len(encoded(turn)))
        return EventStream(source, self._patience, ResponseMetadata(self.name, ignored=job.ignored))

    def _job(self, turn: Turn) -> Job:
        if turn.count > 1:
            raise InvalidRequest(
                "The Codex CLI gives one answer per request. Please leave `n` out.",
                code="unsupported_parameter",
                param="n",
            )
        return job_of(turn, self._options, self._secret, self._is_own)

    def _source(self, job: Job, body: dict[str, Any], around: Surroundings, deadlines: Deadlines) -> Source:
        if self._options.transport == "exec" or self._clock() < self._exec_until:
            return self._exec.open(job, body, around, deadlines)
        try:
            warm = self._app.lease(around)
        except (UpstreamFailed, UpstreamTimeout):
            if self._options.transport != "auto":
                raise
            # What is wrong with the CLI itself, the other transport will tell.
            self._exec_until = self._clock() + EXEC_FOR
            return self._exec.open(job, body, around, deadlines)
        return self._app.open(warm, job, body, around, deadlines)

    def models(self) -> list[dict[str, Any]]:
        """See ``Backend.models``."""
        with told_plainly():
            return self._inquiries.models()

    def usage(self) -> dict[str, Any]:
        """See ``Backend.usage``."""
        with told_plainly():
            return self._inquiries.usage()

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """The CLI keeps no conversation of ours that it could compact.

        Raises:
            NotOffered: Always.
        """
        raise NotOffered("The Codex CLI cannot compact a conversation.")

    def problem(self) -> str | None:
        """See ``Backend.problem``."""
        with told_plainly():
            return self._inquiries.problem()

    def idle(self) -> int:
        """How many warm processes wait for a turn."""
        return len(self._app.pool)

    def close(self) -> None:
        """Ends the idle processes; running turns end with their streams."""
        self._app.close()
