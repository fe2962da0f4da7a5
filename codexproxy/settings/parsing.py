"""Checks of single values: raw JSON or environment text in, typed value out.

Every function raises ValueError whose text completes "KEY: …" and holds the
next step. None of them repeats the value it was given, since that value may
be a secret put into the wrong place.
"""

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

_YES = frozenset({"1", "true", "yes", "on", "y", "t"})
_NO = frozenset({"0", "false", "no", "off", "n", "f"})
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+")
_KEY_HASH = re.compile(r"sha256:(?:[0-9A-Fa-f]{2})+:[0-9A-Fa-f]{64}")
_BRACKETED_OR_PLAIN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^\s:\[\]/]+)):(?P<port>\d+)")


def text(value: Any) -> str:
    """A non-empty string, white space around it dropped."""
    if not isinstance(value, str):
        raise ValueError("must be a text in quotes.")
    stripped = value.strip()
    if not stripped or not stripped.isprintable():
        raise ValueError("must not be empty or hold control characters.")
    return stripped


def secret(value: Any) -> str:
    """A key that can travel in a header: printable ASCII without spaces."""
    key = text(value)
    if not key.isascii() or " " in key:
        raise ValueError("must be printable ASCII without spaces, since it travels in a header.")
    return key


def counters(value: Any) -> str:
    """Where limits are counted; never quoted, since what people write here may hold a password."""
    uri = secret(value)
    if uri == "memory://" or re.fullmatch(r"codexproxy\+sqlite:///.+", uri):
        return uri
    raise ValueError(
        "must be `memory://` or `codexproxy+sqlite:///PATH`: limits are counted on this host, and no server "
        "such as Redis is asked. Leave it out, and they are counted in DATA_DIR."
    )


def key_hash(value: Any) -> str:
    """The stored hash of a key, as ``codexproxy keys`` makes it."""
    found = secret(value)
    if not _KEY_HASH.fullmatch(found):
        raise ValueError("must look like sha256:SALT:DIGEST in hexadecimal; `codexproxy keys add NAME` makes a key.")
    return found


def user_name(value: Any) -> str:
    """A name of a user; two are those of the one key and of callers without any."""
    found = text(value)
    if found in ("default", "anonymous"):
        raise ValueError("must be another name; callers without a name of their own are counted under this one.")
    return found


def flag(value: Any) -> bool:
    """A boolean; ``1/true/yes/on`` and ``0/false/no/off`` in any case."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueError("must be true or false.")


def number(least: float, most: float = math.inf) -> Callable[[Any], float]:
    """Numbers from ``least`` to ``most``, both included."""

    def parse(value: Any) -> float:
        found = _finite(value)
        if found is None or not least <= found <= most:
            raise ValueError(f"must be a number {_range(least, most)}.")
        return found

    return parse


def integer(least: int, most: float = math.inf) -> Callable[[Any], int]:
    """Whole numbers from ``least`` to ``most``, both included."""

    def parse(value: Any) -> int:
        found = _finite(value)
        if found is None or found != int(found) or not least <= found <= most:
            raise ValueError(f"must be a whole number {_range(least, most)}.")
        return int(found)

    return parse


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _range(least: float, most: float) -> str:
    return f"of {least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"


def seconds(value: Any) -> float | None:
    """A time limit in seconds; 0 means none, and gives None."""
    return number(0)(value) or None


def milliseconds(value: Any) -> float | None:
    """A time limit in milliseconds, given back in seconds; 0 means none."""
    limit = seconds(value)
    return limit and limit / 1000


def choice(*words: str, aliases: Mapping[str, str] = MappingProxyType({})) -> Callable[[Any], str]:
    """One of some words, in any case; booleans count as ``true`` and ``false``."""

    def parse(value: Any) -> str:
        word = str(value).strip().lower()
        word = aliases.get(word, word)
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}.")
        return word

    return parse


def folder(value: Any) -> Path:
    """A path; ``~`` is expanded later, when the user's home is known."""
    return Path(text(value))


def exact_url(value: Any) -> str:
    """An http or https URL without credentials, query or fragment, kept as it was written."""
    link = text(value)
    try:
        parts = urlsplit(link)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or " " in link:
        raise ValueError("must be a URL such as https://example.com/path.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain URL, without user name, query or fragment.")
    return link


def url(value: Any) -> str:
    """The same without trailing slashes, ready to have a path joined to it."""
    return exact_url(value).rstrip("/")


def secure_url(value: Any) -> str:
    """The same for addresses that a login is sent to: https, or http to this machine."""
    link = url(value)
    parts = urlsplit(link)
    if parts.scheme == "http" and not is_loopback_host(parts.hostname or ""):
        raise ValueError("must begin with https://, since the login is sent there; http:// is for this machine only.")
    return link


def words(value: Any) -> tuple[str, ...]:
    """A list of texts: a JSON list, or one text parted by commas or spaces."""
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError("must be a list of texts.")
    return tuple(dict.fromkeys(text(item) for item in items))


def names(value: Any) -> tuple[str, ...]:
    """A JSON list of texts, which may hold spaces."""
    if not isinstance(value, list):
        raise ValueError("must be a list of texts.")
    return tuple(dict.fromkeys(text(item) for item in value))


def origins(value: Any) -> tuple[str, ...]:
    """Origins of web pages (RFC 6454): ``*``, or scheme, host and port without a path."""
    found = tuple(item.lower().rstrip("/") for item in words(value))
    if not all(item in ("*", "null") or _ORIGIN.fullmatch(item) for item in found):
        raise ValueError("must hold origins such as https://example.com:8080, or * for all.")
    return found


def aliases(value: Any) -> Mapping[str, str]:
    """A JSON object from model name to model name."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError('must be a JSON object such as {"gpt-4o": "gpt-5.2"}.') from None
    if not isinstance(value, dict):
        raise ValueError("must be an object from name to model.")
    return MappingProxyType({text(name): text(model) for name, model in value.items()})


def json_object(value: Any) -> str:
    """The text of a JSON object, possibly over several lines."""
    try:
        usable = isinstance(value, str) and isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        usable = False
    if not usable:
        raise ValueError("must be the text of a JSON object, such as the content of tokens.json.")
    return str(value)


def address(value: Any) -> tuple[str, int]:
    """``host:port``, an IPv6 host in brackets."""
    found = _BRACKETED_OR_PLAIN.fullmatch(text(value))
    if not found or int(found["port"]) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:3000 or [::1]:3000.")
    return found["v6"] or found["name"], int(found["port"])


def host(value: Any) -> str:
    """A host name or address without a port; brackets around IPv6 are dropped."""
    found = text(value).removeprefix("[").removesuffix("]")
    if re.search(r"[\s/@\[\]]", found) or (":" in found and found.count(":") < 2):
        raise ValueError("must be a host name or address without a port, such as 127.0.0.1.")
    return found


def is_loopback_host(host: str) -> bool:
    """Whether a host name or address always means this machine.

    Other names count as public, whatever they resolve to now.
    """
    name = host.strip().lower()
    if name.rstrip(".") == "localhost" or name.rstrip(".").endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
