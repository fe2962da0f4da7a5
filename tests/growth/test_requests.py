"""Requests: every field in every shape, and all that multiplies."""

from collections.abc import Callable
from typing import Any

import pytest

from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_chat import fields as chat_fields
from codexproxy.apis.openai_completions import FIELDS as COMPLETIONS
from codexproxy.apis.openai_completions import CompletionsApi
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.apis.openai_responses.fields import FIELDS as RESPONSES
from codexproxy.compat.history.continuation import expand_history
from codexproxy.metering.input_tokens import count_input
from codexproxy.planning.model_catalog import ModelCatalog
from codexproxy.planning.plan import plan
from codexproxy.planning.request_builder import Policy
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Caller
from tests.growth.conversations import CHAT, UNFOLDING
from tests.growth.measuring import Work, check, check_bounded

Json = dict[str, Any]
APIS = {"chat": ChatApi(), "completions": CompletionsApi(), "responses": ResponsesApi()}
BASES: dict[str, Json] = {
    "chat": {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]},
    "completions": {"model": "gpt-5.2", "prompt": "hi"},
    "responses": {"model": "gpt-5.2", "input": "hi"},
}
TABLES = {"chat": chat_fields.FIELDS, "completions": COMPLETIONS, "responses": RESPONSES}

# Every field meets each of these, whatever it is for.
SHAPES: dict[str, tuple[int, Callable[[int], Any]]] = {
    "a long text": (20_000, lambda n: "x-" * n),
    "many texts": (300, lambda n: [f"text {k}" for k in range(n)]),
    "many objects": (
        200,
        lambda n: [{"type": "function", "name": f"f{k}", "role": "user", "text": "x"} for k in range(n)],
    ),
    "many names": (300, lambda n: {f"name {k}": "x" for k in range(n)}),
    "many numbers": (300, lambda n: list(range(n))),
}
FIELDS = [(api, field, shape) for api, table in TABLES.items() for field in table for shape in SHAPES]


class Nothing:
    """A memory without anything in it."""

    def history(self, id: str) -> None:
        """Nothing."""

    def items(self, ids: Any) -> Json:
        """Nothing."""
        return {}

    def weigh(self, previous: str | None, ids: Any) -> int:
        """Nothing."""
        return 0


def work(api: str, payload: Json) -> Work:
    """All that happens to a request before it is sent, and what counts its tokens."""
    reads = APIS[api]

    def do() -> None:
        turn = reads.parse(dict(payload), Caller())
        if reads.stateful:
            turn = expand_history(turn, Nothing())
        for body in reads.bodies(turn)[:1]:
            planned = plan(turn, ModelCatalog(), Policy())
            encode_json(planned.body)
            count_input({**planned.body, "input": planned.body["input"] or body})

    return do


@pytest.mark.parametrize(("api", "field", "shape"), FIELDS, ids=["-".join(case) for case in FIELDS])
def test_a_field_costs_what_its_value_is_long(api: str, field: str, shape: str) -> None:
    size, value = SHAPES[shape]
    check(lambda n: work(api, {**BASES[api], field: value(n)}), size)


@pytest.mark.parametrize("name", CHAT)
def test_a_conversation_costs_what_it_is_long(name: str) -> None:
    size, payload = CHAT[name]
    check(lambda n: work("chat", payload(n)), size)


@pytest.mark.parametrize("name", UNFOLDING)
def test_what_unfolds_ends_at_a_bound(name: str) -> None:
    size, payload = UNFOLDING[name]
    check_bounded(work("chat", payload(size)))
