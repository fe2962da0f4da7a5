"""Calls of a command to the server that its own settings describe."""

import ipaddress
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from codexproxy.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Addresses that mean "every interface" are asked through the loopback one.
_REACHABLE = {"0.0.0.0": "127.0.0.1", "::": "::1", "0": "127.0.0.1"}

# Seconds to connect and seconds of silence.
# Seconds for a whole question, and bytes of its answer.
_SECONDS, _SIZE = 30.0, 16 * 2**20


class ServerRefused(Exception):
    """A server is there, but it did not answer the question."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """The running server, if there is one.

    Attributes:
        base_url: ``http://127.0.0.1:3000``.
        key: What it asks its callers for.
        trusted: Ids of the users whose programs the key may be sent to; None trusts everybody.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    trusted: frozenset[int] | None = None

    @classmethod
    def of(cls, settings: Settings) -> "LocalServer":
        """The server these settings start."""
        host = _REACHABLE.get(settings.host, settings.host)
        host = f"[{host}]" if ":" in host else host
        trusted = {0, os.geteuid()}
        with suppress(OSError):  # There is no data folder before the first start.
            trusted.add(settings.data_dir.stat().st_uid)
        return cls(f"http://{host}:{settings.port}", settings.api_key, frozenset(trusted))

    def get_json(self, path: str) -> dict[str, Any] | None:
        """One GET; None when nothing listens there.

        Raises:
            ServerRefused: It answered with an error, or with something that is not ours.
        """
        return self._ask("GET", path, None)

    def post_json(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """One POST of a JSON object; the same answers as `get_json`."""
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any] | None:
        import requests  # takes a while to import, and help texts do not need it

        from codexproxy.outbound import Limits, fetch, new_session

        self._check_holder()
        limits = Limits(_SECONDS, _SIZE, connect=3.0)
        url = self.base_url + path
        with new_session() as session:
            # Our own server is never behind a proxy, and ~/.netrc is none of its business.
            session.trust_env = False
            try:
                answer = fetch(session, method, url, limits, json=body, headers=self._headers())
                content = json.loads(answer.content)
            except requests.ConnectionError:
                return None
            except (requests.RequestException, ValueError) as error:
                raise ServerRefused(f"{self.base_url} answers, but not like codexproxy; is that port ours?") from error
        if answer.status_code < 400 and isinstance(content, dict):
            return content
        raise ServerRefused(f"The server at {self.base_url} refused: {_message(content, answer.status_code)}")

    def _check_holder(self) -> None:
        # While our server is down, any user of this machine may listen in its place and wait for the key.
        if not self.key or self.trusted is None:
            return
        parts = urlsplit(self.base_url)
        strangers = holders_of(parts.hostname or "", parts.port or 80) - self.trusted
        if strangers:
            raise ServerRefused(
                f"A program of another user (id {min(strangers)}) listens at {self.base_url}, so your key was not "
                "sent there. End that program, or choose another PORT."
            )

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def _message(body: Any, status: int) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else f"status {status}"


def holders_of(host: str, port: int) -> set[int]:
    """Ids of the users whose programs listen where a connection would end; empty where nobody can tell.

    Linux tells it of every listener. Behind a port that is led into a container there may be none.
    """
    with suppress(OSError):
        wanted = {_plain(ipaddress.ip_address(row[4][0])) for row in socket.getaddrinfo(host, port)}
        found = [(address, user) for address, listens_at, user in _listeners() if listens_at == port]
        exactly = {user for address, user in found if address in wanted}
        return exactly or {user for address, user in found if address.is_unspecified}
    return set()


# State of a listening socket, and the tables of sockets: proc(5), "/proc/net/tcp".
_LISTENS = "0A"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def _listeners() -> Iterator[tuple[Address, int, int]]:
    for table in filter(Path.exists, _TABLES):
        for row in map(str.split, table.read_text().splitlines()[1:]):
            address, _, port = row[1].partition(":")
            if row[3] == _LISTENS:
                yield _address(address), int(port, 16), int(row[7])


def _address(written: str) -> Address:
    # Words of 32 bits, each in the order of this machine's bytes.
    words = (int(written[start : start + 8], 16) for start in range(0, len(written), 8))
    return _plain(ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words)))


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
