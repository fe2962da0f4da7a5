"""Where a run works: never outside of the folder the owner named."""

import os
from hashlib import sha256
from pathlib import Path

from codexproxy.errors import InvalidRequest


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
