"""Whether a URL leads to this machine, whatever way it is spelled.

Decided as the URL standard reads hosts (WHATWG URL §3.5), because that is what
the CLI's HTTP client does: ``0x7f.1`` and ``2130706433`` are 127.0.0.1 to it. What
clients are known to read in different ways (backslashes, control characters,
two ``@``, percent signs in hosts) is never local.
"""

import ipaddress
import re

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_SCHEMES = frozenset({"http", "https", "ws", "wss"})

# Names that every resolver answers by itself; ``x.localhost`` is asked of DNS by some.
_NAMES = frozenset({"localhost"})

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE | re.ASCII)
_PORT = re.compile(r"[0-9]{0,5}", re.ASCII)


def is_local_url(url: str) -> bool:
    """Whether requests to this URL stay on this machine."""
    return local_host(url) is not None


def local_host(url: str) -> str | None:
    """The local host a URL names, written plainly; None when it is not local for certain."""
    if not url.isascii() or "\\" in url or any(ord(character) <= 32 or ord(character) == 127 for character in url):
        return None
    found = _URL.fullmatch(url)
    if found is None or found["scheme"].lower() not in _SCHEMES:
        return None
    host = _host_of(found["authority"])
    return _plain(host.lower()) if host else None


def _host_of(authority: str) -> str | None:
    userinfo, _, place = authority.rpartition("@")
    if "@" in userinfo or "%" in place:
        return None
    host, port = _split_port(place)
    return host if _PORT.fullmatch(port) and int(port or 0) <= 65535 else None


def _split_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, bracket, port = place.partition("]")
        whole = bracket and (not port or port[0] == ":")
        return (host + bracket, port[1:]) if whole else ("", "")
    host, _, port = place.partition(":")
    return host, port


def _plain(host: str) -> str | None:
    if host.startswith("["):
        return _plain_v6(host[1:-1])
    name = host.removesuffix(".")
    if name in _NAMES:
        return name
    address = _v4(name)
    return str(address) if address is not None and _stays(address) else None


def _plain_v6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    if "%" in text or not _stays(address.ipv4_mapped or address):
        return None
    return f"[{address}]"


def _stays(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # A connection to the unspecified address is one to this machine.
    return address.is_loopback or address.is_unspecified


def _v4(host: str) -> ipaddress.IPv4Address | None:
    """An IPv4 host of one to four numbers, decimal, octal or hexadecimal; the last one fills the rest."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *firsts, last = (_number(part) for part in parts)
    except ValueError:
        return None
    if any(number > 255 for number in firsts) or last >= 256 ** (4 - len(firsts)):
        return None
    return ipaddress.IPv4Address(last + sum(number << (24 - 8 * place) for place, number in enumerate(firsts)))


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8) if len(text) > 1 and text[0] == "0" else int(text)
