"""Turns under way, noted where a worker that is killed leaves them behind.

Each worker has a file of fixed-size slots and holds it locked. A turn's slot says
who asked and what it cost so far; at its end the slot takes the whole row, until
that row is in the ledger. Notes go to the page cache (one ``pwrite``, nothing is
flushed), so they survive the process, not the host. A file that nobody locks belongs
to a worker that is gone: whoever locks it next may settle it (``server/settlement.py``).
"""

import fcntl
import json
import logging
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path

import gevent

from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.storage.files.locks import try_lock
from codexproxy.storage.sqlite.ledger import TurnRecord

# How its files end.
SUFFIX = ".turns"
# Turns of one worker that have a slot at a time; a slot's bytes; and the seconds between two notes of a turn.
MOST_SLOTS, SLOT, EVERY = 8192, 1024, 0.5
# Seconds until a file that could not be made or written is tried again.
PAUSE = 30.0

# The first slot names the format, so that another version reads no nonsense.
MAGIC = b"codexproxy turns 1\n"
FREE, RUNNING, ENDED = range(3)

# State, whether its tokens were charged, length and checksum of the text; then what changes while a turn goes on:
# tokens in, cached, out, of reasoning, and milliseconds.
HEAD, COSTS = struct.Struct("<BBHI"), struct.Struct("<5q")
CHARGED_AT, COSTS_AT, TEXT_AT = 1, HEAD.size, HEAD.size + COSTS.size
COSTING = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "total_ms")
CHARGED = 1
_costs = attrgetter(*COSTING)
_all = attrgetter(*(column.name for column in fields(TurnRecord)))
_others = attrgetter(*(column.name for column in fields(TurnRecord) if column.name not in COSTING))
# Characters of a text that is too long, at which it is cut.
_CUT = 24

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays for a turn.

    Attributes:
        owner: Under which the key's use is counted.
        tokens_per_day: What it may use; None where nothing limits it.
    """

    owner: str = ""
    tokens_per_day: int | None = None


@dataclass(slots=True)
class Slot:
    """The place of one turn, in the worker that runs it.

    Attributes:
        row: What is known of the turn.
        account: Who pays.
        number: The slot's number; 0 for a turn that has none.
        state: ``RUNNING`` or ``ENDED``.
        charged: Whether its tokens were counted.
    """

    row: TurnRecord
    account: Account
    number: int = 0
    state: int = RUNNING
    charged: bool = False


class Journal:
    """The file of this worker; nothing here raises or waits for others.

    A turn beyond the bound, and any while the file cannot be written, has no slot: were the
    worker killed, nothing would be known of it.

    Args:
        folder: Holds the files of all workers.
        pause: Lets others run.
        most: Turns that may have a slot.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        pause: Callable[[], object],
        most: int = MOST_SLOTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._pause = pause
        self._most = most
        self._clock = clock
        self._file: int | None = None
        self._path: Path | None = None
        self._free: list[int] = []
        self._used = 0
        self._retry_at = float("-inf")
        self._watched: dict[int, Callable[[], object]] = {}
        self._watcher: object = None

    def begin(self, row: TurnRecord, account: Account, look: Callable[[], object] | None = None) -> Slot:
        """Notes a turn.

        Args:
            row: What is known of it.
            account: Who pays.
            look: Called now and then until the turn ends; notes what it cost so far.
        """
        slot = Slot(row, account, self._take())
        self._write(slot)
        if slot.number and look is not None:
            self._watched[slot.number] = look
            if self._watcher is None:
                self._watcher = gevent.spawn_later(EVERY, self._watch)
        return slot

    def note(self, slot: Slot, row: TurnRecord, *, charged: bool = False) -> None:
        """Notes what a turn cost so far, and that this was counted."""
        before, slot.row, slot.charged = slot.row, row, slot.charged or charged
        if _others(row) != _others(before):
            self._write(slot)
        elif slot.number:
            self._put(place_of(slot.number) + COSTS_AT, COSTS.pack(*_costs(row)))
            if charged:
                self._put(place_of(slot.number) + CHARGED_AT, bytes([CHARGED]))

    def end(self, slot: Slot | None, row: TurnRecord) -> Slot:
        """Notes the row of a turn that ended, also of one that never began; its slot is kept until ``free``."""
        slot = slot or Slot(row, Account(), self._take())
        self._watched.pop(slot.number, None)
        slot.row, slot.state = row, ENDED
        self._write(slot)
        return slot

    def free(self, slot: Slot) -> None:
        """Forgets a turn; harmless when called twice."""
        number, slot.number = slot.number, 0
        if number:
            self._watched.pop(number, None)
            self._put(place_of(number), bytes([FREE]))
            self._free.append(number)

    def close(self) -> None:
        """Ends the file; one that holds turns still is left to be settled."""
        if self._file is None or self._path is None:
            return
        if len(self._free) == self._used:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def _take(self) -> int:
        if self._file is None and not self._open():
            return 0
        # Not asked before it is taken, since a thread gives places back.
        with suppress(IndexError):
            return self._free.pop()
        if self._used == self._most:
            self._complain(f"{self._most} turns at a time are recorded at most")
            return 0
        self._used += 1
        return self._used

    def _open(self) -> bool:
        if self._clock() < self._retry_at:
            return False
        try:
            make_private_folder(self._folder)
            descriptor, draft = tempfile.mkstemp(prefix=f"{os.getpid()}-", suffix=".tmp", dir=self._folder)
            # Locked and begun before it has the name by which others look at it.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(descriptor, MAGIC, 0)
            self._path = Path(draft).with_suffix(SUFFIX)
            os.rename(draft, self._path)
        except OSError as error:
            self._complain(str(error))
            return False
        self._file = descriptor
        return True

    def _write(self, slot: Slot) -> None:
        if not slot.number:
            return
        text = _text(slot)
        head = HEAD.pack(slot.state, slot.charged, len(text), zlib.crc32(text))
        if not self._put(place_of(slot.number), head + COSTS.pack(*_costs(slot.row)) + text):
            self.free(slot)

    def _put(self, place: int, data: bytes) -> bool:
        try:
            return self._file is not None and os.pwrite(self._file, data, place) == len(data)
        except OSError as error:
            self._complain(str(error))
            return False

    def _complain(self, reason: str) -> None:
        if self._clock() >= self._retry_at:
            self._retry_at = self._clock() + PAUSE
            log.warning("turns are not recorded and would be lost if this worker was killed: %s", reason)

    def _watch(self) -> None:
        try:
            while self._watched:
                for number in list(self._watched):
                    self._look(number)
                    self._pause()
                gevent.sleep(EVERY)
        finally:
            # Whatever ended it, the next turn begins another.
            self._watcher = None

    def _look(self, number: int) -> None:
        look = self._watched.get(number)
        try:
            if look is not None:
                look()
        except Exception:  # a bug about one turn must not keep the others from being noted
            log.exception("a turn was not recorded")
            self._watched.pop(number, None)


def place_of(number: int) -> int:
    """Where a slot begins in its file."""
    return number * SLOT


def _text(slot: Slot) -> bytes:
    """Everything but the costs, cut where it does not fit."""
    text = _encoded(slot, _all(slot.row))
    if len(text) <= SLOT - TEXT_AT:
        return text
    at, key, *others = _all(slot.row)
    cut = [value[:_CUT] if isinstance(value, str) else value for value in others]
    return _encoded(slot, [at, key, *cut])[: SLOT - TEXT_AT]


def _encoded(slot: Slot, values: Iterable[object]) -> bytes:
    text = json.dumps([slot.account.owner, slot.account.tokens_per_day, *values], ensure_ascii=False)
    return text.encode(errors="replace")  # half a character, which no database takes


class Leftover:
    """The file of a worker that is gone, locked by this process.

    Attributes:
        slots: The turns in it; what is no turn is passed over.
    """

    def __init__(self, path: Path, descriptor: int, pause: Callable[[], object] = tuple) -> None:
        self._path = path
        self._file = descriptor
        self.slots: list[Slot] = []
        if os.pread(descriptor, len(MAGIC), 0) != MAGIC:
            log.warning("%s in the data folder is no journal of this version; it is removed", path.name)
            return
        for number in range(1, min(os.fstat(descriptor).st_size // SLOT, MOST_SLOTS) + 1):
            slot = _read(number, os.pread(descriptor, SLOT, place_of(number)))
            if slot is not None:
                self.slots.append(slot)
            pause()

    def charged(self, slot: Slot) -> None:
        """Notes that a turn's tokens were counted, should this process be killed as well.

        Raises:
            OSError: The file cannot be written.
        """
        slot.charged = True
        os.pwrite(self._file, bytes([CHARGED]), place_of(slot.number) + CHARGED_AT)

    def remove(self) -> None:
        """Removes the file: all is settled."""
        self._path.unlink(missing_ok=True)


def leftovers(folder: Path, pause: Callable[[], object] = tuple) -> Iterator[Leftover]:
    """The files of workers that are gone, each of them locked while it is looked at.

    Args:
        folder: Holds the files of all workers; what cannot be opened is left alone.
        pause: Lets others run, now and then.

    Raises:
        OSError: A file cannot be read.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("%s in the data folder cannot be opened: %s", path.name, error.strerror)
            continue
        try:
            if try_lock(descriptor) and _is_still(path, descriptor):
                yield Leftover(path, descriptor, pause)
        finally:
            os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    # Another process may have settled and removed it before we had the lock.
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read(number: int, data: bytes) -> Slot | None:
    """A slot as it was written; None for a free one and for what is damaged."""
    if len(data) <= TEXT_AT:
        return None
    state, charged, length, checksum = HEAD.unpack_from(data)
    text = data[TEXT_AT : TEXT_AT + length]
    if state not in (RUNNING, ENDED) or zlib.crc32(text) != checksum:
        return None
    try:
        owner, tokens_per_day, *values = json.loads(text)
        row = TurnRecord(*values)
    except (ValueError, TypeError):
        return None
    costs = [max(cost, 0) for cost in COSTS.unpack_from(data, COSTS_AT)]
    row = replace(row, **dict(zip(COSTING, costs, strict=True)))
    return Slot(row, Account(owner, tokens_per_day), number, state, charged == CHARGED)
