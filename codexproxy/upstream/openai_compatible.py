"""Any upstream that speaks the Responses API and takes a key: a relay, another codexproxy, api.openai.com."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from codexproxy import __version__
from codexproxy.errors import LoginExpired, NotLoggedIn, NotOffered, ProxyError, UpstreamFailed, UpstreamRejected
from codexproxy.metering.charge import note_sent
from codexproxy.observability.bodies import log_body
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.pacing import Encoded
from codexproxy.protocol.request import Turn, encoded
from codexproxy.protocol.stream import Deadlines, EventStream, ResponseMetadata, TimeLimits
from codexproxy.provider_types import OPENAI, Capabilities
from codexproxy.upstream.base import Backend
from codexproxy.upstream.chatgpt.body import Wait
from codexproxy.upstream.chatgpt.error_mapping import REDACTED, lacks_route, refusal
from codexproxy.upstream.chatgpt.http_client import Alarm, Exchange, no_alarm
from codexproxy.upstream.chatgpt.source import ResponseSource, SkippedEvents
from codexproxy.upstream.chatgpt.sse import untold
from codexproxy.upstream.chatgpt.transport import Transport

_UNREACHABLE = "Upstream could not be reached. Please check its URL and the network, and try again."


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where a relay is and how it lets us in.

    Attributes:
        base_url: ``https://relay.example/v1``.
        key: The key; never shown by ``repr``.
        key_name: Where the key comes from, for error messages.
        wants_key: Whether it is known to let nobody in without one.
    """

    base_url: str
    key: str = field(repr=False)
    key_name: str = "its key"
    wants_key: bool = False


class RelayBackend(Backend):
    """A keyed Responses API.

    Args:
        name: The provider's name.
        address: Where it is.
        transport: The warm session.
        capabilities: Those of ``openai``, or of ``codex`` for a relay that passes turns on to the Codex backend.
        limits: Time limits of a turn.
        wait: Waits for a socket, see ``upstream.chatgpt.body.body_of``.
        patience: Seconds of silence after which a stream yields ``[]``.
        clock: Monotonic seconds.
        alarm: Ends waits that the socket's timeout does not.
        skipped: Counts an event of this provider that was passed over, since it is not JSON.
    """

    def __init__(
        self,
        name: str,
        address: RelayAddress,
        transport: Transport,
        *,
        capabilities: Capabilities = OPENAI,
        limits: TimeLimits = TimeLimits(),
        wait: Wait,
        patience: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        alarm: Alarm = no_alarm,
        skipped: Callable[[str], object] = untold,
    ) -> None:
        self.name = name
        self.capabilities = capabilities
        self._address = address
        self._base_url = address.base_url.rstrip("/")
        self._exchange = Exchange(transport, _UNREACHABLE, clock, alarm)
        self._limits = limits
        self._wait = wait
        self._patience = patience
        self._clock = clock
        self._skipped = SkippedEvents(name, skipped)

    def open(self, turn: Turn) -> EventStream:
        """See ``Backend.open``."""
        deadlines = Deadlines(self._limits, self._clock())
        headers = {"accept": "text/event-stream", **_conversation(turn)}
        body = encoded(turn)
        note_sent(turn, len(body))
        response = self._send("POST", "/responses", headers, body, deadlines)
        answerer = ResponseMetadata(self.name, {name.lower(): value for name, value in response.headers.items()})
        source = ResponseSource(response, deadlines, self._wait, self._clock, self._skipped)
        return EventStream(source, self._patience, answerer)

    def models(self) -> list[dict[str, Any]]:
        """See ``Backend.models``; of the public API's models only the names are known."""
        answer = self._json("GET", "/models")
        rows = answer.get("models") or answer.get("data")
        if not isinstance(rows, list):
            raise UpstreamFailed("Upstream's list of models has an unexpected format.")
        named = [{"slug": row.get("slug") or row.get("id"), **row} for row in rows if isinstance(row, dict)]
        return [row for row in named if isinstance(row["slug"], str)]

    def usage(self) -> dict[str, Any]:
        """See ``Backend.usage``.

        Raises:
            NotLoggedIn: Always: a key has no quota that could be asked for.
        """
        raise NotLoggedIn(f"The provider '{self.name}' is used with a key, which has no quota windows.")

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """See ``Backend.compact``."""
        try:
            return self._json("POST", "/responses/compact", encode_json(body))
        except UpstreamRejected as error:
            if not lacks_route(error):
                raise
            raise NotOffered(f"The provider '{self.name}' cannot compact conversations.") from error

    def _json(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        deadlines = Deadlines(self._limits, self._clock())
        response = self._send(method, path, {"accept": "application/json"}, body, deadlines)
        return self._exchange.whole(response, deadlines)

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: Encoded, deadlines: Deadlines
    ) -> requests.Response:
        own = {
            "Authorization": f"Bearer {self._address.key}",
            "User-Agent": f"codexproxy/{__version__}",
            "Accept-Encoding": "identity",
            "content-type": "application/json",
        }
        response = self._exchange.send(method, self._base_url + path, {**own, **headers}, body, deadlines)
        if response.status_code != 200:
            raise self._refused(response)
        return response

    def problem(self) -> str | None:
        """See ``Backend.problem``."""
        address = self._address
        return None if address.key or not address.wants_key else self._keyless()

    def _keyless(self) -> str:
        return f"The provider '{self.name}' wants a key. Please set {self._address.key_name}."

    def _refused(self, response: requests.Response) -> ProxyError:
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = self._exchange.refused(response)
        if self._address.key:
            body = body.replace(self._address.key.encode(), REDACTED)
        log_body("upstream error body", body)
        if response.status_code == 401:
            return LoginExpired(
                f"The provider '{self.name}' does not accept {self._address.key_name}. Please set a valid key there."
                if self._address.key
                else self._keyless()
            )
        return refusal(response.status_code, headers, body)


def _conversation(turn: Turn) -> dict[str, str]:
    # Relays keep a conversation at one account by these, in the old form and the new
    # (docs/reference/requests.md#headers-of-a-turn).
    key = turn.cache_key
    return {"session_id": key, "conversation_id": key, "session-id": key} if key else {}
