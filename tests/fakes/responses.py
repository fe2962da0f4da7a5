"""A store of responses in memory, as forgetful as a test needs it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from codexproxy.storage.base import (
    PER_ITEM,
    Excerpt,
    Frame,
    History,
    Json,
    Limits,
    Stored,
    abandoned,
    cancelled,
)
from codexproxy.storage.stored_responses import content_of


@dataclass
class Entry:
    """One response in memory."""

    stored: Stored
    response: Json
    parent: "Entry | None"
    touched: float
    lease: float | None = None
    attended: float | None = None
    frames: dict[int, bytes] = field(default_factory=dict)


class MemoryResponseStore:
    """A ``ResponseStore`` for one process, without the bound on bytes."""

    def __init__(self, limits: Limits = Limits(), clock: Callable[[], float] = time.time) -> None:
        self.limits = limits
        self.clock = clock
        self.entries: dict[tuple[str, str], Entry] = {}

    def save(self, stored: Stored) -> None:
        self._insert(stored, None)

    def begin(self, stored: Stored) -> None:
        self._insert(stored, self.clock() + self.limits.lease)

    def advance(self, owner: str, id: str, frames: Sequence[Frame] = (), response: Json | None = None) -> bool:
        entry = self._unfinished(owner, id)
        if entry is None:
            return False
        entry.frames = {**dict(frames), **entry.frames}
        entry.response = response or entry.response
        entry.lease = self.clock() + self.limits.lease
        return True

    def finish(self, owner: str, id: str, response: Json, frames: Sequence[Frame] = ()) -> bool:
        if not self.advance(owner, id, frames, response):
            return False
        self.entries[owner, id].lease = None
        return True

    def attend(self, owner: str, id: str) -> None:
        entry = self._find(owner, id)
        if entry is not None:
            entry.attended = self.clock()

    def attended(self, owner: str, id: str) -> float | None:
        entry = self._find(owner, id)
        return entry.attended if entry else None

    def cancel(self, owner: str, id: str) -> Json | None:
        entry = self._unfinished(owner, id)
        if entry is not None:
            entry.response, entry.lease = cancelled(entry.response), None
        return self.get(owner, id)

    def get(self, owner: str, id: str) -> Json | None:
        entry = self._find(owner, id)
        if entry is None:
            return None
        return abandoned(entry.response) if entry.lease and entry.lease < self.clock() else dict(entry.response)

    def delete(self, owner: str, id: str) -> bool:
        return self._find(owner, id) is not None and self.entries.pop((owner, id)) is not None

    def history(self, owner: str, id: str) -> History | None:
        entry = self._find(owner, id)
        if entry is None:
            return None
        chain = [entry]
        while chain[0].parent is not None and chain[0].parent in self.entries.values():
            chain.insert(0, chain[0].parent)
        items = [dict(item) for step in chain[:-1] for item in [*step.stored.input, *step.response["output"]]]
        response = self.get(owner, id) or {}
        items += [dict(item) for item in entry.stored.input]
        return History(items, response["output"], response["status"], chain[0].stored.previous)

    def items(self, owner: str, ids: Sequence[str]) -> dict[str, Json]:
        mine = [entry for (name, id), entry in self.entries.items() if name == owner and self._find(name, id)]
        inputs = [dict(item) for entry in mine for item in entry.stored.input]
        outputs = [item for entry in mine for item in entry.response["output"]]
        return {item["id"]: item for item in inputs + outputs if item.get("id") in ids}

    def history_size(self, owner: str, id: str) -> int:
        history = self.history(owner, id)
        return sum(map(_size, [*history.input, *history.output])) if history else 0

    def item_sizes(self, owner: str, ids: Sequence[str]) -> dict[str, int]:
        return {id: _size(item) for id, item in self.items(owner, ids).items()}

    def log(self, owner: str, id: str, after: int = -1, limit: int = 500) -> Excerpt | None:
        entry = self._find(owner, id)
        if entry is None:
            return None
        frames = sorted(pair for pair in entry.frames.items() if pair[0] > after)[:limit]
        over = entry.lease is None or entry.lease < self.clock()
        return Excerpt(frames, over and len(frames) < limit)

    def sweep(self) -> int:
        for entry in self.entries.values():
            if entry.lease is not None and entry.lease < self.clock():
                entry.response, entry.lease = abandoned(entry.response), None
        return self._forget()

    def _insert(self, stored: Stored, lease: float | None) -> None:
        parent = self.entries.pop((stored.owner, stored.previous), None) if stored.previous else None
        if parent is not None and stored.previous != stored.response["id"]:
            self.entries[stored.owner, str(stored.previous)] = parent
        elif parent is not None:
            self.entries[stored.owner, f"{stored.previous}#{len(self.entries)}"] = parent
        entry = Entry(stored, {"output": [], **stored.response}, parent, self.clock(), lease)
        step = parent
        while step is not None:
            step.touched, step = entry.touched, step.parent
        self.entries[stored.owner, str(stored.response["id"])] = entry
        self._forget()

    def _forget(self) -> int:
        before = len(self.entries)
        oldest = self.clock() - self.limits.max_age
        kept = [pair for pair in self.entries.items() if pair[1].touched >= oldest]
        kept.sort(key=lambda pair: pair[1].touched)
        self.entries = dict(kept[-self.limits.max_responses :])
        return before - len(self.entries)

    def _find(self, owner: str, id: str) -> Entry | None:
        entry = self.entries.get((owner, id))
        return entry if entry and entry.touched >= self.clock() - self.limits.max_age else None

    def _unfinished(self, owner: str, id: str) -> Entry | None:
        entry = self._find(owner, id)
        return entry if entry and entry.lease is not None and entry.lease >= self.clock() else None


def _size(item: Json) -> int:
    return PER_ITEM + len(content_of(item).body)
