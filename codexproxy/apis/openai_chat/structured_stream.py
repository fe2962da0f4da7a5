"""Streams of answers that have to be JSON of a certain shape."""

from codexproxy.apis.answer_visitor import Call, Ending
from codexproxy.apis.openai_chat.chunks import Chunks
from codexproxy.apis.openai_chat.options import Wording
from codexproxy.apis.openai_chat.render import ChatSink, ChunkRenderer, Closing
from codexproxy.apis.openai_chat.structured_output import Shape, mismatch


class ShapedSink(ChatSink):
    """A sink that validates the finished text.

    Where the schema had to be fitted, the text is held back until it is
    complete, since only then it can be turned back into the caller's shape.
    """

    def __init__(self, wording: Wording, index: int, closing: Closing, shape: Shape) -> None:
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

    def end(self, ending: Ending) -> None:
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


def renderers(wording: Wording, answers: int, shape: Shape | None) -> list[ChunkRenderer]:
    """One renderer per answer, whose chunks may be written to one stream in any order."""
    closing = Closing(answers, Chunks(wording, 0).usage if wording.include_usage else None)
    sinks = [
        ChatSink(wording, index, closing) if shape is None else ShapedSink(wording, index, closing, shape)
        for index in range(answers)
    ]
    reasoning, asides = wording.reasoning != "none", wording.json_mode
    return [ChunkRenderer(sink, reasoning=reasoning, asides=asides) for sink in sinks]
