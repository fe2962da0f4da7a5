"""The login as one process knows it: in memory, and in step with where it is kept."""

import logging

from codexproxy.login.tokens.emergency_store import Refuge
from codexproxy.login.tokens.file_store import StorageFailed, TokenStore
from codexproxy.login.tokens.tokens import BrokenLogin, Tokens
from codexproxy.storage.files.locks import LockTimeout

log = logging.getLogger(__name__)

_UNREAD = object()


class HeldLogin:
    """The newest login this process knows of.

    A pair that the disk would not take is held here, shared with the host's other processes
    where that is possible, and written as soon as the disk will.

    Args:
        store: Where the login is kept.
        look_every: Milliseconds between two looks at whether another process changed it.
        refuge: Where a pair waits that the store does not take.
    """

    def __init__(self, store: TokenStore, look_every: int, refuge: Refuge) -> None:
        self.tokens: Tokens | None = None
        self._store = store
        self._refuge = refuge
        self._look_every = look_every
        self._looked_at = -look_every
        self._version: object = _UNREAD
        # What the store still holds in place of an unwritten pair.
        self._outdated: Tokens | None = None

    def look(self, now: int) -> Tokens | None:
        """The login; asks the store whether it changed, but not at every call.

        Raises:
            BrokenLogin, StorageFailed: It cannot be read, and nothing is known from before.
        """
        # Without a login each call asks, so that a new one counts at once.
        if self.tokens is not None and 0 <= now - self._looked_at < self._look_every:
            return self.tokens
        if self._outdated is not None:
            self._write_again()
        if self._store.version() != self._version:
            self.read()
        self._looked_at = now
        return self.tokens

    def read(self) -> Tokens | None:
        """The login as it is stored now, or the newer one the store would not take.

        Raises:
            BrokenLogin, StorageFailed: It cannot be read, and nothing is known from before.
        """
        version = self._store.version()
        try:
            stored = self._store.load()
        except (BrokenLogin, StorageFailed) as error:
            if self.tokens is None:
                raise
            if version != self._version:
                log.error("%s The login known from before stays in use.", error)
            self._version = version
            return self.tokens
        self._version = version
        if not self._is_outdated(stored):
            self._forget_outdated()
            # Not every store has a place for the verdict.
            self.tokens = stored and stored.with_verdict_of(self.tokens)
        self._follow(stored)
        return self.tokens

    def reserve(self) -> None:
        """Makes sure that the next pair can be written.

        Raises:
            StorageFailed: It could not be, now.
        """
        self._store.reserve()

    def keep(self, tokens: Tokens) -> None:
        """Takes a newer login and writes it; the caller holds the store's lock."""
        outdated = self._outdated or self.tokens
        self.tokens = tokens
        try:
            self._store.save(tokens)
        except StorageFailed as error:
            if self._outdated is None:
                log.error("%s The renewed login is kept in memory until it can be written.", error)
            self._outdated = outdated
            if outdated is not None:
                self._refuge.leave(outdated, tokens)
        else:
            self._written()

    def flush(self) -> None:
        """Writes what could not be written before, for the last time: the process ends."""
        if self._outdated is not None:
            self._write_again()
        if self._outdated is None:
            return
        if self._refuge.successor(self._outdated) is not None:
            log.error("The renewed login could not be written; it waits in this host's memory until it is restarted.")
        else:
            log.error("The renewed login is lost with this process, since it could not be written. Sign in again.")

    def _write_again(self) -> None:
        try:
            with self._store.lock(0):
                tokens = self.read()
                if self._outdated is None or tokens is None:
                    return
                self._store.save(tokens)
        except (StorageFailed, LockTimeout, OSError) as error:
            log.debug("The renewed login still cannot be written: %s", error)
        else:
            self._written()
            log.info("The renewed login has been written at last.")

    def _is_outdated(self, stored: Tokens | None) -> bool:
        # Another process may have noted its verdict on the spent token, which makes the pair no newer.
        if self._outdated is None or stored is None:
            return False
        return stored.refresh_token == self._outdated.refresh_token

    def _follow(self, stored: Tokens | None) -> None:
        """Adopts what another process has in place of the stored pair and could not write either."""
        successor = self._refuge.successor(stored) if stored is not None else None
        if successor is None or (self.tokens is not None and successor.updated_at < self.tokens.updated_at):
            return
        self.tokens, self._outdated = successor, stored

    def _forget_outdated(self) -> None:
        if self._outdated is not None:
            self._refuge.clear(self._outdated)
        self._outdated = None

    def _written(self) -> None:
        self._forget_outdated()
        self._version = self._store.version()
