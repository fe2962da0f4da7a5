"""Remote images fetched on a caller's behalf, for upstreams that take only data URLs.

A caller chooses the address, so the service must not become a way into its
own network: every name is resolved once, every address is checked, the
connection goes to exactly the address that was checked, and each redirect
starts over.
"""

import base64
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from codexproxy.errors import BodyTooLarge, InvalidRequest
from codexproxy.turns.turn import Turn

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

    def data_url(self, url: str, param: str | None = None) -> str:
        """The image as a data URL.

        Args:
            url: Where it is, ``http`` or ``https``.
            param: Path of the field that holds the URL, for the error.

        Raises:
            InvalidRequest: It cannot or must not be fetched, or is no image.
        """
        try:
            data = self._follow(url, self._clock() + self._timeout)
        except _Refused as refusal:
            raise InvalidRequest(
                f"The image {_shown(url)} cannot be used: {refusal}. Send it as a data URL instead.",
                code="unsupported_content",
                param=param,
            ) from refusal
        kind = media_type(data)
        if kind is None:
            message = f"What {_shown(url)} holds is no PNG, JPEG, GIF or WebP image."
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
            try:
                with session.get(
                    parts.geturl(), headers=headers, timeout=self._left(deadline), stream=True, allow_redirects=False
                ) as response:
                    return self._read(response, deadline)
            except (requests.RequestException, HTTPError, OSError) as error:
                raise _Refused("its server cannot be reached or broke off") from error

    def _read(self, response: requests.Response, deadline: float) -> bytes | str:
        if response.is_redirect:
            return response.headers["location"]
        if response.status_code != 200:
            raise _Refused(f"its server answered {response.status_code}")
        data = bytearray()
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            data += chunk
            if len(data) > self._max_bytes:
                raise _Refused(f"it is larger than {self._max_bytes} bytes")
            self._left(deadline)
        return bytes(data)

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise _Refused(f"it took longer than {self._timeout:g} seconds")
        return left


def _shown(url: str) -> str:
    # Queries of image URLs are often signatures.
    return f"'{url.partition('?')[0][:100]}'"


class _Refused(Exception):
    """Why an image is not fetched."""


class PinnedAdapter(HTTPAdapter):
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


class Inliner:
    """Puts remote images of a turn into its body.

    Args:
        fetcher: Gets one image.
        most_bytes: Most bytes that all images of one turn may add, each counted as often as it is named.
    """

    def __init__(self, fetcher: ImageFetcher, most_bytes: int) -> None:
        self._fetcher = fetcher
        self._most_bytes = most_bytes

    def __call__(self, turn: Turn) -> Turn:
        """The turn whose images all are data URLs.

        Raises:
            InvalidRequest: One of them cannot or must not be fetched, or is no image.
            BodyTooLarge: They are more than may be sent.
        """
        fetched: dict[str, str] = {}
        left = self._most_bytes

        def fetch(url: str, path: str) -> str:
            nonlocal left
            if url not in fetched:
                # Where the image stands in the caller's own words is not known any more.
                fetched[url] = self._fetcher.data_url(url)
            # An image that is fetched once is sent as often as it is named.
            left -= len(fetched[url])
            if left < 0:
                raise BodyTooLarge(f"The images are larger than {self._most_bytes} bytes together.")
            return fetched[url]

        body = inlined(turn.body, fetch)
        return replace(turn, body=body) if fetched else turn


def inlined(body: Mapping[str, Any], fetch: Callable[[str, str], str]) -> dict[str, Any]:
    """A Responses body whose remote images were fetched.

    Args:
        body: The body; it is not changed.
        fetch: Gets a data URL for a URL and the path of its field.
    """
    items = body.get("input")
    if not isinstance(items, list):
        return dict(body)
    return {**body, "input": [_inlined_item(item, f"input[{n}]", fetch) for n, item in enumerate(items)]}


def _inlined_item(item: Any, path: str, fetch: Callable[[str, str], str]) -> Any:
    for field in ("content", "output"):
        parts = item.get(field) if isinstance(item, dict) else None
        if isinstance(parts, list):
            item = {**item, field: [_inlined_part(part, f"{path}.{field}[{n}]", fetch) for n, part in enumerate(parts)]}
    return item


def _inlined_part(part: Any, path: str, fetch: Callable[[str, str], str]) -> Any:
    url = part.get("image_url") if isinstance(part, dict) and part.get("type") == "input_image" else None
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        return part
    return {**part, "image_url": fetch(url, f"{path}.image_url")}
