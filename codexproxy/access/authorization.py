"""Who asks, and what they may do: roles, the rights of each, and the one function that checks them.

A route declares the right it needs (``server/operations.py``), a key has a role,
and ``authorize`` compares the two. Without any key this machine has the role
of the owner; nobody else who comes without a key has it.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Protocol

from codexproxy.errors import AuthenticationFailed, PermissionRefused

# Name under which the holder of ``PROXY_API_KEY`` appears in logs and limits.
OWNER = "default"
ANONYMOUS = "anonymous"

USER, METRICS, ADMIN = "user", "metrics", "admin"


class Right(Enum):
    """What a route can need of its caller."""

    OPEN = "open"
    """Nothing: it answers without a key."""
    ASK = "ask"
    """Turns, models, and what is the caller's own."""
    MEASURE = "measure"
    """The numbers of the service."""
    OWN = "own"
    """The login, and what is other callers' own."""


GRANTS: Mapping[str, frozenset[Right]] = {
    USER: frozenset({Right.OPEN, Right.ASK}),
    METRICS: frozenset({Right.OPEN, Right.MEASURE}),
    ADMIN: frozenset(Right),
}
ROLES = tuple(GRANTS)

# The most that commands of the local Codex CLI may do to files, for a key that is not the owner's.
CLI_LEVELS = ("none", "read", "write")


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one key may use; None where nothing limits it.

    Attributes:
        rate_per_minute: Requests in any minute.
        tokens_per_day: Tokens, in and out, of one day (UTC).
        max_parallel: Turns at a time.
        reserve_weekly_percent: Part of the account's weekly quota this key must leave.
    """

    rate_per_minute: int | None = None
    tokens_per_day: int | None = None
    max_parallel: int | None = None
    reserve_weekly_percent: float | None = None


class UserRow(Protocol):
    """A user as the settings or the key file hold one."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def api_key_hash(self) -> str | None: ...
    @property
    def role(self) -> str: ...
    @property
    def allowed_clients(self) -> Sequence[str]: ...
    @property
    def provider_group(self) -> str: ...
    @property
    def models(self) -> Sequence[str]: ...
    @property
    def rate_per_minute(self) -> int | None: ...
    @property
    def tokens_per_day(self) -> int | None: ...
    @property
    def max_parallel(self) -> int | None: ...
    @property
    def reserve_weekly_percent(self) -> float | None: ...
    @property
    def cli(self) -> str: ...
    @property
    def cli_network(self) -> bool: ...
    @property
    def enabled(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, as far as the presented key tells.

    Attributes:
        name: The key's name, never the key.
        keyed: Whether a valid key was presented.
        role: ``user``, ``metrics`` or ``admin``.
        allowed_clients: Client profiles whose requests are checked; empty means no check.
        provider_group: Group its turns run in.
        models: Names it may use; ``*`` and other shell patterns.
        limits: What it may use up.
        cli: What it may ask of the local Codex CLI, one of ``CLI_LEVELS``; the owner may all.
        cli_network: Whether commands of that CLI may use the network.
        id: Tells it from other keys of that name, earlier or later ones; empty where names are all there is.
    """

    name: str = ANONYMOUS
    keyed: bool = False
    role: str = USER
    allowed_clients: tuple[str, ...] = ()
    provider_group: str = "default"
    models: tuple[str, ...] = ("*",)
    limits: KeyLimits = field(default_factory=KeyLimits)
    cli: str = "none"
    cli_network: bool = False
    id: str = ""

    @property
    def owner(self) -> str:
        """Under which its answers are kept and its use is counted; a name that is made anew is another owner."""
        return self.id or self.name

    @property
    def made_at(self) -> float:
        """When the key was made, in epoch seconds, as its id tells; 0 where it tells nothing."""
        return made_at(self.id)

    def may(self, right: Right) -> bool:
        """Whether the caller's role has a right."""
        return right in GRANTS[self.role]

    def may_use(self, model: str) -> bool:
        """Whether this key may ask the model of this name."""
        return self.uses_all_models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def may_ask(self, name: str, family: str, model: str) -> bool:
        """Whether this key may ask a model by a name.

        Args:
            name: As the caller wrote it; only the owner's own list can name it.
            family: All names of that kind, as a pattern; a pattern of the list has to hold them all.
            model: The model that it means.
        """
        return name in self.models or self.may_use(family) or self.may_use(model)

    @property
    def uses_all_models(self) -> bool:
        """Whether this key may ask every model."""
        return "*" in self.models


# This machine, while no key exists: it is the owner's.
KEYLESS_OWNER = Identity(role=ADMIN)


def identity_of(row: UserRow) -> Identity:
    """The identity a user's key stands for."""
    return Identity(
        name=row.name,
        keyed=True,
        role=row.role,
        allowed_clients=tuple(row.allowed_clients),
        provider_group=row.provider_group,
        models=tuple(row.models),
        limits=KeyLimits(row.rate_per_minute, row.tokens_per_day, row.max_parallel, row.reserve_weekly_percent or None),
        cli=row.cli,
        cli_network=row.cli_network,
        id=row.id,
    )


def made_at(id: str) -> float:
    """The moment that a key's id, a UUID of version 7, carries, in epoch seconds; 0 for any other id."""
    try:
        told = uuid.UUID(id)
    except ValueError:
        return 0.0
    return (told.int >> 80) / 1000 if told.version == 7 else 0.0


def authorize(identity: Identity, right: Right, *, keys_exist: bool) -> None:
    """Checks that a caller may do what a route does.

    Args:
        identity: Who asks.
        right: What the route needs.
        keys_exist: Whether a key could be presented.

    Raises:
        AuthenticationFailed: No valid key was presented, and one is needed here.
        PermissionRefused: ``owner_only``; the caller's role lacks the right.
    """
    if identity.may(right):
        return
    if keys_exist and not identity.keyed:
        raise AuthenticationFailed(_NEEDS_KEY)
    raise PermissionRefused(_METRICS_ONLY if identity.role == METRICS else _OWNER_ONLY, code="owner_only")


_NEEDS_KEY = (
    "This needs the owner's key: send PROXY_API_KEY or a key with the role admin as 'Authorization: Bearer KEY'."
)
_OWNER_ONLY = (
    "Only the owner may do this. Send PROXY_API_KEY or a key with the role admin "
    "('codexproxy keys add NAME --role admin'), or, where there are no keys, ask from this machine."
)
_METRICS_ONLY = (
    "This key has the role metrics: it may ask for /metrics, /health and /ready only. "
    "'codexproxy keys add NAME' makes a key for everything else."
)
