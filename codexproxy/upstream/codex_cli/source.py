"""A run of the CLI as a source of events, whichever transport it uses."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Generic, Protocol, TypeVar

from codexproxy.errors import ProxyError
from codexproxy.protocol.events import Batch
from codexproxy.protocol.stream import Deadlines
from codexproxy.upstream.codex_cli.decode.progress import Progress

Said = TypeVar("Said")

# A CLI that has closed its output has this long to tell its exit status.
EXIT_SECONDS = 1.0


class Reader(Protocol[Said]):
    """Gives what the CLI says: lines of a run, or messages of an app-server."""

    def read(self, timeout: float) -> list[Said] | None:
        """What has come; ``[]`` after ``timeout`` silent seconds; None at the end."""

    def wait(self, seconds: float) -> int | None:
        """The exit status; None while it runs."""

    def stderr(self) -> str:
        """The end of its standard error."""


class Decoder(Protocol[Said]):
    """Turns what the CLI says into events."""

    progress: Progress

    def feed(self, said: list[Said]) -> Batch:
        """The events of this; ``progress`` says whether the turn has failed."""

    def ended(self, status: int | None, stderr: str) -> ProxyError | None:
        """What it means that the CLI says nothing more."""


class CliSource(Generic[Said]):
    """Events of one run (``protocol.stream.Source``).

    Args:
        reader: What the CLI says.
        decoder: What that means.
        deadlines: The turn's clocks.
        owned: Frees all that the run holds; closed with the source, and before a failure is raised.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        reader: Reader[Said],
        decoder: Decoder[Said],
        deadlines: Deadlines,
        owned: ExitStack,
        clock: Callable[[], float],
    ) -> None:
        self._reader = reader
        self._decoder = decoder
        self._deadlines = deadlines
        self._owned = owned
        self._clock = clock
        self._closed = False

    def read(self, patience: float) -> Batch | None:
        """See ``Source.read``.

        Raises:
            ProxyError: The turn failed, or the CLI did.
            UpstreamTimeout: A limit ran out.
        """
        try:
            return None if self._closed else self._read(self._clock() + patience)
        except ProxyError:
            self.close()
            raise

    def _read(self, until: float) -> Batch | None:
        while True:
            if self._decoder.progress.failure is not None:
                raise self._decoder.progress.failure
            left = min(until - self._clock(), self._deadlines.left(self._clock()))
            said = self._reader.read(max(0.0, left))
            if said is None:
                self._check_end()
                return None
            if said:
                self._deadlines.heard(self._clock())
            batch = self._decoder.feed(said)
            if batch or self._clock() >= until:
                return batch

    def _check_end(self) -> None:
        failure = self._decoder.ended(self._reader.wait(EXIT_SECONDS), self._reader.stderr())
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Ends the run, or gives its process back, and frees what it held; harmless when called twice."""
        self._closed = True
        self._owned.close()
