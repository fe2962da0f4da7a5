"""What killed workers left in their journals (``storage/turn_journal.py``)."""

import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from codexproxy.storage.ledger import TurnRecord
from codexproxy.storage.locks import try_lock
from codexproxy.storage.turn_journal import (
    CHARGED,
    CHARGED_AT,
    COSTING,
    COSTS,
    COSTS_AT,
    ENDED,
    HEAD,
    MAGIC,
    MOST_SLOTS,
    RUNNING,
    SLOT,
    SUFFIX,
    TEXT_AT,
    Account,
    Slot,
    place_of,
)

log = logging.getLogger(__name__)


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
