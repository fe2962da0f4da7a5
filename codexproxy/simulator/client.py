"""A typed client of ``/_sim/…``, for tests in other processes. Standard library only."""

import json
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import BaseHandler, HTTPSHandler, ProxyHandler, Request, build_opener

Json = dict[str, Any]

RESPONSES = "/backend-api/codex/responses"


class ControlRefused(RuntimeError):
    """The simulator did not understand a control request; the message says why."""


class SimulatorClient:
    """Steers a running simulator.

    Args:
        base_url: ``http://127.0.0.1:PORT``.
        timeout: Seconds to wait for an answer.
        cafile: Certificate to trust, where the simulator speaks TLS.
    """

    def __init__(self, base_url: str, timeout: float = 60.0, cafile: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout = timeout
        # Loopback is never reached through a proxy of the environment.
        handlers: list[BaseHandler] = [ProxyHandler({})]
        if cafile is not None:
            handlers.append(HTTPSHandler(context=ssl.create_default_context(cafile=cafile)))
        self._opener = build_opener(*handlers)

    @property
    def backend_url(self) -> str:
        """What ``CODEX_BACKEND_URL`` has to be."""
        return f"{self.base_url}/backend-api"

    @property
    def issuer_url(self) -> str:
        """What ``CODEX_AUTH_ISSUER`` has to be."""
        return self.base_url

    def _call(self, method: str, path: str, fields: Json | None = None) -> Any:
        body = None if fields is None else json.dumps(fields).encode()
        headers = {"content-type": "application/json"}
        request = Request(f"{self.base_url}/_sim/{path}", body, headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise ControlRefused(error.read().decode("utf-8", "replace")) from None

    def reset(self) -> None:
        """Back to a clean slate; streams under way are ended."""
        self._call("POST", "reset", {})

    def rules(self, **values: bool | Json) -> Json:
        """Switches rules by name and returns the value of every rule."""
        result: Json = self._call("POST", "rules", values)
        return result

    def script(self, *scripts: Json, match: str | None = None, repeat: int = 1, endpoint: str = "responses") -> None:
        """Queues the next answers.

        Args:
            scripts: See ``codexproxy.simulator.scripts`` and ``codexproxy.simulator.recipes``.
            match: Only requests that contain this text anywhere take them.
            repeat: How often each is used; -1 for ever.
            endpoint: ``responses``, ``token``, ``models``, ``usage``, ``compact``, …
        """
        fields = {"scripts": list(scripts), "match": match, "repeat": repeat, "endpoint": endpoint}
        self._call("POST", "scripts", fields)

    def waiting_scripts(self) -> dict[str, int]:
        """How many scripts wait, per endpoint."""
        result: dict[str, int] = self._call("GET", "scripts")
        return result

    def requests(self, path: str | None = None, match: str | None = None, after: int = 0) -> list[Json]:
        """The requests received so far; each has method, path, query, headers, json, text, raw_size,
        content_encoding, status, outcome, at, ended_at and number."""
        query = urlencode({k: v for k, v in {"path": path, "match": match, "after": after}.items() if v})
        result: list[Json] = self._call("GET", f"requests?{query}")
        return result

    def turns(self, match: str | None = None) -> list[Json]:
        """The requests to ``/codex/responses``."""
        return self.requests(RESPONSES, match)

    def last_turn(self, match: str | None = None) -> Json:
        """The newest request to ``/codex/responses``.

        Raises:
            LookupError: There was none.
        """
        turns = self.turns(match)
        if not turns:
            raise LookupError("the simulator has not received a turn yet")
        return turns[-1]

    def counters(self) -> Json:
        """open_streams, max_open_streams, requests (by path), total_requests, refreshes, reuse_detections,
        refreshes_cut, exchanges, revocations, disconnects, disconnect_times, connections, …"""
        result: Json = self._call("GET", "counters")
        return result

    def wait_for(self, condition: Callable[[Json], bool], seconds: float = 60.0) -> Json:
        """Polls the counters until the condition holds.

        Raises:
            TimeoutError: It did not hold in time.
        """
        deadline = time.monotonic() + seconds
        while not condition(counters := self.counters()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"condition not met in {seconds} s; counters: {counters}")
            time.sleep(0.01)
        return counters

    def login(
        self,
        lifetime: float | None = None,
        email: str | None = None,
        plan: str | None = None,
        account_id: str | None = None,
    ) -> Json:
        """Signs a person in and returns the content of ``tokens.json``; the lifetime is in seconds."""
        fields = {"lifetime": lifetime, "email": email, "plan": plan, "account_id": account_id}
        result: Json = self._call("POST", "login", fields)
        return result

    def settings(self, **values: Any) -> None:
        """Sets access_lifetime, pace_ms, official_instructions, person, device_interval, keep_requests,
        quota or models."""
        self._call("POST", "settings", values)

    def tokens(self) -> Json:
        """Every token the issuer knows, with its state."""
        result: Json = self._call("GET", "tokens")
        return result

    def revoke(self, token: str) -> bool:
        """Revokes an access token, or a refresh token with its family; False for an unknown one."""
        return bool(self._call("POST", "tokens/revoke", {"token": token})["known"])

    def expire(self, token: str) -> bool:
        """Lets a token expire now; False for an unknown one."""
        return bool(self._call("POST", "tokens/expire", {"token": token})["known"])

    def approve_device(self, user_code: str | None = None) -> bool:
        """Approves a device login, the newest without a code; False when none waits."""
        return bool(self._call("POST", "device", {"decision": "approve", "user_code": user_code})["known"])

    def deny_device(self, user_code: str | None = None) -> bool:
        """Denies a device login, the newest without a code; False when none waits."""
        return bool(self._call("POST", "device", {"decision": "deny", "user_code": user_code})["known"])

    def open_gate(self, name: str) -> None:
        """Lets answers that are stalled at the gate go on."""
        self._call("POST", "gates", {"name": name})
