"""Where a caller's turns go, and whether a request is completed; pure.

A user may be bound to clients (``allowedClients``). Turns of a bound user run
in the user's own group only when the client is what it says it is and on the
list; all others go to the group its rule names, and those that are not
genuine are completed with what the real client would have sent. Of several
rules the one counts whose client speaks the API that was asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from codexproxy.access.authorization import Identity
from codexproxy.access.client_detection import CLAUDE_CLI, CODEX_CLI, Client
from codexproxy.errors import ModelNotFound, PermissionRefused


class ClientRule(Protocol):
    """What the configuration says about one client (``guard.*``)."""

    @property
    def user_agents(self) -> Sequence[str]: ...
    @property
    def group(self) -> str: ...
    @property
    def complete(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of our own making.

    Attributes:
        user_agents: Beginnings of User-Agents, or originators, that are allowed.
        group: Group for everybody else.
        complete: Whether requests that are not genuine are completed.
    """

    user_agents: Sequence[str] = ()
    group: str = "default"
    complete: bool = False


# First word of a route -> the client whose own API that is; every other route is judged as the Codex CLI's.
_CLIENT_OF_ROUTE = {"messages": CLAUDE_CLI}

# Why a turn goes where it goes; one word each, for the log.
UNCHECKED = "unchecked"
GENUINE = "genuine"
ALLOWED = "allowed_client"
NOT_LISTED = "user_agent_not_listed"
NOT_GENUINE = "not_genuine"


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one request's turns go, and why.

    Attributes:
        user: Name of the key.
        allowed_clients: The clients the key is bound to.
        client: What the request tells of its program.
        reason: One of the words above.
        rule: The client whose rule applied; empty when none did.
        group: Group of providers.
        forced: Whether that is not the user's own group.
        complete: Whether the request is to be completed.
    """

    user: str
    allowed_clients: tuple[str, ...]
    client: Client
    reason: str
    rule: str
    group: str
    forced: bool = False
    complete: bool = False


def decide(identity: Identity, client: Client, rules: Mapping[str, ClientRule], route: str) -> Decision:
    """The guard's decision; the order of ``allowedClients`` makes no difference to it.

    Args:
        identity: Who asks.
        client: With which program.
        rules: Client -> rule, as configured.
        route: The canonical path that was asked, ``/chat/completions``.

    Raises:
        PermissionRefused: The key is bound to clients without a rule, and this is none of them.
    """
    allowed = identity.allowed_clients
    if not allowed:
        return _own_group(identity, client, UNCHECKED, "")
    proven = [name for name in allowed if name in rules and name in client.genuine]
    for name in proven:
        if is_listed(client, rules[name]):
            return _own_group(identity, client, GENUINE, name)
    if proven:
        name = _judging(proven, route)
        return Decision(identity.name, allowed, client, NOT_LISTED, name, rules[name].group, forced=True)
    if client.name in allowed and client.name not in rules:
        return _own_group(identity, client, ALLOWED, "")
    return _not_genuine(identity, client, rules, route)


def _judging(names: Sequence[str], route: str) -> str:
    native = _CLIENT_OF_ROUTE.get(route.strip("/").partition("/")[0], CODEX_CLI)
    return native if native in names else min(names)


def _own_group(identity: Identity, client: Client, reason: str, rule: str) -> Decision:
    return Decision(identity.name, identity.allowed_clients, client, reason, rule, identity.provider_group)


def _not_genuine(identity: Identity, client: Client, rules: Mapping[str, ClientRule], route: str) -> Decision:
    allowed = identity.allowed_clients
    ruled = [name for name in allowed if name in rules]
    if not ruled:
        raise PermissionRefused(
            f"The key '{identity.name}' is only for {', '.join(allowed)}, and this request came from "
            f"{client.name}. Use another key, or change 'allowedClients' of this one."
        )
    name = _judging(ruled, route)
    rule = rules[name]
    return Decision(identity.name, allowed, client, NOT_GENUINE, name, rule.group, forced=True, complete=rule.complete)


def is_listed(client: Client, rule: ClientRule) -> bool:
    """Whether a client's ``User-Agent`` or originator is on a rule's list."""
    beginnings = tuple(entry.lower() for entry in rule.user_agents if entry)
    return any(product.lower().startswith(beginnings) for product in (client.user_agent, client.originator) if product)


def check_model(identity: Identity, name: str, family: str, model: str) -> None:
    """Refuses models a key may not use.

    Args:
        identity: Who asks.
        name: The model by the caller's name.
        family: See ``Identity.may_ask``.
        model: The model by upstream's name.

    Raises:
        ModelNotFound: The key is not for this model; the message lists those it is for.
    """
    if not identity.may_ask(name, family, model):
        raise ModelNotFound(
            f"The model '{name}' is not available with this key. It may use: {', '.join(identity.models)}.",
            param="model",
        )
