"""What the commands of a run may touch."""

from dataclasses import dataclass

from codexproxy.backends.codex_exec.x_codex import Wishes
from codexproxy.errors import InvalidRequest

READ_ONLY = "read-only"
WORKSPACE_WRITE = "workspace-write"
DANGER = "danger-full-access"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A decided sandbox.

    Attributes:
        mode: The CLI's name of it.
        network: Whether commands may use the network.
    """

    mode: str = READ_ONLY
    network: bool = False


def decide_sandbox(wishes: Wishes, default: str, allow_danger: bool) -> Sandbox:
    """The sandbox of one request; the safe one unless both sides agreed to more.

    Raises:
        InvalidRequest: ``danger_not_allowed``, or network access where the sandbox has none.
    """
    mode = wishes.sandbox or default
    if mode == DANGER and not (allow_danger and wishes.sandbox == DANGER):
        raise InvalidRequest(_DANGER[allow_danger], code="danger_not_allowed", param="x_codex.sandbox")
    if mode == READ_ONLY and wishes.network_access:
        raise InvalidRequest(
            "Commands in the read-only sandbox have no network. Set `x_codex.sandbox` to `workspace-write` as well.",
            param="x_codex.network_access",
        )
    return Sandbox(mode, mode == DANGER or bool(wishes.network_access))


_DANGER = {
    False: "This server does not permit `danger-full-access`. Use `read-only` or `workspace-write`, "
    "or ask its owner to set CODEX_ALLOW_DANGER_FULL_ACCESS=1.",
    True: "`danger-full-access` has to be asked for by the request itself: set `x_codex.sandbox`, "
    "or CODEX_SANDBOX_MODE to `read-only` or `workspace-write`.",
}
