"""Two keys of one service: Ann, who sends odd things, and Bob, who must not notice."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.service import Answer, Service

Json = dict[str, Any]

MODEL = "gpt-5.2"
RESPONSES = "/v1/responses"
DRY = {"x-codexproxy-dry-run": "1"}
CODEX = {"user-agent": "codex_cli_rs/0.169.0 (Ubuntu 24.04; x86_64) xterm", "originator": "codex_cli_rs"}


def configuration(folder: Path, **limits: Any) -> str:
    """A configuration with the keys ``ann`` and ``bob``, of which Ann's has limits; its path."""
    path = folder / "users.json"
    users = [{"name": name, "apiKeyHash": hash_key(name)} for name in ("ann", "bob")]
    users[0] |= limits
    path.write_text(json.dumps({"users": users}))
    return str(path)


@dataclass(frozen=True)
class Caller:
    """One of the two.

    Attributes:
        name: The key's name, and the key.
        service: Who is asked.
    """

    name: str
    service: Service

    def ask(self, body: Any, headers: dict[str, str] | None = None, path: str = RESPONSES) -> Answer:
        """Sends a turn and reads its whole answer."""
        return self.service.post(path, body, self.headers(headers))

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """What every request of this caller carries."""
        return {"authorization": f"Bearer {self.name}", **(more or {})}

    def preview(self, body: Any, headers: dict[str, str] | None = None, path: str = RESPONSES) -> Json:
        """What would be sent upstream for a turn."""
        answer = self.ask(body, {**DRY, **(headers or {})}, path)
        assert answer.status == 200, answer.body
        shown: Json = answer.json
        return shown


@dataclass(frozen=True)
class Pair:
    """Both callers and the upstream they share."""

    sim: SimulatorClient
    ann: Caller
    bob: Caller


def pair_on(service: Service, sim: SimulatorClient) -> Pair:
    """The two keys of a running service."""
    return Pair(sim, Caller("ann", service), Caller("bob", service))
