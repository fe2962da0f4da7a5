"""What tests of the Responses API share: the official SDK on a service, and ways to look at its streams."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openai

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.service import Service

MODEL = "gpt-5.2"

Json = dict[str, Any]


def sdk(service: Service, key: str = "any") -> openai.OpenAI:
    """The official SDK, which must not try anything twice."""
    return openai.OpenAI(api_key=key, base_url=f"{service.base_url}/v1", max_retries=0, timeout=patient(20))


def two_users(folder: Path) -> str:
    """A configuration with two keys, ``ann`` and ``bob``; its path."""
    path = folder / "users.json"
    path.write_text(json.dumps({"users": [{"name": name, "apiKeyHash": hash_key(name)} for name in ("ann", "bob")]}))
    return str(path)


def texts(items: Iterable[Json]) -> list[str]:
    """The texts of a request's messages."""
    found = []
    for item in items:
        content = item.get("content") or []
        found += [content] if isinstance(content, str) else [part["text"] for part in content if "text" in part]
    return found


def sent(sim: SimulatorClient) -> list[Json]:
    """The input of the newest turn that reached upstream."""
    items: list[Json] = sim.last_turn()["json"]["input"]
    return items


def frames(body: bytes) -> list[Json]:
    """The events of a stream; comments are no events."""
    return [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]
