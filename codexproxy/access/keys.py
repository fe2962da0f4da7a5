"""Which key was presented, and what its holder may do.

A key of ours is ``cpx_``, 32 random characters and a checksum of six, all in
base 62, so that leak scanners can find one and tell it from a lookalike. Only
a salted hash is stored: ``sha256:SALT:DIGEST``, both in hexadecimal, where
DIGEST is SHA-256 over the salt's bytes and the key's. One round is enough,
because 190 random bits cannot be guessed.
"""

import hmac
import logging
import secrets
import string
import zlib
from collections.abc import Sequence
from hashlib import blake2b, sha256
from typing import Protocol

from codexproxy.access.authorization import ADMIN, ANONYMOUS, CLI_LEVELS, OWNER, ROLES, Identity, UserRow, identity_of
from codexproxy.errors import AuthenticationFailed, ProxyError

log = logging.getLogger(__name__)

PREFIX = "cpx_"
ALPHABET = string.digits + string.ascii_letters
RANDOM_LENGTH = 32
CHECKSUM_LENGTH = 6
LONGEST_NAME = 100


class Headers(Protocol):
    """A request's headers; names are asked for in lower case."""

    def get(self, name: str, /) -> str | None:
        """The header's value, None when the request does not carry it."""


class UserSource(Protocol):
    """Users that may change while the service runs."""

    def users(self) -> Sequence[UserRow]:
        """The users of this moment; cheap enough for every request."""


class KeyRing:
    """All keys that open this service.

    While any key exists, every caller needs one. When the last is gone, this
    machine is served as before there was one; a public address is served to
    nobody without a key, unless anybody may ask, since removing one must not
    open it to everybody.

    Args:
        api_key: The one key of ``PROXY_API_KEY``.
        users: Named users of the configuration.
        allow_unauthenticated: Accepts any key or none.
        source: Further users, read at every request.
        is_public: Whether others than this machine may reach the service; may change once that is known better.

    Raises:
        ValueError: A user's hash is not of the documented form, or its name is one of ours.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        users: Sequence[UserRow] = (),
        allow_unauthenticated: bool = False,
        source: UserSource | None = None,
        is_public: bool = False,
    ) -> None:
        self.is_public = is_public
        self._owner = hash_key(api_key) if api_key else None
        self._longest = max(LONGEST_KEY, len(api_key or ""))
        self._kept: Sequence[UserRow] = ()
        self._holders: Holders | None = None
        self._users = tuple(users)
        self._open = allow_unauthenticated
        self._source = source
        self._locked = bool(api_key or users)
        for user in self._users:
            check_user_name(user.name)
            check_role(user.role)
            check_cli_level(user.cli)
            if user.api_key_hash:
                parse_hash(user.api_key_hash)

    @property
    def requires_key(self) -> bool:
        """Whether a key was known to exist when the last one was looked for."""
        return self._locked

    @property
    def configured(self) -> bool:
        """Whether any key exists, disabled ones included; on a public address also whether one existed."""
        self._current_holders()
        return self._locked

    def identify(self, presented: str | None) -> Identity:
        """Finds the holder of a key.

        A key that was not presented before is compared with every one, in constant time,
        whether or not one matched. With no key configured a presented one is ignored.

        Raises:
            AuthenticationFailed: No key, an unknown or a disabled one.
            ProxyError: The further users cannot be read.
        """
        holders = self._current_holders()
        found = holders.of(presented) if presented else None
        if found is not None:
            return found
        if self._open or not self._locked:
            return Identity()
        raise AuthenticationFailed(_MISSING if not presented else _WRONG)

    def _current_holders(self) -> "Holders":
        kept = self._kept_users()
        if self._holders is None or kept is not self._kept:
            self._kept, self._holders = kept, Holders(self._owner, (*self._users, *kept), self._longest)
        # Not only while it is remembered that a key existed: the worker that asks may be a new one.
        self._locked = self._holders.any or (self.is_public and (self._locked or not self._open))
        return self._holders

    def _kept_users(self) -> tuple[UserRow, ...]:
        try:
            # The same tuple as before, while nothing was changed.
            return tuple(self._source.users()) if self._source else ()
        except (ValueError, OSError) as error:
            log.error("every caller is refused, because the keys cannot be read: %s", error)
            raise ProxyError(_UNREADABLE) from error


# Characters of a key at most, but for the owner's: each of thousands of hashes would have to take in all of them.
LONGEST_KEY = 4096


class Holders:
    """The keys of one moment, each with its holder.

    With many keys a hash each would be most of what a request costs, so that keys that
    opened are remembered, under a digest that is worth nothing outside of this process.

    Args:
        owner: Hash of the owner's key.
        users: All users.
        longest: Characters beyond which a key opens nothing.
    """

    def __init__(self, owner: str | None, users: Sequence[UserRow], longest: int = LONGEST_KEY) -> None:
        self.any = bool(owner or users)
        self._longest = longest
        self._secret = secrets.token_bytes(32)
        self._remembered: dict[bytes, Identity] = {}
        self._locks = [(*parse_hash(owner), Identity(OWNER, keyed=True, role=ADMIN))] if owner else []
        for user in users:
            if user.api_key_hash and user.enabled:
                self._locks.append((*parse_hash(user.api_key_hash), identity_of(user)))

    def of(self, presented: str) -> Identity | None:
        """The holder of a key, None for one that opens nothing."""
        if len(presented) > self._longest:
            return None
        name = blake2b(presented.encode("utf-8", "surrogatepass"), key=self._secret).digest()
        known = self._remembered.get(name)
        if known is not None:
            return known
        found = None
        for salt, digest, identity in self._locks:
            if hmac.compare_digest(_digest(salt, presented), digest):
                found = identity
        if found is not None:
            self._remembered[name] = found
        return found


def check_user_name(name: str) -> None:
    """Refuses names for users under which others are counted.

    Raises:
        ValueError: The name is empty, or that of the one key or of callers without any.
    """
    if not name.strip() or name in (OWNER, ANONYMOUS):
        raise ValueError(f"The name {name!r} is empty or reserved; choose another one for the key.")


def check_new_name(name: str) -> None:
    """Refuses names that nobody could tell from others in a list, a log or a table of use.

    Raises:
        ValueError: See ``check_name``; or it is long, has blanks around it, or characters that are not shown.
    """
    check_user_name(name)
    if len(name) > LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(
            f"The name of a key must have at most {LONGEST_NAME} characters that can be seen, and no blanks around it."
        )


def check_role(role: str) -> None:
    """Refuses roles that do not exist.

    Raises:
        ValueError: It is none of ``ROLES``.
    """
    if role not in ROLES:
        raise ValueError(f"The role of a key must be one of {', '.join(ROLES)}.")


def check_cli_level(level: str) -> None:
    """Refuses levels of access to the local CLI that do not exist.

    Raises:
        ValueError: It is none of ``CLI_LEVELS``.
    """
    if level not in CLI_LEVELS:
        raise ValueError(f"What a key may do with the local CLI must be one of {', '.join(CLI_LEVELS)}.")


_UNREADABLE = "The keys of this service cannot be read, so every caller is refused; 'codexproxy keys list' says why."
_NEXT_STEP = "Send the key as 'Authorization: Bearer KEY', 'x-api-key' or 'api-key'."
_MISSING = f"This service needs an API key, and the request holds none. {_NEXT_STEP}"
_WRONG = (
    "The API key is not known here, or it was disabled. Check that it was copied whole; "
    "'codexproxy keys list' shows which keys exist, 'codexproxy keys add NAME' makes a new one."
)


def presented_key(headers: Headers) -> str | None:
    """The key a request presents: ``Authorization: Bearer``, ``x-api-key`` or ``api-key``."""
    scheme, _, credentials = (headers.get("authorization") or "").strip().partition(" ")
    bearer = credentials if scheme.lower() == "bearer" else ""
    for value in (bearer, headers.get("x-api-key"), headers.get("api-key")):
        if value and value.strip():
            return _as_text(value.strip())
    return None


def _as_text(value: str) -> str:
    # WSGI hands header bytes over as Latin-1; a key outside ASCII was UTF-8.
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def new_key() -> str:
    """A fresh random key."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return PREFIX + body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Whether a text looks like a key of ours, checksum included."""
    body = key.removeprefix(PREFIX)
    return (
        key.startswith(PREFIX)
        and len(body) == RANDOM_LENGTH + CHECKSUM_LENGTH
        and _checksum(body[:RANDOM_LENGTH]) == body[RANDOM_LENGTH:]
    )


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def hash_key(key: str, salt: bytes | None = None) -> str:
    """The salted hash that is stored in a key's stead, ``sha256:SALT:DIGEST``."""
    salt = salt if salt is not None else secrets.token_bytes(16)
    return f"sha256:{salt.hex()}:{_digest(salt, key).hex()}"


def matches(key: str, stored: str) -> bool:
    """Whether a key has this stored hash, compared in constant time.

    Raises:
        ValueError: The hash is not of the documented form.
    """
    salt, digest = parse_hash(stored)
    return hmac.compare_digest(_digest(salt, key), digest)


def parse_hash(stored: str) -> tuple[bytes, bytes]:
    """Salt and digest of a stored hash.

    Raises:
        ValueError: It is not of the form ``sha256:SALT:DIGEST``.
    """
    name, _, rest = stored.partition(":")
    salt, _, digest = rest.partition(":")
    if name != "sha256" or len(digest) != 2 * sha256().digest_size or not salt:
        raise ValueError("A key's hash must look like 'sha256:SALT:DIGEST'; 'codexproxy keys add NAME' makes one.")
    return bytes.fromhex(salt), bytes.fromhex(digest)


def _digest(salt: bytes, key: str) -> bytes:
    return sha256(salt + key.encode("utf-8", "surrogatepass")).digest()
