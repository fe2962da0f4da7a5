"""Which item an event belongs to, also where the event does not say.

Upstream gives events an ``output_index`` and an ``item_id``; relays and older
recordings leave out one of them, or both (docs/reference/stream.md#details-that-readers-get-wrong).
"""

from typing import Any

from codexproxy.protocol.events import Event, id_of, key_of

Key = int | str

ADDED, DONE = "response.output_item.added", "response.output_item.done"


class Places:
    """Follows one stream, item by item."""

    def __init__(self) -> None:
        self._known: set[Key] = set()
        self._indexes: dict[str, int] = {}
        # The item that events without a place belong to, and whether its key is of our making.
        self._open: Key | None = None
        self._made = 0
        self._open_is_made = False

    def placed(self, event: Event) -> Event:
        """The event with the place of its item in its data; its frame stays as it came."""
        data = event.data
        key = _FIND.get(event.type, Places.key)(self, data)
        if key == key_of(data):
            return event
        others = {name: value for name, value in data.items() if name not in ("output_index", "item_id")}
        place = {"output_index": key} if isinstance(key, int) else {"item_id": key}
        return Event(event.type, event.raw, b"", {**others, **place})

    def key(self, data: dict[str, Any]) -> Key:
        """The key of the item that an event inside it belongs to."""
        key = self._key(data)
        if key is None:
            key = self._open if self._open is not None else self._make()
        self._known.add(key)
        return key

    def known(self, item: dict[str, Any], position: int) -> Key:
        """The key of an item of the final output, which may have been streamed under another place.

        Args:
            item: The item.
            position: Its place in the final output.
        """
        key = self._key({"item": item})
        return key if key is not None and key in self._known else position

    def _key(self, data: dict[str, Any]) -> Key | None:
        key, id = key_of(data), id_of(data)
        if key in self._known or id is None:
            return key
        alias = self._indexes.get(id, id)
        return alias if alias in self._known else key

    def _begun(self, data: dict[str, Any]) -> Key:
        index, id = key_of(data), id_of(data)
        if isinstance(index, int) and id is not None:
            self._indexes[id] = index
        key = self._key(data)
        if key is None:
            return self._make()
        self._open, self._open_is_made = key, False
        self._known.add(key)
        return key

    def _ended(self, data: dict[str, Any]) -> Key:
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


_FIND = {ADDED: Places._begun, DONE: Places._ended}
