"""The Codex backend over HTTP: one request per turn, its answer as events."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

from codexproxy.errors import LoginExpired, NotOffered, ProxyError, UpstreamFailed, UpstreamRejected
from codexproxy.metering.charge import note_sent
from codexproxy.observability.bodies import log_body
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.pacing import Encoded
from codexproxy.protocol.quota import Quota
from codexproxy.protocol.request import Credential, CredentialSource, Turn, encoded
from codexproxy.protocol.stream import Deadlines, EventStream, ResponseMetadata, TimeLimits
from codexproxy.provider_types import CODEX
from codexproxy.upstream.base import Backend
from codexproxy.upstream.chatgpt.body import Wait
from codexproxy.upstream.chatgpt.error_mapping import is_no_stream, lacks_route, refusal
from codexproxy.upstream.chatgpt.headers import ClientIdentity, account_headers, redacted, turn_headers
from codexproxy.upstream.chatgpt.http_client import Alarm, Exchange, no_alarm
from codexproxy.upstream.chatgpt.quota import quota_from_headers
from codexproxy.upstream.chatgpt.source import ResponseSource, SkippedEvents
from codexproxy.upstream.chatgpt.sse import untold
from codexproxy.upstream.chatgpt.transport import Transport

_UNREACHABLE = "Upstream could not be reached. Please check the network and try again."


class ChatGptBackend(Backend):
    """One account's Codex backend.

    Args:
        name: The provider's name.
        base_url: ``https://chatgpt.com/backend-api``, without a slash at its end.
        transport: The warm session.
        credentials: Where the access token comes from.
        identity: Who we say we are.
        limits: Time limits of a turn.
        wait: Waits for a socket, see ``upstream.chatgpt.body.body_of``.
        patience: Seconds of silence after which a stream yields ``[]``.
        clock: Monotonic seconds.
        alarm: Ends waits that the socket's timeout does not.
        skipped: Counts an event of this provider that was passed over, since it is not JSON.
        heard: Takes the quota that upstream's answers carry, refusals included.
    """

    capabilities = CODEX

    def __init__(
        self,
        name: str,
        base_url: str,
        transport: Transport,
        credentials: CredentialSource,
        *,
        identity: ClientIdentity = ClientIdentity(),
        limits: TimeLimits = TimeLimits(),
        wait: Wait,
        patience: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        alarm: Alarm = no_alarm,
        skipped: Callable[[str], object] = untold,
        heard: Callable[[str, Quota | None], None] | None = None,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._exchange = Exchange(transport, _UNREACHABLE, clock, alarm)
        self._credentials = credentials
        self._identity = identity
        self._limits = limits
        self._wait = wait
        self._patience = patience
        self._clock = clock
        self._skipped = SkippedEvents(name, skipped)
        self._heard = heard

    def open(self, turn: Turn) -> EventStream:
        """See ``Backend.open``; a rejected login is refreshed once."""
        body = encoded(turn)
        deadlines = Deadlines(self._limits, self._clock())

        def attempt(access: Credential) -> requests.Response:
            note_sent(turn, len(body))
            return self._send("POST", "/codex/responses", turn_headers(self._identity, access, turn), body, deadlines)

        response = self._authorised(attempt, deadlines)
        if is_no_stream(response.headers.get("content-type", "")):
            raise self._refused(response)
        answerer = ResponseMetadata(self.name, lower_names(response.headers))
        source = ResponseSource(response, deadlines, self._wait, self._clock, self._skipped)
        return EventStream(source, self._patience, answerer)

    def preview(self, turn: Turn) -> dict[str, Any]:
        """See ``Backend.preview``."""
        headers = turn_headers(self._identity, Credential("", "***"), turn)
        return {"url": f"{self._base_url}/codex/responses", "headers": redacted(headers), "body": turn.body}

    def models(self) -> list[dict[str, Any]]:
        """See ``Backend.models`` (docs/reference/models.md#the-catalogue)."""
        models = self._json("GET", f"/codex/models?client_version={self._identity.version}").get("models")
        if not isinstance(models, list):
            raise UpstreamFailed("Upstream's list of models has an unexpected format.")
        return [model for model in models if isinstance(model, dict) and isinstance(model.get("slug"), str)]

    def usage(self) -> dict[str, Any]:
        """See ``Backend.usage``."""
        return self._json("GET", "/wham/usage")

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """See ``Backend.compact``."""
        try:
            return self._json("POST", "/codex/responses/compact", encode_json(body))
        except UpstreamRejected as error:
            if not lacks_route(error):
                raise
            raise NotOffered("Upstream cannot compact conversations.") from error

    def _json(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        deadlines = Deadlines(self._limits, self._clock())

        def attempt(access: Credential) -> requests.Response:
            headers = {**account_headers(self._identity, access), "version": self._identity.version}
            if body:
                headers["content-type"] = "application/json"
            return self._send(method, path, headers, body, deadlines)

        return self._exchange.whole(self._authorised(attempt, deadlines), deadlines)

    def _authorised(
        self, attempt: Callable[[Credential], requests.Response], deadlines: Deadlines
    ) -> requests.Response:
        # Around the login, too: its renewal may take longer than the turn has.
        with self._exchange.within(deadlines):
            access = self._credentials.current()
            response = attempt(access)
            if response.status_code == 401:
                response.close()
                response = attempt(self._credentials.recover(access.token))
        quota = quota_from_headers(lower_names(response.headers), time.time())
        if self._heard is not None:
            self._heard(self.name, quota)
        if response.status_code == 200:
            return response
        error = self._refused(response)
        error.quota_told = quota is not None
        raise error

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: Encoded, deadlines: Deadlines
    ) -> requests.Response:
        return self._exchange.begun(method, self._base_url + path, headers, body, deadlines)

    def _refused(self, response: requests.Response) -> ProxyError:
        body = self._exchange.refused(response)
        log_body("upstream error body", body)
        if response.status_code == 401:
            return LoginExpired(
                "Upstream does not accept the login any more. Please sign in again with `codexproxy login`."
            )
        return refusal(response.status_code, lower_names(response.headers), body)


def lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}
