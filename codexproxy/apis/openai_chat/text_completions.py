"""Legacy ``text_completion`` objects and chunks; rendering for ``apis/openai_completions.py``."""

from dataclasses import dataclass
from typing import Any

from codexproxy.apis.answer_visitor import Call, Ending
from codexproxy.apis.event_dispatcher import Reader
from codexproxy.apis.openai_chat.options import FINISH
from codexproxy.apis.openai_chat.render import ChunkRenderer, Closing
from codexproxy.apis.openai_chat.usage import total, usage_of
from codexproxy.errors import ProxyError
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Turn


@dataclass(frozen=True, slots=True)
class TextRenderOptions:
    """What a completions request decides about its answer (``Turn.render``).

    Attributes:
        id: Id of the completion.
        created: When the turn began, in seconds since the epoch.
        prompts: The caller's prompts, each with as many choices.
        suffix: The text after the gap that the answer fills; empty where the answer goes on.
        echo: Whether the prompt stands before its answer.
        include_usage: Whether streams end with a usage chunk.
    """

    id: str = ""
    created: int = 0
    prompts: tuple[str, ...] = ("",)
    suffix: str = ""
    echo: bool = False
    include_usage: bool = False

    @classmethod
    def of(cls, turn: Turn) -> "TextRenderOptions":
        """The options of a turn; those of an empty request for a turn of another API."""
        return turn.render if isinstance(turn.render, cls) else cls()


def text_completion(turn: Turn, responses: list[dict[str, Any]]) -> dict[str, Any]:
    """The final object, one choice per folded Response object.

    Raises:
        ProxyError: A response failed, or holds nothing at all.
    """
    choices = [_choice(turn, index, response) for index, response in enumerate(responses)]
    usage = total([usage_of(response.get("usage")) for response in responses])
    return {**_head(turn), "choices": choices, **({"usage": usage} if usage else {})}


def _head(turn: Turn) -> dict[str, Any]:
    options = TextRenderOptions.of(turn)
    return {"id": options.id, "object": "text_completion", "created": options.created, "model": turn.model}


def _echoed(turn: Turn, index: int) -> str:
    options = TextRenderOptions.of(turn)
    return options.prompts[index * len(options.prompts) // turn.count] if options.echo else ""


class _Text:
    """A sink that keeps the text of an answer; this API has no words for anything else."""

    def __init__(self) -> None:
        self.reason = "complete"
        self.pieces: list[str] = []
        self._gap = False

    def message(self) -> None:
        self._gap = True

    def text(self, delta: str) -> None:
        if self._gap:
            self._gap = False
            self.text("\n\n")
        self.pieces.append(delta)

    def refusal(self, delta: str) -> None:
        self.text(delta)

    def reasoning(self, delta: str) -> None:
        pass

    def citation(self, citation: dict[str, Any], start: int) -> None:
        pass

    def call(self, call: Call) -> None:
        pass

    def fragment(self, call: Call, delta: str) -> None:
        pass

    def end(self, ending: Ending) -> None:
        self.reason = ending.reason

    def failed(self, error: ProxyError) -> None:
        raise error


def _choice(turn: Turn, index: int, response: dict[str, Any]) -> dict[str, Any]:
    sink = _Text()
    Reader(sink, reasoning=False).finish(response)
    text = _echoed(turn, index) + "".join(sink.pieces)
    return {"text": text, "index": index, "logprobs": None, "finish_reason": FINISH[sink.reason]}


class TextSink(_Text):
    """One answer as ``text_completion`` chunks.

    Args:
        turn: The turn that is answered.
        index: Which choice this is.
        closing: The stream's end, shared with the other choices.
    """

    def __init__(self, turn: Turn, index: int, closing: Closing) -> None:
        super().__init__()
        head = encode_json(_head(turn))[:-1] + b',"choices":[{"index":%d,"text":' % index
        tail = b',"usage":null}\n\n' if TextRenderOptions.of(turn).include_usage else b"}\n\n"
        self._before = b"data: " + head
        self._after = b',"logprobs":null,"finish_reason":null}]' + tail
        self._last = b'"",' + b'"logprobs":null,"finish_reason":"%s"}]' + tail
        self.closing = closing
        self._echo = _echoed(turn, index)
        self.out: list[bytes] = []

    def text(self, delta: str) -> None:
        """More of the answer; the prompt goes before its beginning."""
        if self._gap or self._echo:
            delta, self._gap, self._echo = self._echo + ("\n\n" if self._gap else "") + delta, False, ""
        self.out.append(self._before + encode_json(delta) + self._after)

    def end(self, ending: Ending) -> None:
        """The last chunk of the choice, and of the stream if all others are complete."""
        if self._echo:
            self.text("")
        self.out.append(self._before + self._last % FINISH[ending.reason].encode())
        self.out.append(self.closing.finish(usage_of(ending.usage)))

    def failed(self, error: ProxyError) -> None:
        """Upstream's failure, told in the stream."""
        self.out.append(self.closing.fail(error))


def text_renderers(turn: Turn) -> list[ChunkRenderer]:
    """One renderer per answer, whose chunks may be written to one stream in any order."""

    def usage_chunk(usage: dict[str, Any], tier: str | None) -> bytes:
        return b"data: " + encode_json({**_head(turn), "choices": [], "usage": usage}) + b"\n\n"

    closing = Closing(turn.count, usage_chunk if TextRenderOptions.of(turn).include_usage else None)
    return [ChunkRenderer(TextSink(turn, index, closing), reasoning=False) for index in range(turn.count)]
