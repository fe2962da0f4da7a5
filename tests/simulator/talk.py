"""A bare client of the simulator: whole answers by http.client, bytes as they come by socket."""

import http.client
import json
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from codexproxy.simulator.client import RESPONSES, SimulatorClient
from tests.patience import patient

Json = dict[str, Any]

TURN: Json = {
    "model": "gpt-5.5",
    "instructions": "Be brief.",
    "store": False,
    "stream": True,
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
}


@dataclass
class Answer:
    """A complete HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Json]:
        return events_of(self.body)

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def text(self) -> str:
        return "".join(event["delta"] for event in self.events if event["type"] == "response.output_text.delta")


def events_of(body: bytes) -> list[Json]:
    """Events of a plainly written stream; a frame without its blank line does not count."""
    frames = body.decode().split("\n\n")[:-1]
    return [json.loads(frame.split("data: ", 1)[1]) for frame in frames if "data: " in frame]


@dataclass
class Talker:
    """A signed-in client."""

    sim: SimulatorClient
    tokens: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokens = self.tokens or self.sim.login()

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.sim.base_url)
        return parts.hostname or "", parts.port or 0

    @property
    def headers(self) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.tokens['access_token']}",
            "chatgpt-account-id": self.tokens["account_id"],
            "content-type": "application/json",
            "user-agent": "codex_cli_rs/0.169.0 (Debian 12.0.0; x86_64) xterm",
        }

    def request(self, method: str, target: str, body: Any = None, **headers: str | None) -> Answer:
        """One request on a connection of its own; a header given as None is left out."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(*self.address, timeout=patient(10))
        try:
            connection.request(method, target, data, {k: v for k, v in sent.items() if v is not None})
            answer = connection.getresponse()
            headers_back = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers_back, answer.read())
        finally:
            connection.close()

    def turn(self, drop: tuple[str, ...] = (), headers: dict[str, str | None] | None = None, **changes: Any) -> Answer:
        """One turn: the standard body with changes, some keys dropped."""
        body = {key: value for key, value in {**TURN, **changes}.items() if key not in drop}
        return self.request("POST", RESPONSES, body, **(headers or {}))

    def form(self, path: str, **fields: str) -> Answer:
        """A form post."""
        kind = "application/x-www-form-urlencoded"
        return self.request("POST", path, urlencode(fields).encode(), content_type=kind)

    def open(self, body: Json | None = None, **headers: str) -> socket.socket:
        """A socket with a turn already sent on it."""
        sock = socket.create_connection(self.address, timeout=patient(10))
        sock.sendall(self.turn_bytes(body, **headers))
        return sock

    def turn_bytes(self, body: Json | None = None, **headers: str) -> bytes:
        """A whole turn request as bytes."""
        data = json.dumps({**TURN, **(body or {})}).encode()
        fields = {"host": "simulator", **self.headers, **headers, "content-length": str(len(data))}
        lines = [f"POST {RESPONSES} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    """Reads until the mark has come."""
    data = b""
    while mark not in data:
        more = sock.recv(65536)
        assert more, f"connection ended before {mark!r}; came: {data[-300:]!r}"
        data += more
    return data


def read_to_end(sock: socket.socket) -> bytes:
    """Reads to the end of the connection; a reset is an end, too, marked as such."""
    data = b""
    try:
        while more := sock.recv(65536):
            data += more
    except ConnectionResetError:
        data += b"<RESET>"
    return data
