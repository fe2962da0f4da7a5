"""The login in ``CODEX_TOKENS_JSON``, for hosts with a throw-away disk."""

import json
import logging
from enum import Enum

from codexproxy.login.tokens.file_store import TokenStore, parse_object
from codexproxy.login.tokens.tokens import BrokenLogin, Tokens

log = logging.getLogger(__name__)

VARIABLE = "CODEX_TOKENS_JSON"
LOCK_TIMEOUT = 60.0


class Seeding(Enum):
    """How the stored login and the variable stand to each other."""

    ABSENT = "absent"
    """The variable is not set."""
    SEEDED = "seeded"
    """There was no usable login, and the variable's has been stored."""
    SAME = "same"
    """Both hold the same refresh token."""
    OUTDATED = "outdated"
    """The stored one is another: a wiped disk would bring a spent refresh token back."""


def seed(store: TokenStore, variable: str) -> Seeding:
    """Stores the variable's login when the store has none, or one that is known to be dead.

    Args:
        store: Where the login is kept.
        variable: Content of ``CODEX_TOKENS_JSON``; empty when it is not set.

    Raises:
        BrokenLogin: The variable is set and holds no login, or the store's cannot be read.
        StorageFailed: The disk would not.
        LockTimeout: Somebody kept the login locked.
    """
    offered = read_seed(variable)
    if offered is None:
        return Seeding.ABSENT
    with store.lock(LOCK_TIMEOUT):
        stored = store.load()
        if stored is None or (stored.refresh_error and offered.updated_at > stored.updated_at):
            store.save(offered)
            log.info("Took the login from %s.", VARIABLE)
            return Seeding.SEEDED
    standing = compare(stored, offered)
    if standing is Seeding.OUTDATED:
        log.warning("%s", WARNING)
    return standing


class SeedWarning:
    """Says once per process that the variable has fallen behind, as soon as that is so.

    Args:
        variable: Content of ``CODEX_TOKENS_JSON``; empty when it is not set.
    """

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def __call__(self, tokens: Tokens) -> None:
        """Compares a new pair with the variable's."""
        try:
            standing = compare(tokens, read_seed(self._variable))
        except BrokenLogin:  # told when the service started
            return
        if standing is Seeding.OUTDATED:
            self._variable = ""
            log.warning("%s", WARNING)


UNTAKEN = f"Nobody is logged in. {VARIABLE} holds a login, which the service takes when it starts."

WARNING = (
    f"The stored login differs from the one in {VARIABLE}, whose refresh token is probably spent. If this "
    f"host's disk can be wiped, put the output of `codexproxy login --export` into {VARIABLE}."
)


def compare(stored: Tokens | None, offered: Tokens | None) -> Seeding:
    """How a stored login and the variable's stand to each other, for ``status`` and ``/ready``."""
    if offered is None:
        return Seeding.ABSENT
    if stored is None or stored.refresh_token == offered.refresh_token:
        return Seeding.SAME
    return Seeding.OUTDATED


def read_seed(variable: str) -> Tokens | None:
    """The variable's login; None when it is not set.

    Raises:
        BrokenLogin: It is set and holds none.
    """
    text = variable.strip()
    return Tokens.from_json(parse_object(text.encode(), VARIABLE), VARIABLE) if text else None


def export(tokens: Tokens) -> str:
    """One line to put into ``CODEX_TOKENS_JSON``. It is a secret."""
    return json.dumps(tokens.to_json(), separators=(",", ":"))
