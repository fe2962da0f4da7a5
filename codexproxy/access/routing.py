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
_CLIENT_OF_PATH = {"messages": CLAUDE_CLI}

# Why a turn goes where it goes; one word each, for the log.
UNCHECKED = "unchecked"
VERIFIED = "genuine"
ALLOWED = "allowed_client"
NOT_LISTED = "user_agent_not_listed"
NOT_VERIFIED = "not_genuine"


@dataclass(frozen=True, slots=True)
class Decision:
    """Which group a request's turns go to, and why.

    Attributes:
        reason: One of the words above.
        group: Group of providers.
        rule: The client whose rule applied; empty when none did.
        forced: Whether that is not the key's own group.
        complete: Whether official instructions are put into the request.
    """

    reason: str
    group: str
    rule: str = ""
    forced: bool = False
    complete: bool = False


def decide(identity: Identity, client: Client, rules: Mapping[str, ClientRule], path: str) -> Decision:
    """Decides where a request's turns go; the order of ``allowedClients`` makes no difference.

    Args:
        identity: The caller.
        client: The program that sent the request, with evidence where the key is bound to clients.
        rules: Client -> rule, as configured.
        path: The canonical path of the request, ``/chat/completions``.

    Raises:
        PermissionRefused: The key is bound to clients without a rule, and this is another one.
    """
    allowed, own = identity.allowed_clients, identity.provider_group
    if not allowed:
        return Decision(UNCHECKED, own)
    verified = [name for name in allowed if name in rules and name in client.evidence.verified]
    for name in verified:
        if is_listed(client, rules[name]):
            return Decision(VERIFIED, own, name)
    if verified:
        name = _judging(verified, path)
        return Decision(NOT_LISTED, rules[name].group, name, forced=True)
    if client.name in allowed and client.name not in rules:
        return Decision(ALLOWED, own)
    ruled = [name for name in allowed if name in rules]
    if not ruled:
        raise PermissionRefused(
            f"The key '{identity.name}' is only for {', '.join(allowed)}, and this request came from "
            f"{client.name}. Use another key, or change 'allowedClients' of this one."
        )
    name = _judging(ruled, path)
    return Decision(NOT_VERIFIED, rules[name].group, name, forced=True, complete=rules[name].complete)


def _judging(names: Sequence[str], path: str) -> str:
    native = _CLIENT_OF_PATH.get(path.strip("/").partition("/")[0], CODEX_CLI)
    return native if native in names else min(names)


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
