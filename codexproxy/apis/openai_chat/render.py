"""Renders a stream of events as Chat Completions chunks."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from codexproxy.apis.base import DONE, data_line
from codexproxy.apis.event_dispatcher import EventDispatcher
from codexproxy.apis.openai_chat.options import FINISH, ChatStyle, Usage, tier_of, total, url_citation, usage_of
from codexproxy.apis.openai_chat.structured_output import StructuredOutput, mismatch
from codexproxy.apis.visitor import AnswerVisitor, Call, Finish
from codexproxy.errors import ProxyError
from codexproxy.planning.client_quirks import CONTENT_IN_EVERY_DELTA, TYPE_OF_CUSTOM_CALLS
from codexproxy.protocol.events import Batch, encode_json

Delta = dict[str, Any]
Frame = tuple[bytes, bytes]


class Chunks:
    """Encodes the chunks of one choice.

    Attributes:
        text: What stands before and after the JSON of a text delta.
    """

    def __init__(self, wording: ChatStyle, index: int) -> None:
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


def call_header(call: Call, wording: ChatStyle) -> Delta:
    """The delta that announces a call, complete but for its arguments."""
    name = wording.name_of(call)
    if wording.legacy:
        return {"function_call": {"name": name, "arguments": ""}}
    if wording.is_custom(call):
        kind = {"type": "custom"} if TYPE_OF_CUSTOM_CALLS in wording.quirks else {}
        return {"tool_calls": [{"index": call.slot, "id": call.id, **kind, "custom": {"name": name, "input": ""}}]}
    function = {"name": name, "arguments": ""}
    return {"tool_calls": [{"index": call.slot, "id": call.id, "type": "function", "function": function}]}


def call_frame(call: Call, wording: ChatStyle, chunks: Chunks) -> Frame:
    """A chunk with a hole for a fragment of a call's arguments or input."""
    if wording.legacy:
        return chunks.frame(b'"function_call":{"arguments":', b"}}")
    if wording.is_custom(call):
        return chunks.frame(b'"tool_calls":[{"index":%d,"custom":{"input":' % call.slot, b"}}]}")
    return chunks.frame(b'"tool_calls":[{"index":%d,"function":{"arguments":' % call.slot, b"}}]}")


class StreamTrailer:
    """The end of a stream, which the answers of one turn share: it is written by the last of them.

    Args:
        answers: How many answers go into the stream.
        usage_chunk: Encodes the usage of all answers and their tier; None when the caller asked for none.
    """

    def __init__(self, answers: int, usage_chunk: Callable[[Usage, str | None], bytes] | None) -> None:
        self.closed = False
        self._left = answers
        self._usages: list[Usage | None] = []
        self._usage_chunk = usage_chunk

    def finish(self, usage: Usage | None, tier: str | None = None) -> bytes:
        """What follows when one more answer is complete."""
        self._left -= 1
        self._usages.append(usage)
        if self._left or self.closed:
            return b""
        self.closed = True
        sum = total(self._usages)
        return (self._usage_chunk(sum, tier) if self._usage_chunk and sum else b"") + DONE

    def fail(self, error: ProxyError) -> bytes:
        """The error object and the terminator; nothing when the stream is closed already."""
        if self.closed:
            return b""
        self.closed = True
        return data_line({"error": error.as_dict()}) + DONE


class Chunked(AnswerVisitor, Protocol):
    """A sink that writes an answer into a stream that it may share with others.

    Attributes:
        out: What it wrote and nobody fetched yet.
        closing: The stream's end.
    """

    out: list[bytes]
    closing: StreamTrailer


class ChunkRenderer:
    """One answer as chunks; a ``Renderer`` for the web layer.

    It knows its sink and the sink does not know it: a finished answer that were a circle of
    references would wait for the cyclic collector.

    Args:
        sink: Writes the chunks.
        reasoning: Whether the sink wants reasoning at all.
        asides: Whether commentary messages are shown as reasoning.
    """

    def __init__(self, sink: Chunked, *, reasoning: bool = True, asides: bool = False) -> None:
        self._out, self._closing = sink.out, sink.closing
        self._reader = EventDispatcher(sink, reasoning=reasoning, asides=asides)

    @property
    def ended(self) -> bool:
        """Whether the stream that this answer is part of has written its terminator."""
        return self._closing.closed

    def render(self, batch: Batch) -> bytes:
        """The chunks for these events.

        Raises:
            UpstreamFailed: The answer holds nothing at all, or an event is garbage.
        """
        if self._closing.closed:
            return b""
        self._reader.read(batch)
        written = b"".join(self._out)
        self._out.clear()
        return written

    def fail(self, error: ProxyError) -> bytes:
        """What was read before the failure, the error in chat's shape, then ``[DONE]``."""
        before = b"".join(self._out)
        self._out.clear()
        return before + self._closing.fail(error)


class ChatWriter:
    """One answer as Chat Completions chunks, piece by piece; a ``AnswerVisitor`` for the reader.

    Several messages in one answer (commentary, then the final answer) are one
    content, parted by blank lines; in JSON mode commentary is told as reasoning.

    Args:
        wording: How this turn's answers look.
        index: Which choice this is.
        closing: The stream's end, shared with the other choices.
    """

    def __init__(self, wording: ChatStyle, index: int, closing: StreamTrailer) -> None:
        self._wording = wording
        self.closing = closing
        self._chunks = Chunks(wording, index)
        self._before, self._after = self._chunks.text
        self._frames: dict[int, Frame] = {}
        self.out: list[bytes] = []
        # Something has to be written before the next text: the role, ``</think>``, a blank line.
        self._pending = True
        self._begun = self._thinking = self._gap = False
        # Characters of content that are ours, for the offsets of citations.
        self._own = 0

    def text(self, delta: str) -> None:
        if self._pending:
            self._prepare_text()
        self.out.append(self._before + encode_json(delta) + self._after)

    def message(self) -> None:
        self._gap = self._pending = True

    def refusal(self, delta: str) -> None:
        self._prepare()
        self._write(self._chunks.refusal, delta)

    def reasoning(self, delta: str) -> None:
        style = self._wording.reasoning
        if style == "none":
            return
        self._begin()
        if style == "think":
            self._think(delta)
        else:
            self._write(self._chunks.thinking if style == "o3" else self._chunks.reasoning, delta)

    def citation(self, citation: dict[str, Any], start: int) -> None:
        told = url_citation(citation, start + self._own)
        if told is not None:
            self._begin()
            self.out.append(self._chunks.delta({"annotations": [told]}))

    def call(self, call: Call) -> None:
        self._prepare()
        self._frames[call.slot] = call_frame(call, self._wording, self._chunks)
        if self._is_shown(call):
            self.out.append(self._chunks.delta(call_header(call, self._wording)))

    def fragment(self, call: Call, delta: str) -> None:
        if self._is_shown(call):
            self._write(self._frames[call.slot], delta)

    def end(self, ending: Finish) -> None:
        self._prepare()
        finish, tier = finish_of(ending.reason, bool(self._frames), self._wording), tier_of(ending.response)
        self.out.append(self._chunks.finish(finish, tier))
        self.out.append(self.closing.finish(usage_of(ending.usage), tier))

    def failed(self, error: ProxyError) -> None:
        self.out.append(self.closing.fail(error))

    # -- what comes before --------------------------------------------------------

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.out.append(self._chunks.delta({"role": "assistant", "content": "", "refusal": None}))

    def _prepare(self) -> None:
        self._begin()
        if self._thinking:
            self._thinking = False
            self._add("\n</think>\n\n")

    def _prepare_text(self) -> None:
        self._prepare()
        if self._gap:
            self._add("\n\n")
        self._gap = self._pending = False

    def _think(self, delta: str) -> None:
        if not self._thinking:
            self._thinking = self._pending = True
            self._add("<think>\n")
        self._write(self._chunks.text, delta)
        self._own += len(delta)

    def _add(self, words: str) -> None:
        self._write(self._chunks.text, words)
        self._own += len(words)

    def _write(self, frame: Frame, delta: str) -> None:
        self.out += (frame[0], encode_json(delta), frame[1])

    def _is_shown(self, call: Call) -> bool:
        # ``function_call`` has room for one call.
        return call.slot == 0 or not self._wording.legacy


def finish_of(reason: str, called: bool, wording: ChatStyle) -> str:
    """``finish_reason``: a cut beats a call, a call beats a plain stop."""
    if reason == "complete" and called:
        return "function_call" if wording.legacy else "tool_calls"
    return FINISH[reason]


class StructuredWriter(ChatWriter):
    """A sink that validates the finished text.

    Where the schema had to be fitted, the text is held back until it is
    complete, since only then it can be turned back into the caller's shape.
    """

    def __init__(self, wording: ChatStyle, index: int, closing: StreamTrailer, shape: StructuredOutput) -> None:
        super().__init__(wording, index, closing)
        self._shape = shape
        self._written: list[str] = []
        self._called = False

    def text(self, delta: str) -> None:
        """More JSON."""
        self._written.append(delta)
        if self._shape.restorer is None:
            super().text(delta)

    def call(self, call: Call) -> None:
        """A tool call instead of an answer."""
        self._called = True
        super().call(call)

    def end(self, ending: Finish) -> None:
        """The JSON is complete: it is shown if it was held back, and validated."""
        text = self._shape.restored("".join(self._written))
        flaw = None
        if text and ending.reason == "complete" and self._shape.strict and not self._called:
            flaw = self._shape.flaw(text)
        if text and self._shape.restorer is not None:
            super().text(text)
        if flaw is None:
            super().end(ending)
        else:
            self.failed(mismatch(flaw))


def renderers(wording: ChatStyle, answers: int, shape: StructuredOutput | None) -> list[ChunkRenderer]:
    """One renderer per answer, whose chunks may be written to one stream in any order."""
    closing = StreamTrailer(answers, Chunks(wording, 0).usage if wording.include_usage else None)
    sinks = [
        ChatWriter(wording, index, closing) if shape is None else StructuredWriter(wording, index, closing, shape)
        for index in range(answers)
    ]
    reasoning, asides = wording.reasoning != "none", wording.json_mode
    return [ChunkRenderer(sink, reasoning=reasoning, asides=asides) for sink in sinks]
