"""Whether others than the owner can reach the service or use it, and what to do about it."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from codexproxy.data_dir import DataDir
from codexproxy.settings.model import Settings
from codexproxy.settings.parsing import is_loopback_host

# Characters of a key that nobody guesses, as long as they are random.
SHORTEST_KEY = 16


def refuse_public_bind(settings: Settings, binds: list[str]) -> str | None:
    """Why the server must not start on these addresses, in one sentence; None when it may.

    Args:
        settings: Says whether callers need a key.
        binds: Addresses as gunicorn writes them: ``host:port``, ``[v6]:port``,
            ``tcp://…``, ``unix:…``, ``fd://…``.
    """
    public = next((bind for bind in binds if is_public_bind(bind)), None)
    if public is None:
        return None
    if is_short_key(settings.api_key):
        return (
            f"codexproxy will not listen on {public}, which others may reach, with a PROXY_API_KEY of fewer than "
            f"{SHORTEST_KEY} characters, which can be guessed: take a long random one (`openssl rand -hex 32`), "
            "or set HOST=127.0.0.1."
        )
    if _has_keys(settings) or settings.allow_unauthenticated:
        return None
    return (
        f"codexproxy will not listen on {public}, which others may reach, without a key: set PROXY_API_KEY, "
        "or make a key with `codexproxy keys add NAME`, or set HOST=127.0.0.1, "
        "or ALLOW_UNAUTHENTICATED=1 if anybody may use your account."
    )


def refuse_shared_folder(data_dir: Path) -> str | None:
    """Why a data folder must not be used, in one sentence; None when only its owner may write it.

    Whoever may write there can put a key of their own in the place of ``keys.json``, or a login.
    """
    shared = next(filter(_is_shared, _private_folders(data_dir)), None)
    if shared is None:
        return None
    return (
        f"others than its owner may write {shared}, which holds logins and keys: run `chmod 700 '{shared}'`, "
        "or name a folder that does not exist yet."
    )


def _private_folders(data_dir: Path) -> Iterator[Path]:
    files = DataDir(data_dir)
    yield files.profiles
    yield from (profile.root for profile in files.all_profiles())


def _is_shared(folder: Path) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def dangers(settings: Settings) -> list[str]:
    """What in these settings lets others than the owner in, or soon may; a sentence each, with what to do."""
    found = [
        (settings.allow_unauthenticated, _OPEN),
        ("*" in settings.cors_allow_origins and not _has_keys(settings), _EVERY_PAGE),
        (is_short_key(settings.api_key), _SHORT),
    ]
    return [text for is_so, text in found if is_so]


_OPEN = (
    "ALLOW_UNAUTHENTICATED is set: everybody who can reach this address may use your account. "
    "Set PROXY_API_KEY instead if that is not what you want."
)
_EVERY_PAGE = (
    "CORS_ALLOW_ORIGINS (server.corsAllowOrigins) is *, and there is no key: every web page that is open in a browser "
    "of this machine may use your account. Name the pages' origins, or set PROXY_API_KEY."
)
_SHORT = (
    f"PROXY_API_KEY has fewer than {SHORTEST_KEY} characters and can be guessed by whoever reaches this address, "
    "through a proxy or a tunnel for instance. Take a long random one: `openssl rand -hex 32`."
)


def is_short_key(key: str | None) -> bool:
    """Whether a key is there and short enough to be guessed."""
    return key is not None and len(key) < SHORTEST_KEY


def _has_keys(settings: Settings) -> bool:
    return settings.has_keys or holds_keys(DataDir(settings.data_dir).keys)


def holds_keys(path: Path) -> bool:
    """Whether a key file holds a key that is accepted; one that cannot be read holds none."""
    if not path.is_file():  # A pipe would be waited for.
        return False
    try:
        users = json.loads(path.read_text("utf-8"))["users"]
        return any(user["apiKeyHash"] and user.get("isEnabled", True) is True for user in users)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def is_public_bind(bind: str) -> bool:
    """Whether others than this machine may reach an address.

    A Unix socket is guarded by the permissions of its file. Of an inherited
    descriptor nothing is known, so it counts as public.
    """
    place = bind.strip()
    if place.startswith("unix:"):
        return False
    if place.startswith("fd://"):
        return True
    return not is_loopback_host(_host_of(place.removeprefix("tcp://")))


def _host_of(place: str) -> str:
    bracketed = re.match(r"\[([^\]]*)\]", place)
    if bracketed:
        return bracketed[1]
    if place.count(":") > 1:  # an IPv6 address without brackets and port
        return place
    return place.partition(":")[0]
