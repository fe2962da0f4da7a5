"""One request and all that comes back, read in the client's own manner."""

import http.client
import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any

LIMIT = 60.0
# What a program sees whose other side has gone.
BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a client reads.

    Attributes:
        size: Bytes per read.
        pause: Seconds between two reads.
        leaves: Reads after which it goes away; None stays to the end, 0 does not even wait for the head.
    """

    size: int = 65_536
    pause: float = 0.0
    leaves: int | None = None


PLAIN = Manner()
SLOW = Manner(size=256, pause=0.01)


@dataclass(slots=True)
class Seen:
    """What came back; times are monotonic seconds.

    Attributes:
        port: The client's own port, by which its connection is known.
        broken: How the connection failed; empty when it did not.
    """

    began: float
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    port: int = 0
    broken: str = ""
    ended: float = 0.0


def exchange(
    port: int, method: str, path: str, body: dict[str, Any] | bytes | None, key: str, manner: Manner = PLAIN
) -> Seen:
    """Sends one request on a connection of its own."""
    seen = Seen(time.monotonic())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.connect()
        sock: socket.socket = connection.sock
        seen.port = sock.getsockname()[1]
        if manner.pause:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        data = json.dumps(body, ensure_ascii=False).encode() if isinstance(body, dict) else body
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request(method, path, data, headers)
        _read(connection, seen, manner)
    except BROKEN as error:
        seen.broken = f"{type(error).__name__}: {error}"
    finally:
        connection.close()
        seen.ended = time.monotonic()
    return seen


def _read(connection: http.client.HTTPConnection, seen: Seen, manner: Manner) -> None:
    if manner.leaves == 0:
        time.sleep(0.01)
        return
    response = connection.getresponse()
    seen.status = response.status
    seen.headers = {name.lower(): value for name, value in response.getheaders()}
    pieces, reads = [], 0
    while (piece := response.read1(manner.size)) and reads != manner.leaves:
        pieces.append(piece)
        reads += 1
        if manner.pause:
            time.sleep(manner.pause)
    seen.body = b"".join(pieces)
    response.close()
