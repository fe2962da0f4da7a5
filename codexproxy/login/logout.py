"""Logging out: the issuer forgets the pair, then we do (docs/reference/sign-in.md#revocation)."""

import logging
from dataclasses import dataclass
from typing import Protocol

from codexproxy.errors import ProxyError
from codexproxy.login.tokens.file_store import TokenStore

log = logging.getLogger(__name__)

LOCK_TIMEOUT = 60.0


class Revoker(Protocol):
    """Who makes tokens worthless: ``OAuthClient``."""

    def revoke(self, refresh_token: str, access_token: str) -> None:
        """See ``OAuthClient.revoke``."""


@dataclass(frozen=True, slots=True)
class Logout:
    """What a logout did.

    Attributes:
        was_logged_in: Whether there was a login.
        revoked: Whether the issuer confirmed that the pair is worthless now.
    """

    was_logged_in: bool
    revoked: bool


def log_out(store: TokenStore, oauth: Revoker, *, revoke: bool = True) -> Logout:
    """Revokes and deletes the login. A failed revocation does not stop the deletion.

    Args:
        store: Where the login is kept.
        oauth: The issuer.
        revoke: False for a login that another program goes on using.

    Raises:
        StorageFailed: The login could not be deleted.
        LockTimeout: Somebody kept the login locked.
    """
    # Under the lock, so that no refresh under way writes a new pair after the deletion.
    with store.lock(LOCK_TIMEOUT):
        try:
            tokens = store.load()
        except ProxyError:  # nothing in it can be revoked, and it has to go all the same
            tokens = None
        revoked = tokens is not None and revoke and _revoke(oauth, tokens.refresh_token, tokens.access_token)
        had_one = store.version() is not None
        store.delete()
    return Logout(had_one, revoked)


def _revoke(oauth: Revoker, refresh_token: str, access_token: str) -> bool:
    try:
        oauth.revoke(refresh_token, access_token)
    except ProxyError as failure:
        log.warning("The login could not be revoked and is only deleted here: %s", failure)
        return False
    return True
