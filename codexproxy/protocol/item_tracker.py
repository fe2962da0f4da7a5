"""Which output item an event belongs to, which part of it, and which items are done.

Upstream gives events an ``output_index`` and an ``item_id``; relays and older
recordings leave out one of them, or both (docs/reference/stream.md#details-that-readers-get-wrong).
Everything that interprets a stream asks an ``ItemTracker`` of its own.
"""

from collections.abc import Iterator
from typing import Any

from codexproxy.protocol.events import Event, item_id, item_key

Key = int | str
Data = dict[str, Any]

ADDED, DONE = "response.output_item.added", "response.output_item.done"

# A call's type -> the field that holds what the model wrote into the call.
CALL_FIELDS = {"function_call": "arguments", "custom_tool_call": "input"}

# A message with more parts is no message; an index beyond is garbage of upstream's.
_MOST_PARTS = 1_000


class ItemTracker:
    """Follows the items of one stream.

    Attributes:
        done: Keys of the items that are complete, each with the item's id.
    """

    def __init__(self) -> None:
        self.done: dict[Key, str | None] = {}
        self._known: set[Key] = set()
        self._indexes: dict[str, int] = {}
        # The item that events without a place belong to, and whether its key is of our making.
        self._open: Key | None = None
        self._made = 0
        self._open_is_made = False

    def resolve(self, event: Event) -> Event:
        """The event with the place of its item in its data; its frame stays as it came."""
        data, find = event.data, _FIND.get(event.type)
        index = data.get("output_index")
        if find is None and isinstance(index, int) and index in self._known:
            return event
        key = find(self, data) if find is not None else self.key(data)
        if key == item_key(data):
            return event
        others = {name: value for name, value in data.items() if name not in ("output_index", "item_id")}
        return Event(event.type, event.raw, b"", {**others, **place_of(key)})

    def key(self, data: Data) -> Key:
        """The key of the item that an event inside it belongs to."""
        key = self._key(data)
        if key is None:
            key = self._open if self._open is not None else self._make()
        self._known.add(key)
        return key

    def finish(self, key: Key, item: Data) -> None:
        """Marks an item as complete."""
        self.done[key] = item_id({"item": item})

    def unfinished(self, output: Any) -> Iterator[tuple[Key, Data]]:
        """Items of a final output that were not completed in the stream, with their keys.

        Args:
            output: The ``output`` of the final Response object, whatever upstream has there.
        """
        items = output if isinstance(output, list) else []
        if len(items) <= len(self.done):
            return
        ids = {id for id in self.done.values() if id}
        for position, item in enumerate(items):
            if isinstance(item, dict) and item_id({"item": item}) not in ids:
                key = self._final_key(item, position)
                if key not in self.done:
                    yield key, item

    def _final_key(self, item: Data, position: int) -> Key:
        # An item may have been streamed under another place than it has in the final output.
        key = self._key({"item": item})
        return key if key is not None and key in self._known else position

    def _key(self, data: Data) -> Key | None:
        key, id = item_key(data), item_id(data)
        if key in self._known or id is None:
            return key
        alias = self._indexes.get(id, id)
        return alias if alias in self._known else key

    def _begin(self, data: Data) -> Key:
        index, id = item_key(data), item_id(data)
        if isinstance(index, int) and id is not None:
            self._indexes[id] = index
        key = self._key(data)
        if key is None:
            return self._make()
        self._open, self._open_is_made = key, False
        self._known.add(key)
        return key

    def _end(self, data: Data) -> Key:
        key = self._key(data)
        if self._open is not None and (key is None or (self._open_is_made and key not in self._known)):
            key = self._open
        elif key is None:
            key = self._make()
        self._open = None
        self._known.add(key)
        return key

    def _make(self) -> Key:
        self._made += 1
        self._open, self._open_is_made = f"item_{self._made}", True
        self._known.add(self._open)
        return self._open


_FIND = {ADDED: ItemTracker._begin, DONE: ItemTracker._end}


def place_of(key: Key | None) -> Data:
    """The fields of an event that name an item."""
    return {"output_index": key} if isinstance(key, int) else {"item_id": key}


def part_index(data: Data) -> int:
    """Which content part of its item an event is about."""
    index = data.get("content_index")
    return index if isinstance(index, int) and 0 <= index < _MOST_PARTS else 0
