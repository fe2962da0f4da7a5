"""Whether an address to listen on is open to others, and what to do about it."""

import json
import re
from pathlib import Path

from codexproxy.settings.model import Settings
from codexproxy.settings.parsing import is_loopback_host


def refuse_public_bind(settings: Settings, binds: list[str]) -> str | None:
    """Why the server must not start on these addresses, in one sentence; None when it may.

    Args:
        settings: Says whether callers need a key.
        binds: Addresses as gunicorn writes them: ``host:port``, ``[v6]:port``,
            ``tcp://…``, ``unix:…``, ``fd://…``.
    """
    if settings.has_keys or settings.allow_unauthenticated or holds_keys(settings.data_dir / "keys.json"):
        return None
    public = next((bind for bind in binds if is_public_bind(bind)), None)
    if public is None:
        return None
    return (
        f"codexproxy will not listen on {public}, which others may reach, without a key: set PROXY_API_KEY, "
        "or make a key with `codexproxy keys add NAME`, or set HOST=127.0.0.1, "
        "or ALLOW_UNAUTHENTICATED=1 if anybody may use your account."
    )


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
