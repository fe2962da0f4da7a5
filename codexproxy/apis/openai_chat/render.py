"""Renders a stream of events as Chat Completions chunks."""

from collections.abc import Callable
from typing import Any, Protocol

from codexproxy.apis.answer_visitor import Call, Ending, Sink
from codexproxy.apis.base import DONE, data_line
from codexproxy.apis.event_dispatcher import Reader
from codexproxy.apis.openai_chat.chunks import Chunks, Frame, call_frame, call_header
from codexproxy.apis.openai_chat.options import FINISH, Wording, tier_of, url_citation
from codexproxy.apis.openai_chat.usage import Usage, total, usage_of
from codexproxy.errors import ProxyError
from codexproxy.protocol.events import Batch, encode_json


class Closing:
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


class Chunked(Sink, Protocol):
    """A sink that writes an answer into a stream that it may share with others.

    Attributes:
        out: What it wrote and nobody fetched yet.
        closing: The stream's end.
    """

    out: list[bytes]
    closing: Closing


class ChunkRenderer:
    """One answer as chunks; a ``Renderer`` for the web layer.

    It knows its sink and the sink does not know it: a finished answer that were a circle of
    references would wait for the cyclic collector.

    Args:
        sink: Writes the chunks.
        reasoning: Whether the sink wants reasoning at all.
        asides: Whether commentary messages are told as reasoning.
    """

    def __init__(self, sink: Chunked, *, reasoning: bool = True, asides: bool = False) -> None:
        self._out, self._closing = sink.out, sink.closing
        self._reader = Reader(sink, reasoning=reasoning, asides=asides)

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


class ChatSink:
    """One answer as Chat Completions chunks, piece by piece; a ``Sink`` for the reader.

    Several messages in one answer (commentary, then the final answer) are one
    content, parted by blank lines; in JSON mode commentary is told as reasoning.

    Args:
        wording: How this turn's answers look.
        index: Which choice this is.
        closing: The stream's end, shared with the other choices.
    """

    def __init__(self, wording: Wording, index: int, closing: Closing) -> None:
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

    def end(self, ending: Ending) -> None:
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


def finish_of(reason: str, called: bool, wording: Wording) -> str:
    """``finish_reason``: a cut beats a call, a call beats a plain stop."""
    if reason == "complete" and called:
        return "function_call" if wording.legacy else "tool_calls"
    return FINISH[reason]
