"""Calls of a command to the server that its own settings describe."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codexproxy.settings import Settings

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
    """

    base_url: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "LocalServer":
        """The server these settings start."""
        host = _REACHABLE.get(settings.host, settings.host)
        host = f"[{host}]" if ":" in host else host
        return cls(f"http://{host}:{settings.port}", settings.api_key)

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

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def _message(body: Any, status: int) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else f"status {status}"
