"""Workers killed and the master reloaded, at moments nobody knows."""

import fcntl
import os
import random
import signal
import threading
from contextlib import suppress
from pathlib import Path

from bench.process import tree
from tests.soak.sockets import ports_of
from tests.soak.tally import Tally

KILL_EVERY = (6.0, 14.0)
RELOAD_EVERY = 4  # kills


class Storm(threading.Thread):
    """Kills a worker every now and then, and reloads the master after some of them.

    A worker is not killed while it holds the login's lock: between the issuer's rotation of a
    refresh token and the write of its answer nothing can save a login from SIGKILL.

    Args:
        master: gunicorn's process id.
        port: Where it listens.
        lock: The lock file of the login.
        tally: Told of every kill.
        seed: Of its choices.
    """

    def __init__(self, master: int, port: int, lock: Path, tally: Tally, seed: int) -> None:
        super().__init__(name="storm")
        self._master = master
        self._port = port
        self._lock = lock
        self._tally = tally
        self._random = random.Random(seed)
        self._over = threading.Event()

    def stop(self) -> None:
        """Ends it."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Kills and reloads until stopped."""
        number = 0
        while not self._over.wait(self._random.uniform(*KILL_EVERY)):
            number += 1
            if number % RELOAD_EVERY == 0:
                self._tally.reloads += 1
                os.kill(self._master, signal.SIGHUP)
            elif workers := list(tree(self._master))[1:]:
                self._kill(self._random.choice(workers))

    def _kill(self, worker: int) -> None:
        with suppress(ProcessLookupError), self._lock.open("a") as lock:
            os.kill(worker, signal.SIGSTOP)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(worker, signal.SIGCONT)
                return
            # Stopped, it can neither take nor end a connection any more.
            self._tally.killed(ports_of(worker, self._port))
            os.kill(worker, signal.SIGKILL)
