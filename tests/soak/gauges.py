"""Memory, descriptors and processes of the service while it runs."""

import statistics
import threading
import time
from dataclasses import dataclass

from bench.process import memory_mb, tree
from tests.soak.exchange import exchange
from tests.soak.sockets import links

EVERY = 1.0
# Seconds between two looks at /health.
LOOK = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stood.

    Attributes:
        at: Monotonic seconds.
        memory: Megabytes of the whole tree.
        descriptors: Open descriptors of the whole tree.
        processes: How many processes there were.
    """

    at: float
    memory: float
    descriptors: int
    processes: int


class Gauges(threading.Thread):
    """Samples the service every second.

    Args:
        master: gunicorn's process id.
    """

    def __init__(self, master: int) -> None:
        super().__init__(name="gauges")
        self._master = master
        self._over = threading.Event()
        self.samples: list[Sample] = []
        self.pids: set[int] = set()

    def stop(self) -> None:
        """Ends it."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Samples until stopped."""
        while not self._over.wait(EVERY):
            self.take()

    def take(self) -> Sample:
        """One sample."""
        pids = list(tree(self._master))
        self.pids.update(pids)
        sample = Sample(time.monotonic(), memory_mb(self._master), sum(len(links(pid)) for pid in pids), len(pids))
        self.samples.append(sample)
        return sample

    def between(self, begin: float, end: float) -> "Span":
        """What was sampled between two moments, from which growth can be told."""
        return Span([sample for sample in self.samples if begin <= sample.at <= end])


class Watch(threading.Thread):
    """Looks at /health all the time, from a connection of its own for each look.

    Args:
        port: The service's port.
    """

    def __init__(self, port: int) -> None:
        super().__init__(name="watch")
        self._port = port
        self._over = threading.Event()
        self._looks: list[tuple[float, float]] = []

    def stop(self) -> None:
        """Ends it."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Looks until stopped; what a killed worker leaves open counts for nothing."""
        while not self._over.wait(LOOK):
            seen = exchange(self._port, "GET", "/health", None, "nobody")
            if not seen.broken:
                self._looks.append((seen.began, seen.ended - seen.began))

    def between(self, begin: float, end: float) -> list[float]:
        """Seconds that each look took that began between two moments."""
        return [took for began, took in self._looks if begin <= began <= end]


@dataclass(frozen=True, slots=True)
class Span:
    """Some samples in the order of time."""

    samples: list[Sample]

    def growth(self, name: str) -> tuple[float, float]:
        """The medians of the second and of the last quarter: the first may still be warming up."""
        values = [getattr(sample, name) for sample in self.samples]
        quarter = len(values) // 4
        return statistics.median(values[quarter : 2 * quarter]), statistics.median(values[-quarter:])
