"""Backends that answer from a script and count what was opened and closed."""

from collections.abc import Iterable, Sequence
from typing import Any

from codexproxy.protocol.events import Batch, Event
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream, ResponseMetadata
from codexproxy.provider_types import CODEX, Capabilities
from codexproxy.upstream.base import Backend

# What a backend does with one turn: an exception to raise, or batches of events.
Script = BaseException | Sequence[Batch]


def event(type: str, **data: Any) -> Event:
    return Event.of({"type": type, **data})


def answer(text: str = "hello") -> list[Batch]:
    """A complete answer in three reads."""
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return [
        [event("response.created", response={"id": "resp_1"}), event("response.in_progress")],
        [event("response.output_text.delta", delta=text, output_index=0)],
        [
            event("response.output_item.done", item=item, output_index=0),
            event("response.completed", response={"id": "resp_1", "output": [item], "usage": {"output_tokens": 1}}),
        ],
    ]


def empty() -> list[Batch]:
    """An answer that is completed with nothing in it."""
    return [
        [event("response.created", response={"id": "resp_0"})],
        [event("response.completed", response={"id": "resp_0", "output": [], "usage": {"output_tokens": 0}})],
    ]


def failed(code: str, message: str = "upstream says no") -> list[Batch]:
    """A refusal inside a 200."""
    response = {"id": "resp_2", "status": "failed", "error": {"code": code, "message": message}}
    return [
        [event("response.created", response={"id": "resp_2"})],
        [event("codex.rate_limits"), event("response.failed", response=response)],
    ]


class ScriptedSource:
    """Batches from a list; an exception among them is raised when its turn comes."""

    def __init__(self, batches: Iterable[Batch | BaseException]) -> None:
        self._batches = iter(batches)
        self.is_closed = False

    def read(self, patience: float) -> Batch | None:
        batch = next(self._batches, None)
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def close(self) -> None:
        self.is_closed = True


class ScriptedBackend(Backend):
    """Answers turn after turn from its script, and with ``answer()`` when the script is over."""

    def __init__(self, name: str, *script: Any, capabilities: Capabilities = CODEX) -> None:
        self.name = name
        self.capabilities = capabilities
        self.script = list(script)
        self.turns: list[Turn] = []
        self.sources: list[ScriptedSource] = []

    def open(self, turn: Turn) -> EventStream:
        self.turns.append(turn)
        step: Any = self.script.pop(0) if self.script else answer()
        if isinstance(step, BaseException):
            raise step
        self.sources.append(ScriptedSource(step))
        return EventStream(self.sources[-1], answerer=ResponseMetadata(self.name, {"x-from": self.name}))

    def models(self) -> list[dict[str, Any]]:
        return []

    def usage(self) -> dict[str, Any]:
        return {}

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        return {}

    @property
    def open_sources(self) -> int:
        """How many streams were opened and not closed."""
        return sum(not source.is_closed for source in self.sources)
