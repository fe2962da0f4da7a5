"""``/v1/completions``, the legacy text API: prompts into turns, answers into text choices.

The backend knows conversations only, so each prompt becomes a turn that asks
for the text that comes next, or for the text between prompt and suffix.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from marshmallow import INCLUDE, Schema

from codexproxy.apis.event_dispatcher import EventDispatcher
from codexproxy.apis.openai_chat.fields import EMULATED, IGNORED, MAPPED, Field, ignored, table
from codexproxy.apis.openai_chat.options import FINISH, total, usage_of
from codexproxy.apis.openai_chat.parse import MOST_ANSWERS, read_cap, read_count, read_stop, wants_usage
from codexproxy.apis.openai_chat.render import ChunkRenderer, StreamTrailer
from codexproxy.apis.openai_chat.schema import Count, Mapped, Switch, Text, checked
from codexproxy.apis.validation_errors import bad_value, missing, unsupported, wrong_type
from codexproxy.apis.visitor import Call, Finish
from codexproxy.errors import ProxyError
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Body, Caller, PlanningHints, Turn

_SAMPLING = "The backend samples by its own settings."

FIELDS = table(
    "platform",
    Field("model", MAPPED, "As in chat."),
    Field("prompt", MAPPED, "A string, or a list with one choice each; token ids are refused."),
    Field("suffix", MAPPED, "The answer is the text that belongs between prompt and suffix."),
    Field("stream", MAPPED, "Chunks as they come, or one object."),
    Field("echo", EMULATED, "The prompt is put before the answer."),
    Field("stop", EMULATED, "As in chat."),
    Field("max_tokens", EMULATED, "As in chat; without it there is no limit."),
    Field("n", EMULATED, "As many turns per prompt."),
    Field("stream_options", EMULATED, "include_usage, as in chat."),
    Field("reasoning_effort", MAPPED, "As in chat."),
    Field("prompt_cache_key", MAPPED, "As in chat."),
    Field("service_tier", MAPPED, "As in chat."),
    Field("best_of", IGNORED, "Every answer is delivered.", (1,)),
    Field("logprobs", IGNORED, "The backend does not return them.", (0, False)),
    Field("temperature", IGNORED, _SAMPLING, (1,)),
    Field("top_p", IGNORED, _SAMPLING, (1,)),
    Field("frequency_penalty", IGNORED, _SAMPLING, (0,)),
    Field("presence_penalty", IGNORED, _SAMPLING, (0,)),
    Field("logit_bias", IGNORED, _SAMPLING, ({},)),
    Field("seed", IGNORED, _SAMPLING),
    Field("user", IGNORED, "The backend knows the account only."),
)

CONTINUE = (
    "Continue the text that the user sends. Reply with nothing but the words that come next: "
    "repeat nothing of it, comment on nothing, and add neither quotation marks nor code fences."
)
FILL = (
    "The user sends the text before and the text after a gap. Reply with nothing but what belongs into the gap: "
    "repeat nothing of either side, comment on nothing, and add neither quotation marks nor code fences."
)


class CompletionRequest(Schema):
    """The top level of a request, as far as its types matter."""

    class Meta:
        unknown = INCLUDE

    model = Text()
    suffix = Text()
    stream = Switch()
    echo = Switch()
    max_tokens = Count()
    n = Count()
    stream_options = Mapped()
    reasoning_effort = Text()
    prompt_cache_key = Text()
    service_tier = Text()


_SCHEMA = CompletionRequest()


def read_prompts(prompt: Any) -> tuple[str, ...]:
    """The prompts, one choice each; they are never joined (docs/reference/clients.md#lists-of-prompts).

    Raises:
        InvalidRequest: There is none, or one of them is not text.
    """
    if prompt is None:
        raise missing("prompt")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list):
        raise wrong_type("prompt", "a string or an array of strings", prompt)
    if not prompts:
        raise bad_value("prompt", "The list of prompts is empty. Please send at least one.")
    for position, entry in enumerate(prompts):
        if isinstance(entry, int | list):
            raise unsupported(f"prompt[{position}]", "Token ids cannot be read here. Please send the prompt as text.")
        if not isinstance(entry, str):
            raise wrong_type(f"prompt[{position}]", "a string", entry)
    return tuple(prompts)


def _input_of(prompt: str, suffix: str) -> list[dict[str, Any]]:
    text = f"<before>{prompt}</before>\n<after>{suffix}</after>" if suffix else prompt
    return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]


class CompletionsApi:
    """The legacy text API.

    Args:
        clock: Seconds since the epoch.
        identify: Makes the id of an answer.
    """

    name = "completions"
    forwards_failures = False
    stateful = False

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        identify: Callable[[], str] = lambda: f"cmpl-codex-{uuid.uuid4()}",
    ) -> None:
        self._clock = clock
        self._identify = identify

    def parse(self, payload: dict[str, Any], caller: Caller) -> Turn:
        """Checks a request's JSON object and makes it a turn.

        Raises:
            InvalidRequest: ``param`` names the path of the offending field.
        """
        fields = checked(_SCHEMA, {key: value for key, value in payload.items() if value is not None})
        prompts, suffix = read_prompts(fields.get("prompt")), fields.get("suffix", "")
        count, stop, cap = len(prompts) * read_count(fields), read_stop(fields.get("stop")), read_cap(fields)
        if count > MOST_ANSWERS:
            raise bad_value("prompt", f"The request asks for {count} answers; the maximum is {MOST_ANSWERS}.")
        render = TextRenderOptions(
            id=self._identify(),
            created=int(self._clock()),
            prompts=prompts,
            suffix=suffix,
            echo=fields.get("echo", False),
            include_usage=wants_usage(fields),
        )
        emulated = [f"{name}:emulated" for name, given in (("stop", stop), ("max_tokens", cap)) if given]
        turn = Turn(fields.get("model", ""), _body(fields, prompts[0], suffix), fields.get("stream", False), caller)
        planning = PlanningHints(effort_param="reasoning_effort")
        turn = replace(turn, stop=stop, max_tokens=cap, count=count, planning=planning, render=render)
        return turn.with_notes(ignored=tuple(ignored(fields, FIELDS)), adapted=tuple(emulated))

    def bodies(self, turn: Turn) -> list[Body]:
        """The body of each answer that the turn asks for; call it before the turn is planned."""
        options = TextRenderOptions.of(turn)
        prompts, suffix = options.prompts, options.suffix
        each = turn.count // len(prompts)
        return [{**turn.body, "input": _input_of(prompt, suffix)} for prompt in prompts for _ in range(each)]

    def renderers(self, turn: Turn) -> list[ChunkRenderer]:
        """One renderer per answer, for one shared stream: the last to end writes usage and ``[DONE]``."""
        return text_renderers(turn)

    def repair_request(self, turn: Turn, response: dict[str, Any]) -> Body | None:
        """None: a text is delivered as it is."""
        return None

    def notes(self, turn: Turn) -> tuple[str, ...]:
        """Nothing: a text is delivered as it is."""
        return ()

    def complete(self, turn: Turn, responses: list[dict[str, Any]]) -> dict[str, Any]:
        """The ``text_completion`` object, one choice per folded Response object.

        Raises:
            ProxyError: A response failed, or holds nothing at all.
        """
        return text_completion(turn, responses)


def _body(fields: dict[str, Any], prompt: str, suffix: str) -> Body:
    body: Body = {
        "model": fields.get("model", ""),
        "instructions": FILL if suffix else CONTINUE,
        "input": _input_of(prompt, suffix),
    }
    if "reasoning_effort" in fields:
        body["reasoning"] = {"effort": fields["reasoning_effort"]}
    return body | {name: fields[name] for name in ("prompt_cache_key", "service_tier") if name in fields}


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

    def end(self, ending: Finish) -> None:
        self.reason = ending.reason

    def failed(self, error: ProxyError) -> None:
        raise error


def _choice(turn: Turn, index: int, response: dict[str, Any]) -> dict[str, Any]:
    sink = _Text()
    EventDispatcher(sink, reasoning=False).finish(response)
    text = _echoed(turn, index) + "".join(sink.pieces)
    return {"text": text, "index": index, "logprobs": None, "finish_reason": FINISH[sink.reason]}


class TextWriter(_Text):
    """One answer as ``text_completion`` chunks.

    Args:
        turn: The turn that is answered.
        index: Which choice this is.
        closing: The stream's end, shared with the other choices.
    """

    def __init__(self, turn: Turn, index: int, closing: StreamTrailer) -> None:
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

    def end(self, ending: Finish) -> None:
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

    closing = StreamTrailer(turn.count, usage_chunk if TextRenderOptions.of(turn).include_usage else None)
    return [ChunkRenderer(TextWriter(turn, index, closing), reasoning=False) for index in range(turn.count)]
