"""The permission profile of a run: what the commands a model runs may read, write and reach.

The CLI enforces a profile with mounts (bubblewrap on Linux, Seatbelt on macOS):
a hidden folder is empty for every command, whatever is renamed in it meanwhile.
Commands also get a process table of their own, so that they see neither the
environment nor the memory of the CLI, which runs as the same user.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codexproxy.upstream.codex_cli.security.sandbox import DANGER, WORKSPACE_WRITE, Sandbox

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
