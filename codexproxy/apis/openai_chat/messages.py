"""Messages of Chat Completions into instructions and Responses input items.

Written by hand and quick, since a conversation of a thousand messages is
validated on every turn (docs/reference/measurements.md#validation-of-messages).
"""

from collections.abc import Callable
from typing import Any, ClassVar

from codexproxy.apis.openai_chat.content import input_parts, output_parts, text_of
from codexproxy.apis.validation_errors import bad_value, missing, unsupported, wrong_type, wrong_value
from codexproxy.protocol.events import as_text
from codexproxy.protocol.pacing import Pause, no_pause, paced

Item = dict[str, Any]

# Roles whose messages are items at once when they hold nothing but a text -> the type of that text.
_PLAIN = {"user": "input_text", "assistant": "output_text"}


class Conversation:
    """Collects the items of one request.

    Args:
        customs: Names of the request's custom tools; a function call to one of
            them is the custom call that a client wrapped (docs/reference/clients.md#cursors-applypatch).
        pause: Lets others run.

    Attributes:
        items: The input items so far.
        leading: Texts of the system messages before anything else.
        notes: What was changed on the way.
    """

    def __init__(self, customs: frozenset[str] = frozenset(), pause: Pause = no_pause) -> None:
        self.items: list[Item] = []
        self.leading: list[str] = []
        self.notes: list[str] = []
        self.ignored: list[str] = []
        self._customs = customs
        self._pause = pause
        # Name -> id of the last legacy call to it.
        self._legacy_calls: dict[str, str] = {}
        self._legacy_count = 0
        self._custom_ids: set[str] = set()

    def take(self, message: Any) -> bool:
        """Takes a message that is a role and a text, as nearly all are; whether it was one."""
        if type(message) is not dict or len(message) != 2:
            return False
        text, role = message.get("content"), message.get("role")
        if type(text) is not str or not text or type(role) is not str or role not in _PLAIN:
            return False
        self.items.append({"type": "message", "role": role, "content": [{"type": _PLAIN[role], "text": text}]})
        return True

    def add(self, message: Any, path: str) -> None:
        """Takes the next message, whatever it is.

        Raises:
            InvalidRequest: It is malformed; ``param`` begins with ``path``.
        """
        if not isinstance(message, dict):
            raise wrong_type(path, "an object", message)
        role = message.get("role")
        if role is None and isinstance(message.get("type"), str) and message["type"] != "message":
            # An item of the Responses API among the messages (docs/reference/clients.md#cursors-mixed-forms).
            wrapped = message["type"] == "function_call" and message.get("name") in self._customs
            self.items.append(self._call(message, path) if wrapped else message)
            return
        if role is None:
            raise missing(f"{path}.role")
        handler = self._ROLES.get(role) if isinstance(role, str) else None
        if handler is None:
            raise wrong_value(f"{path}.role", role, self._ROLES)
        if message.get("name") is not None and role not in ("function", "tool"):
            self.ignored.append("messages.name")
        handler(self, message, path)

    def _add_system(self, message: Item, path: str) -> None:
        if "content" not in message:
            raise missing(f"{path}.content")
        parts = input_parts(message["content"], f"{path}.content", self._pause)
        text = text_of(parts, self._pause)
        if text is not None and not self.items:
            self.leading += [text] if text else []
            return
        if message["role"] == "system":
            self.notes.append("messages:system_to_developer")
        self._add_message("developer", parts)

    def _add_user(self, message: Item, path: str) -> None:
        if "content" not in message:
            raise missing(f"{path}.content")
        parts = input_parts(message["content"], f"{path}.content", self._pause)
        self._add_message("user", parts or [{"type": "input_text", "text": ""}])

    def _add_assistant(self, message: Item, path: str) -> None:
        if message.get("audio") is not None:
            raise unsupported(
                f"{path}.audio", "The backend does not accept audio. Please send its transcript as content."
            )
        parts = output_parts(message.get("content"), f"{path}.content", self._pause)
        if isinstance(message.get("refusal"), str) and message["refusal"]:
            parts.append({"type": "refusal", "refusal": message["refusal"]})
        if parts:
            phase = {"phase": message["phase"]} if isinstance(message.get("phase"), str) else {}
            self.items.append({"type": "message", "role": "assistant", "content": parts, **phase})
        self._add_calls(message.get("tool_calls"), f"{path}.tool_calls")
        if message.get("function_call") is not None:
            self._add_legacy_call(message["function_call"], f"{path}.function_call")
        if message.get("reasoning_content") or message.get("reasoning"):
            self.notes.append("messages:reasoning_left_out")

    def _add_calls(self, calls: Any, path: str) -> None:
        if calls is None:
            return
        if not isinstance(calls, list):
            raise wrong_type(path, "an array", calls)
        for position, call in enumerate(paced(calls, self._pause)):
            self.items.append(self._call(call, f"{path}[{position}]"))

    def _call(self, call: Any, path: str) -> Item:
        if not isinstance(call, dict):
            raise wrong_type(path, "an object", call)
        kind = "custom" if isinstance(call.get("custom"), dict) else "function"
        holder = call.get(kind)
        # Flat, as in the Responses API, or nested.
        holder, path = (holder, f"{path}.{kind}") if isinstance(holder, dict) else (call, path)
        name, id = holder.get("name"), call.get("call_id") or call.get("id")
        if not isinstance(name, str) or not name:
            raise missing(f"{path}.name")
        named = {"call_id": id if isinstance(id, str) else "", "name": name}
        text = as_text(holder.get("input") if kind == "custom" else holder.get("arguments"))
        if kind == "custom" or name in self._customs:
            self._custom_ids.add(named["call_id"])
            return {"type": "custom_tool_call", **named, "input": text}
        return {"type": "function_call", **named, "arguments": text or "{}"}

    def _add_legacy_call(self, call: Any, path: str) -> None:
        if not isinstance(call, dict):
            raise wrong_type(path, "an object", call)
        item = self._call(call, path)
        item["call_id"] = self._legacy_calls[item["name"]] = f"call_legacy_{self._legacy_count}"
        self._legacy_count += 1
        self.items.append(item)

    def _add_tool(self, message: Item, path: str) -> None:
        id = message.get("tool_call_id") or message.get("call_id")
        if id is not None and not isinstance(id, str):
            raise wrong_type(f"{path}.tool_call_id", "a string", id)
        if "content" not in message:
            raise missing(f"{path}.content")
        # A missing id is found by the repair, from the calls that wait.
        self._add_output(id or "", message["content"], f"{path}.content")

    def _add_function(self, message: Item, path: str) -> None:
        name = message.get("name")
        if not isinstance(name, str) or not name:
            raise missing(f"{path}.name")
        self._add_output(self._legacy_calls.get(name, ""), message.get("content"), f"{path}.content")

    def _add_output(self, id: str, content: Any, path: str) -> None:
        output = content if isinstance(content, str) else input_parts(content, path, self._pause)
        kind = "custom_tool_call_output" if id in self._custom_ids else "function_call_output"
        self.items.append({"type": kind, "call_id": id, "output": output or ""})

    def _add_message(self, role: str, parts: list[Item]) -> None:
        if parts:
            self.items.append({"type": "message", "role": role, "content": parts})

    _ROLES: ClassVar[dict[str, Callable[["Conversation", Item, str], None]]] = {
        "system": _add_system,
        "developer": _add_system,
        "user": _add_user,
        "assistant": _add_assistant,
        "tool": _add_tool,
        "function": _add_function,
    }


def read_messages(messages: list[Any], customs: frozenset[str], pause: Pause = no_pause) -> Conversation:
    """A conversation from ``messages``.

    Raises:
        InvalidRequest: A message is malformed, or there is none.
    """
    if not messages:
        raise bad_value("messages", "The list of messages is empty. Please send at least one.")
    conversation = Conversation(customs, pause)
    for position, message in enumerate(paced(messages, pause)):
        if not conversation.take(message):
            conversation.add(message, f"messages[{position}]")
    return conversation


_NO_REFERENCES = (
    "Chat answers are not stored, so items cannot be referenced by id here. "
    "Please send the item itself, or the request to /v1/responses."
)


def _is_reference(item: dict[str, Any]) -> bool:
    # As on the platform, an item with nothing but an id is a reference.
    return item.get("type") == "item_reference" or ("id" in item and not item.keys() & {"type", "role"})


def read_input(given: Any, customs: frozenset[str], pause: Pause = no_pause) -> Conversation:
    """A conversation from ``input``: a string, or a list of items and messages.

    See docs/reference/clients.md#cursors-responses-bodies.

    Raises:
        InvalidRequest: A message in it is malformed, or there is none.
    """
    conversation = Conversation(customs, pause)
    if isinstance(given, str):
        conversation.add({"role": "user", "content": given}, "input")
        return conversation
    if not isinstance(given, list):
        raise wrong_type("input", "a string or an array of items", given)
    if not given:
        raise bad_value("input", "The list of input items is empty. Please send at least one.")
    for position, item in enumerate(paced(given, pause)):
        if isinstance(item, dict) and _is_reference(item):
            raise unsupported(f"input[{position}]", _NO_REFERENCES)
        conversation.add(item, f"input[{position}]")
    return conversation
