"""What the commands of a run may read, write and reach: its sandbox, its permission profile, its folder.

The CLI enforces a profile with mounts (bubblewrap on Linux, Seatbelt on macOS): a
hidden folder is empty for every command, whatever is renamed in it meanwhile.
Commands also get a process table of their own, so that they see neither the
environment nor the memory of the CLI, which runs as the same user. A run never works
outside of the folder that the owner named.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

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


_HIDDEN, _READ, _WRITE = "deny", "read", "write"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders that matter to one run, as real paths.

    Attributes:
        run: Identity of the run.
        temporary: Folder for temporary files of its commands.
        workdir: Where it works.
        hidden: Files and folders that its commands must not see.
        scope: The caller's own folder within a hidden one, which holds ``workdir``; None when there is none.
    """

    run: str
    temporary: Path
    workdir: Path
    hidden: tuple[Path, ...] = ()
    scope: Path | None = None


def confined(sandbox: Sandbox, places: Places) -> dict[str, Any]:
    """The CLI's configuration that holds a run to its places.

    ``danger-full-access`` has no profile: that is what it means.
    """
    if sandbox.mode == DANGER:
        return {}
    # A name that no file can hold: a profile of the same name would be merged with ours.
    name = f"codexproxy-{places.run}"
    profile = {"filesystem": _filesystem(sandbox, places), "network": {"enabled": sandbox.network}}
    return {"default_permissions": name, f"permissions.{name}": profile}


def _filesystem(sandbox: Sandbox, places: Places) -> dict[str, str]:
    rights = {"/": _READ, **{str(path): _HIDDEN for path in places.hidden}}
    rights[str(places.temporary)] = _WRITE
    if sandbox.mode == WORKSPACE_WRITE:
        return {**rights, str(places.workdir): _WRITE}
    if not is_hidden(places.workdir, places.hidden):
        return rights
    # Within a hidden folder the CLI shows only what may be written, and what lies in that.
    outer = {str(places.scope): _WRITE} if places.scope is not None else {}
    return {**rights, **outer, str(places.workdir): _READ}


def is_hidden(path: Path, hidden: Iterable[Path]) -> bool:
    """Whether this real path lies in a hidden place."""
    return any(path.is_relative_to(place) for place in hidden)


def resolve_workdir(root: Path | None, wanted: str | None) -> Path | None:
    """The folder a request works in; None means a fresh empty one.

    The answer is a real path without symbolic links, checked after they were
    followed, so that the CLI is started where it was decided.

    Args:
        root: The owner's folder (``CODEX_WORKDIR``), None when there is none.
        wanted: ``x_codex.workdir``: relative to the root, or absolute and below it.

    Raises:
        InvalidRequest: There is no root, or the folder is outside of it or is none.
    """
    if wanted is None:
        return None if root is None else _real_root(root)
    if root is None:
        raise _refused("This server gives every request a folder of its own; its owner has not set CODEX_WORKDIR.")
    if not wanted.strip() or any(ord(character) < 32 or ord(character) == 127 for character in wanted):
        raise _refused("`x_codex.workdir` must be the path of a folder.")
    base = _real_root(root)
    if ".." in Path(wanted).parts:
        # Refused even where it leads back inside: what it leads to depends on links.
        raise _refused("`x_codex.workdir` must not contain `..`.")
    return _below(base, base / wanted)


def key_folder(root: Path, key: str) -> Path:
    """The folder of a named key below ``root``, as a real path; two keys never share one."""
    return Path(os.path.realpath(root.expanduser())) / sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _below(base: Path, path: Path) -> Path:
    try:
        real = Path(os.path.realpath(path, strict=True))
    except (OSError, ValueError) as error:
        # The same words for what is missing and what is elsewhere, so that nobody can look around.
        raise _refused(_OUTSIDE) from error
    if not real.is_relative_to(base) or not real.is_dir():
        raise _refused(_OUTSIDE)
    return real


_OUTSIDE = "`x_codex.workdir` must be an existing folder below the server's CODEX_WORKDIR."


def _real_root(root: Path) -> Path:
    real = Path(os.path.realpath(root.expanduser()))
    if not real.is_dir():
        raise InvalidRequest(
            "The server's CODEX_WORKDIR is not a folder. Its owner has to create it.", param="x_codex.workdir"
        )
    return real


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="x_codex.workdir")
