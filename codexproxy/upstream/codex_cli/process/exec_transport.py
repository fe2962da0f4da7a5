"""One ``codex exec`` per turn."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from codexproxy.protocol.deadlines import Deadlines
from codexproxy.upstream.codex_cli.decode.event_builder import Composer
from codexproxy.upstream.codex_cli.decode.exec_events import ExecDecoder
from codexproxy.upstream.codex_cli.decode.turn_reporter import Reporter
from codexproxy.upstream.codex_cli.process.argv import exec_argv
from codexproxy.upstream.codex_cli.process.launch import Launcher, Surroundings
from codexproxy.upstream.codex_cli.process.process import CliProcess
from codexproxy.upstream.codex_cli.run_spec import Job
from codexproxy.upstream.codex_cli.source import CliSource

# A CLI that has told its end has this long to end by itself, in seconds.
FAREWELL = 1.0


class ExecTransport:
    """Runs each turn in a process of its own; text comes in whole messages.

    Args:
        launcher: Starts the processes.
        now: Epoch seconds.
    """

    def __init__(self, launcher: Launcher, now: Callable[[], float] = time.time) -> None:
        self._launcher = launcher
        self._now = now

    def open(self, job: Job, body: dict[str, Any], around: Surroundings, deadlines: Deadlines) -> CliSource[bytes]:
        """Starts a run.

        Raises:
            ProxyError: It cannot be started.
        """
        with ExitStack() as owned:
            return self._started(job, body, around, deadlines, owned)

    def _started(
        self, job: Job, body: dict[str, Any], around: Surroundings, deadlines: Deadlines, owned: ExitStack
    ) -> CliSource[bytes]:
        launcher = self._launcher
        owned.callback(launcher.permits.acquire().release)
        folder = launcher.folder(owned)
        places = launcher.places(job, folder, folder.run)
        schema = folder.write_schema(job.schema) if job.schema is not None else None
        images = folder.write_images(job.prompt)
        argv = exec_argv(launcher.options.bin, job, places, around.pins, around.restraints, schema, images)
        process = launcher.start(argv, around, folder, places.workdir, owned)
        process.send(job.prompt.text.encode())
        process.end_input()
        redact = launcher.redactor(around)
        composer = Composer(body, int(self._now()))
        reporter = Reporter(composer, json_answer=job.json_answer, include_activity=job.include_activity)
        decoder = ExecDecoder(composer, reporter, redact, self._now)
        owned.callback(_let_end, process, decoder)
        # From here on the source frees it all.
        return CliSource(process, decoder, deadlines, owned.pop_all(), launcher.clock)


def _let_end(process: CliProcess, decoder: ExecDecoder) -> None:
    if decoder.progress.finished:
        process.wait(FAREWELL)
