"""Recorded Responses streams and what a client must make of them."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from codexproxy.protocol.events import Batch
from codexproxy.upstream.chatgpt.sse import Decoder
from tests.data import RECORDINGS


@dataclass(frozen=True)
class Recording:
    """One recorded stream and what a client must end up with."""

    name: str
    stream: bytes
    expected: dict[str, Any]

    @property
    def asked(self) -> dict[str, Any]:
        """What its caller must have sent, as far as the answer repeats it."""
        told = next(event.data["response"] for event in self.events() if "response" in event.data)
        own = {name: told[name] for name in ("instructions", "safety_identifier") if isinstance(told.get(name), str)}
        return {"model": self.expected["model"], **own}

    def events(self) -> Batch:
        """The stream's events."""
        return decoded(self.stream)


def decoded(stream: bytes) -> Batch:
    """The events of a whole stream."""
    decoder = Decoder()
    return decoder.feed(stream) + decoder.end()


def recordings() -> list[Recording]:
    """All recorded Responses streams."""
    found = sorted((RECORDINGS / "responses_sse").glob("*.sse"))
    return [
        Recording(path.stem, path.read_bytes(), json.loads(path.with_suffix(".expected.json").read_text()))
        for path in found
    ]


def each_recording() -> Any:
    """Runs a test once per recorded stream."""
    found = recordings()
    cases = [pytest.param(case, id=case.name) for case in found]
    return pytest.mark.parametrize("recording", cases)
