"""The bytes of ``chat.completion.chunk`` messages; all that is constant in a stream is encoded once."""

from functools import cached_property
from typing import Any

from codexproxy.apis.answer_visitor import Call
from codexproxy.apis.openai_chat.options import Wording
from codexproxy.planning.client_quirks import CONTENT_IN_EVERY_DELTA, TYPE_OF_CUSTOM_CALLS
from codexproxy.protocol.events import encode_json

Delta = dict[str, Any]
Frame = tuple[bytes, bytes]


class Chunks:
    """Encodes the chunks of one choice.

    Attributes:
        text: What stands before and after the JSON of a text delta.
    """

    def __init__(self, wording: Wording, index: int) -> None:
        head = {"id": wording.id, "object": "chat.completion.chunk", "created": wording.created, "model": wording.model}
        self._head = b"data: " + encode_json(head)[:-1]
        # With include_usage every chunk but the last has ``usage: null``, else none has the key.
        self._tail = b',"usage":null}\n\n' if wording.include_usage else b"}\n\n"
        self._choice = self._head + b',"choices":[{"index":%d,"delta":' % index
        self._going_on = b',"logprobs":null,"finish_reason":null}]' + self._tail
        self._content = {"content": ""} if CONTENT_IN_EVERY_DELTA in wording.quirks else {}
        self.text = self._choice + b'{"content":', b"}" + self._going_on
        # Beside reasoning, several clients want the key ``content``
        # (docs/reference/clients.md#chunks-without-a-content-key).
        self._beside = b"" if self._content else b'"content":null,'

    @cached_property
    def refusal(self) -> Frame:
        """What stands before and after the JSON of a refusal delta."""
        return self.frame(b'"refusal":', b"}")

    @cached_property
    def reasoning(self) -> Frame:
        """The same for reasoning in the style ``reasoning_content``."""
        return self.frame(self._beside + b'"reasoning_content":', b"}")

    @cached_property
    def thinking(self) -> Frame:
        """The same for reasoning in the style ``o3``."""
        return self.frame(self._beside + b'"reasoning":{"content":[{"type":"text","text":', b"}]}}")

    def frame(self, before: bytes, after: bytes) -> Frame:
        """A chunk with a hole for one JSON string in its delta, which is begun already."""
        begun = b'{"content":"",' if self._content else b"{"
        return self._choice + begun + before, after + self._going_on

    def delta(self, delta: Delta) -> bytes:
        """A chunk with this delta."""
        return self._choice + encode_json({**self._content, **delta}) + self._going_on

    def finish(self, reason: str, tier: str | None) -> bytes:
        """The last chunk of the choice; upstream tells only at the end which tier it was."""
        choice = encode_json(self._content) + b',"logprobs":null,"finish_reason":"%s"}]' % reason.encode()
        return self._choice + choice + _tier(tier) + self._tail

    def usage(self, usage: dict[str, Any], tier: str | None) -> bytes:
        """The chunk without choices that ends a stream with ``include_usage``."""
        return self._head + b',"choices":[],"usage":' + encode_json(usage) + _tier(tier) + b"}\n\n"


def _tier(tier: str | None) -> bytes:
    return b',"service_tier":' + encode_json(tier) if tier else b""


def call_header(call: Call, wording: Wording) -> Delta:
    """The delta that announces a call, complete but for its arguments."""
    name = wording.name_of(call)
    if wording.legacy:
        return {"function_call": {"name": name, "arguments": ""}}
    if wording.is_custom(call):
        kind = {"type": "custom"} if TYPE_OF_CUSTOM_CALLS in wording.quirks else {}
        return {"tool_calls": [{"index": call.slot, "id": call.id, **kind, "custom": {"name": name, "input": ""}}]}
    function = {"name": name, "arguments": ""}
    return {"tool_calls": [{"index": call.slot, "id": call.id, "type": "function", "function": function}]}


def call_frame(call: Call, wording: Wording, chunks: Chunks) -> Frame:
    """A chunk with a hole for a fragment of a call's arguments or input."""
    if wording.legacy:
        return chunks.frame(b'"function_call":{"arguments":', b"}}")
    if wording.is_custom(call):
        return chunks.frame(b'"tool_calls":[{"index":%d,"custom":{"input":' % call.slot, b"}}]}")
    return chunks.frame(b'"tool_calls":[{"index":%d,"function":{"arguments":' % call.slot, b"}}]}")
