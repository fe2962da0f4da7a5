"""What the commands of a run may touch."""

from dataclasses import dataclass

from codexproxy.errors import InvalidRequest, PermissionRefused
from codexproxy.protocol.request import CliPermit
from codexproxy.upstream.codex_cli.x_codex import Wishes

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


def decide_sandbox(
    wishes: Wishes, default: str, allow_danger: bool, permit: CliPermit = CliPermit(), *, local_only: bool = False
) -> Sandbox:
    """The sandbox of one request; the safe one unless both sides agreed to more.

    Args:
        wishes: What the request asks for.
        default: The mode of requests that name none.
        allow_danger: Whether the owner permits ``danger-full-access``.
        permit: What the caller may ask for.
        local_only: Whether nothing may leave this machine.

    Raises:
        InvalidRequest: ``danger_not_allowed``, ``local_only``, or network access where the sandbox has none.
        PermissionRefused: ``cli_not_allowed``.
    """
    mode = wishes.sandbox or _default(default, permit)
    _check_permit(mode, bool(wishes.network_access), permit)
    if mode == DANGER and not (allow_danger and wishes.sandbox == DANGER):
        raise InvalidRequest(_DANGER[allow_danger], code="danger_not_allowed", param="x_codex.sandbox")
    if mode == READ_ONLY and wishes.network_access:
        raise InvalidRequest(
            "Commands in the read-only sandbox have no network. Set `x_codex.sandbox` to `workspace-write` as well.",
            param="x_codex.network_access",
        )
    sandbox = Sandbox(mode, mode == DANGER or bool(wishes.network_access))
    if local_only and sandbox.network:
        raise InvalidRequest(_OFFLINE, code="local_only", param="x_codex")
    return sandbox


def check_access(permit: CliPermit) -> None:
    """Refuses callers who may not use the local CLI at all.

    Raises:
        PermissionRefused: ``cli_not_allowed``.
    """
    if permit.level == "none":
        raise _not_permitted("may not use the local Codex CLI", "`--cli read` or `--cli write`")


def _default(default: str, permit: CliPermit) -> str:
    # The owner's default is no promise to a key that may do less.
    fits = permit.owner or (default == WORKSPACE_WRITE and permit.level == "write")
    return default if fits else READ_ONLY


def _check_permit(mode: str, network: bool, permit: CliPermit) -> None:
    check_access(permit)
    if permit.owner:
        return
    if mode == DANGER:
        raise PermissionRefused(
            "Only the owner of this server may ask for `danger-full-access`. Use `read-only` or `workspace-write`.",
            code="cli_not_allowed",
            param="x_codex.sandbox",
        )
    if mode == WORKSPACE_WRITE and permit.level != "write":
        raise _not_permitted("may not write files with the local Codex CLI", "`--cli write`", "x_codex.sandbox")
    if network and not permit.network:
        raise _not_permitted("may not give commands the network", "`--cli-network`", "x_codex.network_access")


def _not_permitted(what: str, option: str, param: str | None = None) -> PermissionRefused:
    return PermissionRefused(
        f"This key {what}. Its owner can make one that does: `codexproxy keys add NAME` with {option}.",
        code="cli_not_allowed",
        param=param,
    )


_OFFLINE = (
    "CODEX_LOCAL_ONLY is set, so commands get no network. Leave out `x_codex.network_access`, "
    "and `danger-full-access`, which includes it."
)

_DANGER = {
    False: "This server does not permit `danger-full-access`. Use `read-only` or `workspace-write`, "
    "or ask its owner to set CODEX_ALLOW_DANGER_FULL_ACCESS=1.",
    True: "`danger-full-access` has to be asked for by the request itself: set `x_codex.sandbox`, "
    "or CODEX_SANDBOX_MODE to `read-only` or `workspace-write`.",
}
