"""What has been said so far in a stream, and the events that end it early."""

from typing import Any

from codexproxy.protocol.events import Batch, Event, id_of, key_of

Data = dict[str, Any]
Key = Any

# A message with more parts is no message; an index beyond is garbage of upstream's.
_MOST_PARTS = 1_000

# A call's type -> the field that holds what the model wrote into it.
WRITTEN = {"function_call": "arguments", "custom_tool_call": "input"}


class Transcript:
    """Keeps items, shown texts and sequence numbers of one stream.

    Attributes:
        shift: How many more events went out than came in; later sequence numbers move by it.
    """

    def __init__(self) -> None:
        self.shift = 0
        self._response: Data = {}
        self._items: dict[Key, Data] = {}
        self._done: dict[Key, Data] = {}
        self._texts: dict[Key, dict[int, list[str]]] = {}
        self._written: dict[Key, list[str]] = {}

    def note_response(self, response: Any) -> None:
        """A Response object was seen; what it says of its output does not count."""
        if isinstance(response, dict):
            self._response |= {key: value for key, value in response.items() if key != "output"}

    def note_item(self, key: Key, item: Data, *, done: bool = False) -> None:
        """An item was announced, or is complete."""
        self._items[key] = item
        if done:
            self._done[key] = item

    def unseen(self, response: Any) -> list[tuple[int, Data]]:
        """Items of the final Response object that were not streamed, with their places."""
        items = as_list(response.get("output")) if isinstance(response, dict) else []
        if len(items) <= len(self._done):
            return []
        ids = {id_of({"item": item}) for item in self._done.values()} - {None}
        return [
            (place, item)
            for place, item in enumerate(items)
            if isinstance(item, dict) and id_of({"item": item}) not in ids and place not in self._done
        ]

    def show(self, key: Key, index: int, text: str) -> None:
        """Text of a message was passed on."""
        self._texts.setdefault(key, {}).setdefault(index, []).append(text)

    def write(self, key: Key, text: str) -> None:
        """A piece of a call's arguments or input was passed on."""
        self._written.setdefault(key, []).append(text)

    def has_written(self, key: Key) -> bool:
        """Whether pieces of this call were passed on."""
        return key in self._written

    # -- events -----------------------------------------------------------------------

    def passed(self, event: Event) -> Event:
        """The event with the sequence number it has in what goes out."""
        if not self.shift or not isinstance(event.data.get("sequence_number"), int):
            return event
        number = event.data["sequence_number"] + self.shift
        return Event.of({**event.data, "type": event.type, "sequence_number": number})

    def inserted(self, told: Data, beside: Data, index: int | None = None) -> Event:
        """A further event, before the one whose data is given."""
        event = Event.of({**told, **_place(beside, index), **_numbered(beside, self.shift)})
        self.shift += 1
        return event

    def ending(self, data: Data, index: int | None, status: str, usage: Data) -> Batch:
        """The events that end the answer right after the event whose data is given.

        Args:
            data: Data of the last event, with the place of the item that is cut.
            index: Which part of a message is cut; None for a call.
            status: ``completed`` or ``incomplete``.
            usage: The usage to report.
        """
        key = key_of(data)
        item = {**self._partial(key), "status": status}
        self._done[key] = item
        ends: list[tuple[Data, int | None]] = []
        if index is not None and "content" in item:
            part = item["content"][index]
            ends.append(({"type": "response.output_text.done", "text": part["text"], "logprobs": []}, index))
            ends.append(({"type": "response.content_part.done", "part": part}, index))
        ends.append(({"type": "response.output_item.done", "item": item}, None))
        batch = [
            Event.of({**told, **_place(data, at), **_numbered(data, self.shift + count)})
            for count, (told, at) in enumerate(ends, 1)
        ]
        final = {"type": f"response.{status}", "response": self._final(status, usage)}
        return [*batch, Event.of({**final, **_numbered(data, self.shift + len(ends) + 1)})]

    def _partial(self, key: Key) -> Data:
        item = self._items.get(key, {"type": "message", "role": "assistant"})
        holder = WRITTEN.get(str(item.get("type")))
        if holder:
            return {**item, holder: "".join(self._written.get(key, []))}
        if item.get("type") != "message" and key not in self._texts:
            return item
        given, texts = as_list(item.get("content")), self._texts.get(key, {})
        count = max([len(given), *(index + 1 for index in texts)])
        return {**item, "content": [_part(given, texts, index) for index in range(count)]}

    def _final(self, status: str, usage: Data) -> Data:
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        known = {key: self._partial(key) for key in self._items} | self._done
        output = [item for _, item in sorted(known.items(), key=_by_place)]
        return {**self._response, "status": status, "output": output, "incomplete_details": details, "usage": usage}


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _part(given: list[Any], texts: dict[int, list[str]], index: int) -> Data:
    part = given[index] if index < len(given) and isinstance(given[index], dict) else {"type": "output_text"}
    if index not in texts:
        return part if "type" in part and part["type"] != "output_text" else {**_BLANK, **part}
    return {**_BLANK, **part, "text": "".join(texts[index]), "annotations": [], "logprobs": []}


_BLANK = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def _place(data: Data, index: int | None) -> Data:
    place = {"output_index": data.get("output_index"), "item_id": id_of(data)}
    place = {key: value for key, value in place.items() if value is not None}
    return place if index is None else {**place, "content_index": index}


def _numbered(data: Data, shift: int) -> Data:
    number = data.get("sequence_number")
    return {"sequence_number": number + shift} if isinstance(number, int) else {}


def _by_place(entry: tuple[Key, Data]) -> tuple[bool, int]:
    key = entry[0]
    return (not isinstance(key, int), key if isinstance(key, int) else 0)


def changed(event: Event, change: Data) -> Event:
    """The event with other data; its sequence number stays."""
    return Event.of({**event.data, "type": event.type, **change})


def before(data: Data) -> Data:
    """The place before an event that is not passed on, since all of it is cut."""
    number = data.get("sequence_number")
    return {**data, "sequence_number": number - 1} if isinstance(number, int) else data


def part_index(data: Data) -> int:
    """Which part of its item an event is about."""
    index = data.get("content_index")
    return index if isinstance(index, int) and 0 <= index < _MOST_PARTS else 0
