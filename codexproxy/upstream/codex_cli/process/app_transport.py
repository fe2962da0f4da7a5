"""Turns on app-servers: text as it is written, processes that are warm."""

import time
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from typing import Any

import codexproxy
from codexproxy.errors import ProxyError, UpstreamTimeout
from codexproxy.protocol.stream import Deadlines
from codexproxy.upstream.codex_cli.decode.app_events import AppDecoder, thread_of
from codexproxy.upstream.codex_cli.decode.event_builder import Composer
from codexproxy.upstream.codex_cli.decode.progress import Reporter
from codexproxy.upstream.codex_cli.process.app_server import AppServer, thread_params, turn_params
from codexproxy.upstream.codex_cli.process.exec_transport import overrides
from codexproxy.upstream.codex_cli.process.launch import Launcher, Surroundings
from codexproxy.upstream.codex_cli.process.pool import Pool
from codexproxy.upstream.codex_cli.process.run_folder import processes_of
from codexproxy.upstream.codex_cli.run_spec import Job
from codexproxy.upstream.codex_cli.source import CliSource

# How long, in seconds, a server may take to answer what it answers at once.
PROMPTLY = 10.0

# How long, in seconds, a CLI whose app-server did not answer is not asked for one again.
SILENT_FOR = 300.0

# The same for the end of a turn, whose client has its answer already.
PARTING = 2.0


class WarmServer:
    """An app-server with all that it holds.

    Args:
        server: The conversation with it.
        run: Identity of its processes.
        stamp: The configuration it was started under.
        owned: Frees its process, folder and permit.
    """

    def __init__(self, server: AppServer, run: str, stamp: Hashable, owned: ExitStack) -> None:
        self.server = server
        self.stamp = stamp
        self.turns = 0
        self.run = run
        self._owned = owned
        self._family = frozenset(processes_of(run))

    def is_running(self) -> bool:
        """See ``pool.Warm``."""
        return self.server.process.is_running()

    def has_left_something(self) -> bool:
        """Whether a command of an earlier turn still runs."""
        return not self._family.issuperset(processes_of(self.run))

    def end(self) -> None:
        """See ``pool.Warm``."""
        self._owned.close()


class AppTransport:
    """Runs each turn in a fresh thread of an app-server.

    Args:
        launcher: Starts the processes.
        now: Epoch seconds.
    """

    def __init__(self, launcher: Launcher, now: Callable[[], float] = time.time) -> None:
        options = launcher.options
        self._launcher = launcher
        self._now = now
        self.pool: Pool[WarmServer] = Pool(
            launcher.permits, options.max_warm, options.warm_seconds, clock=launcher.clock
        )
        self._silent_until = float("-inf")

    def lease(self, around: Surroundings) -> WarmServer:
        """A warm server, else a new one.

        Raises:
            ProxyError: None can be started, or the last one did not answer a while ago.
        """
        # Whoever came before us goes first: the idle ones end to make room for them.
        warm = None if self._launcher.permits.waiting() else self.pool.take(around.stamp)
        return warm or self._start(around)

    def _start(self, around: Surroundings) -> WarmServer:
        launcher = self._launcher
        if launcher.clock() < self._silent_until:
            raise UpstreamTimeout(
                "The Codex CLI's app-server did not answer. Another attempt is made in a few minutes."
            )
        with ExitStack() as owned:
            owned.callback(launcher.permits.acquire().release)
            folder = launcher.folder(owned)
            argv = [launcher.options.bin, "app-server", *overrides(around.pins)]
            process = launcher.start(argv, around, folder, folder.work, owned)
            server = AppServer(process, launcher.redactor(around), launcher.clock)
            self._greet(server)
            return WarmServer(server, folder.run, around.stamp, owned.pop_all())

    def _greet(self, server: AppServer) -> None:
        try:
            server.begin(codexproxy.__version__, self._launcher.options.limits.connect or PROMPTLY)
        except UpstreamTimeout:
            self._silent_until = self._launcher.clock() + SILENT_FOR
            raise

    def open(
        self, warm: WarmServer, job: Job, body: dict[str, Any], around: Surroundings, deadlines: Deadlines
    ) -> CliSource[dict[str, Any]]:
        """Starts a turn on a leased server, which is given back or ended with the source.

        Raises:
            ProxyError: It cannot be started.
        """
        with ExitStack() as owned:
            owned.callback(warm.end)
            folder = self._launcher.folder(owned)
            places, server = self._launcher.places(job, folder, warm.run), warm.server
            result = server.call("thread/start", thread_params(job, places, around.restraints), PROMPTLY)
            thread = thread_of(result)
            request = server.ask("turn/start", turn_params(thread, job, folder.write_images(job.prompt)))
            composer = Composer(body, int(self._now()))
            reporter = Reporter(composer, json_answer=job.json_answer, include_activity=job.include_activity)
            decoder = AppDecoder(thread, request, composer, reporter, self._launcher.redactor(around), self._now)
            owned.pop_all()
            freed = ExitStack()
            freed.callback(folder.remove)
            freed.callback(self._settle, warm, thread, decoder)
            return CliSource(server, decoder, deadlines, freed, self._launcher.clock)

    def _settle(self, warm: WarmServer, thread: str, decoder: AppDecoder) -> None:
        """Gives a server back that has finished its turn; ends any other."""
        warm.turns += 1
        with ExitStack() as unless_kept:
            unless_kept.callback(warm.end)
            if not decoder.progress.finished or warm.turns >= self._launcher.options.max_turns:
                return
            try:
                warm.server.call("thread/unsubscribe", {"threadId": thread}, PARTING)
            except ProxyError:
                return
            if warm.has_left_something():
                return
            unless_kept.pop_all()
        self.pool.give_back(warm)

    def close(self) -> None:
        """Ends the idle servers."""
        self.pool.close()
