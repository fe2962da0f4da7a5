"""Remote images fetched on a caller's behalf, for upstreams that take only data URLs.

A caller chooses the address, so the service must not become a way into its
own network: every name is resolved once, every address is checked, the
connection goes to exactly the address that was checked, and each redirect
starts over.
"""

import base64
import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from codexproxy.errors import InvalidRequest
from codexproxy.outbound import Overdue, WatchedAdapter, ending_within

MAX_BYTES = 20 * 1024 * 1024
TIMEOUT = 20.0
REDIRECTS = 3
_CHUNK = 64 * 1024
_PORTS = {"http": 80, "https": 443}

# First bytes -> media type; the server's word for it is not asked.
_KINDS: tuple[tuple[bytes, int, bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, b"", "image/png"),
    (b"\xff\xd8\xff", 0, b"", "image/jpeg"),
    (b"GIF87a", 0, b"", "image/gif"),
    (b"GIF89a", 0, b"", "image/gif"),
    (b"RIFF", 8, b"WEBP", "image/webp"),
)

Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name.

    Raises:
        OSError: The name has none.
    """
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_own_address(address: str) -> bool:
    """Whether an address is this host's own, also where it is a public one: what listens there may trust its host."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            # Nothing is sent; the system only chooses the address that it would come from.
            probe.connect((address, 9))
            return str(probe.getsockname()[0]) == address
    except OSError:
        return False


class ImageFetcher:
    """Fetches images from addresses that are allowed.

    Args:
        is_allowed: Whether an address may be fetched from.
        resolve: Finds the addresses of a name.
        max_bytes: Largest image.
        timeout: Seconds for the whole of it, redirects included.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        is_allowed: Callable[[str], bool],
        *,
        resolve: Resolve = resolve,
        max_bytes: int = MAX_BYTES,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_allowed = is_allowed
        self._resolve = resolve
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._clock = clock

    def data_url(self, url: str, param: str | None = None, within: float = float("inf")) -> str:
        """The image as a data URL.

        Args:
            url: Where it is, ``http`` or ``https``.
            param: Path of the field that holds the URL, for the error.
            within: Seconds that are left for it, where that is less than usual.

        Raises:
            InvalidRequest: It cannot or must not be fetched, or is no image.
        """
        try:
            data = self._follow(url, self._clock() + min(self._timeout, within))
        except _Refused as refusal:
            raise InvalidRequest(
                f"The image {_shown(url)} cannot be used: {refusal}. Send it as a data URL instead.",
                code="unsupported_content",
                param=param,
            ) from refusal
        kind = media_type(data)
        if kind is None:
            message = f"{_shown(url)} is not a PNG, JPEG, GIF or WebP image."
            raise InvalidRequest(message, code="unsupported_content", param=param)
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"

    def _follow(self, url: str, deadline: float) -> bytes:
        for _ in range(REDIRECTS + 1):
            parts = _checked(url)
            found = self._get(parts, self._address_of(parts), deadline)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise _Refused(f"it was redirected more than {REDIRECTS} times")

    def _address_of(self, parts: SplitResult) -> str:
        host = parts.hostname or ""
        try:
            addresses = self._resolve(host, _port(parts))
        except (OSError, UnicodeError) as error:
            raise _Refused("the host of its URL is not known") from error
        # One forbidden address is enough: a name that leads into our network is not meant well.
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise _Refused("its URL leads to an address that is not public")
        return addresses[0]

    def _get(self, parts: SplitResult, address: str, deadline: float) -> bytes | str:
        headers = {"Host": parts.netloc, "Accept": "image/*", "Accept-Encoding": "identity"}
        with requests.Session() as session:
            # A proxy would resolve the name again, and cookies are nobody's business here.
            session.trust_env = False
            session.mount(f"{parts.scheme}://", PinnedAdapter(address, parts.hostname or ""))
            left = self._left(deadline)
            try:
                with (
                    ending_within(left),
                    session.get(
                        parts.geturl(), headers=headers, timeout=left, stream=True, allow_redirects=False
                    ) as response,
                ):
                    return self._read(response)
            except Overdue:
                raise self._late() from None
            except (requests.RequestException, HTTPError, OSError) as error:
                # The socket's own limit is the same, and may be noticed first.
                self._left(deadline)
                raise _Refused("its server cannot be reached or broke off") from error

    def _read(self, response: requests.Response) -> bytes | str:
        if response.is_redirect:
            return response.headers["location"]
        if response.status_code != 200:
            raise _Refused(f"its server answered {response.status_code}")
        data = bytearray()
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            data += chunk
            if len(data) > self._max_bytes:
                raise _Refused(f"it is larger than {self._max_bytes} bytes")
        return bytes(data)

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise self._late()
        return left

    def _late(self) -> "_Refused":
        return _Refused(f"it took longer than {self._timeout:g} seconds")


def _shown(url: str) -> str:
    # Queries of image URLs are often signatures.
    return f"'{url.partition('?')[0][:100]}'"


class _Refused(Exception):
    """Why an image is not fetched."""


class PinnedAdapter(WatchedAdapter):
    """Connects to one address, whatever the URL's name resolves to by now.

    Args:
        address: Where to connect.
        host: The name whose certificate is expected.
    """

    def __init__(self, address: str, host: str) -> None:
        super().__init__(max_retries=0)
        self._address = address
        self._host = host

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Where the connection goes, and as whom it must prove itself."""
        host_params, pool_kwargs = super().build_connection_pool_key_attributes(request, verify, cert)
        # The certificate is checked against the server's name, too.
        return {**host_params, "host": self._address}, {**pool_kwargs, "server_hostname": self._host}


def media_type(data: bytes) -> str | None:
    """What kind of image some bytes begin, None when they are none that upstream takes."""
    for start, offset, further, kind in _KINDS:
        if data.startswith(start) and data[offset:].startswith(further):
            return kind
    return None


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _port(parts)
    except ValueError as error:
        raise _Refused("its URL is malformed") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _Refused("its URL is neither http nor https")
    if "@" in parts.netloc:
        raise _Refused("its URL holds a user name")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS.get(parts.scheme, 0)


# IPv4 inside IPv6 by translation (RFC 6052); the last 32 bits are the address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# All of the IPv6 internet (RFC 4291); what is outside of it and carries no IPv4 address is somebody's own.
_UNICAST = ipaddress.IPv6Network("2000::/3")
# What ISATAP puts before an IPv4 address (RFC 5214).
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})

# Not public, although ``ipaddress`` takes some of them for it: IETF protocol assignments with Teredo and ORCHIDs,
# 6to4 and its relays, the address at which Azure's host answers its guests, documentation (RFC 9637).
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "168.63.129.16/32",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public_address(text: str) -> bool:
    """Whether an address is out on the internet: no private, loopback, link-local, shared, multicast or reserved one.

    Where an IPv6 address carries an IPv4 address, it is that one that is reached.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global(each) for each in _reached(address))


def _is_global(address: Address) -> bool:
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _reached(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return [address, ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
    return [address]
