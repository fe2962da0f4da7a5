"""Answers: every kind of event in every order, through everything that reads them."""

from collections.abc import Callable
from typing import Any

import pytest

from codexproxy.apis import event_dispatcher
from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_completions import CompletionsApi
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.compat.history.continuation import expand_history
from codexproxy.compat.truncate import truncator
from codexproxy.compat.truncate.text_limits import StopSequenceMatcher
from codexproxy.protocol import aggregate
from codexproxy.protocol.events import Event
from codexproxy.protocol.request import Caller, Turn
from codexproxy.server.stored.background_writer import BackgroundWriter
from codexproxy.server.stored.response_service import ResponseSaver, ResponseService
from codexproxy.upstream.chatgpt.sse import Decoder
from tests.fakes.responses import MemoryResponseStore
from tests.growth.answers import ADDED, DONE, FORMS, FRAME, KINDS, LIKE_THEM, told
from tests.growth.measuring import Build, check

Json = dict[str, Any]
Read = Callable[[list[Event]], object]

HI = {"model": "m", "stream": True}
CHAT, TEXT, RESPONSES = ChatApi(), CompletionsApi(), ResponsesApi()
SHELF = ResponseService(MemoryResponseStore())
CHAT_TURN = CHAT.parse({**HI, "messages": [{"role": "user", "content": "hi"}]}, Caller())
TEXT_TURN = TEXT.parse({**HI, "prompt": "hi"}, Caller())


def _responses_turn() -> Turn:
    turn = RESPONSES.parse({**HI, "input": "hi"}, Caller(client="openai-python"))
    return expand_history(turn, SHELF.of("ann"))


def _rendered(api: Any, turn: Turn) -> Read:
    def read(events: list[Event]) -> None:
        (renderer,) = api.renderers(turn)
        for event in events:
            renderer.render([event])

    return read


def _whole(events: list[Event]) -> None:
    CHAT.complete(CHAT_TURN, [aggregate.aggregate([[event] for event in events])])


def _recorded(events: list[Event]) -> None:
    record = BackgroundWriter(RESPONSES, _responses_turn(), SHELF.of("ann"))
    for event in events:
        record.note(event, event.raw)
    record.end()


def _kept(events: list[Event]) -> None:
    saver = ResponseSaver(RESPONSES, _responses_turn(), SHELF.of("ann"))
    for event in events:
        saver.note([event])


def _cut(events: list[Event]) -> None:
    cutter = truncator.StreamTruncator(("END", "words"), 10_000_000)
    for event in events:
        cutter.feed([event])


READERS: dict[str, Read] = {
    "a chat stream": _rendered(CHAT, CHAT_TURN),
    "a whole chat answer": _whole,
    "a text stream": _rendered(TEXT, TEXT_TURN),
    "a Responses stream": _rendered(RESPONSES, _responses_turn()),
    "a recorded run": _recorded,
    "a kept answer": _kept,
    "a cut answer": _cut,
}


def test_every_type_of_event_is_in_a_row() -> None:
    read = {
        *aggregate._CARRIERS,
        *aggregate._HANDLERS,
        *truncator._OF_ITEMS,
        *truncator._ENDS,
        *event_dispatcher._OF_PARTS,
        *event_dispatcher._OF_THOUGHT,
        *event_dispatcher._OF_ITEMS,
        *event_dispatcher._ENDS,
    }
    rows = {event["type"] for _, of_part, _ in KINDS.values() for event in of_part}
    assert read <= rows | {ADDED, DONE, *FRAME, *LIKE_THEM}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_an_answer_costs_what_it_is_long(reader: str, kind: str, form: str) -> None:
    def build(count: int) -> Callable[[], object]:
        payloads = told(kind, form, count)
        return lambda: READERS[reader](list(map(Event.of, payloads)))

    check(build, 30)


def _delta(text: str) -> Json:
    return {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}


ODD: dict[str, tuple[int, Build]] = {
    "one huge delta": (200_000, lambda n: lambda: [read([Event.of(_delta("word " * n))]) for read in READERS.values()]),
    "large deltas": (800, lambda n: lambda: [_whole([Event.of(_delta("x" * 1_000))] * n), _recorded(_numbered(n))]),
    "pieces of a call without its beginning": (
        200,
        lambda n: (
            lambda: _rendered(CHAT, CHAT_TURN)(
                [Event.of({"type": "response.function_call_arguments.delta", "item_id": "x", "delta": "y" * 500})] * n
            )
        ),
    ),
    "frames without a number": (
        300,
        lambda n: (
            lambda: _recorded(
                [Event.of({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}})]
                + [Event.of({"type": "codex.rate_limits", "text": "x" * 300})] * n
            )
        ),
    ),
    "logprobs": (
        2_000,
        lambda n: lambda: _whole([Event.of({**_delta("x"), "logprobs": [{"token": "x", "logprob": 0.0}] * n})]),
    ),
    "a frame of many lines in many reads": (
        200,
        lambda n: lambda: [Decoder().feed(part) for part in [b"data: x\n" * 50] * n],
    ),
    "one event of many lines in many reads": (60, lambda n: lambda: _fed([b"data: x\n" * 50] * n)),
    "one event of many CR lines in many reads": (60, lambda n: lambda: _fed([b"data: x\r" * 50] * n)),
    "stop texts that nearly come": (
        300,
        lambda n: lambda: _stopped(tuple("a" * 990 + end for end in "bcdefghij"), ["a" * 50 + "b"] * n),
    ),
    "stop texts and one long text": (20_000, lambda n: lambda: _stopped(("END", "User:"), ["E" * n])),
}


def _numbered(count: int) -> list[Event]:
    created = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}}
    deltas = ({**_delta("x" * 1_000), "sequence_number": number} for number in range(1, count))
    return list(map(Event.of, (created, *deltas)))


def _fed(parts: list[bytes]) -> None:
    decoder = Decoder()
    for part in parts:
        decoder.feed(part)


def _stopped(stop: tuple[str, ...], deltas: list[str]) -> None:
    stopper = StopSequenceMatcher(stop)
    for delta in deltas:
        stopper.take(delta)


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_costs_what_it_is_long(name: str) -> None:
    size, build = ODD[name]
    check(build, size)
