"""What an attempt costs, from plain events: as upstream told it, else as it was sent and heard."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.metering.charge import KEPT_BYTES, Charge, Tally
from codexproxy.metering.estimate import tokens_in
from codexproxy.metering.input_tokens import count_input, count_lightly
from codexproxy.protocol.events import Event, encode_json
from codexproxy.protocol.numbers import MOST, Usage, read_usage

BODY: dict[str, Any] = {"model": "m", "input": [{"role": "user", "content": "Say something. " * 20}]}
TEXT = "The quick brown fox jumps over the lazy dog, and nobody minds that at all. " * 40


def sent(body: dict[str, Any] = BODY) -> Charge:
    charge = Charge()
    charge.sent(body, len(encode_json(body)))
    return charge


def delta(text: str, kind: str = "response.output_text.delta") -> Event:
    return Event.of({"type": kind, "delta": text, "obfuscation": "x" * 16})


def done(**item: Any) -> Event:
    return Event.of({"type": "response.output_item.done", "item": item})


def ended(kind: str, **response: Any) -> Event:
    return Event.of({"type": kind, "response": response})


def test_what_was_never_sent_costs_nothing() -> None:
    assert Charge().counted() == Usage()


def test_what_was_sent_and_not_answered_costs_its_input() -> None:
    assert sent().counted() == Usage(count_input(BODY), 0)


def test_what_was_refused_costs_nothing_also_inside_a_200() -> None:
    refused, inside = sent(), sent()
    refused.refused()
    inside.heard([Event.of({"type": "response.created"}), ended("response.failed", error={"code": "x", "message": ""})])
    assert refused.counted() == inside.counted() == Usage()


def test_a_failure_behind_a_part_of_the_answer_costs_that_part() -> None:
    charge = sent()
    charge.heard([delta("word " * 10), ended("response.failed", error={"code": "x", "message": ""})])
    assert charge.counted() == Usage(count_input(BODY), round(tokens_in("word " * 10)))


@pytest.mark.parametrize("size", [1, 3, 7, 40, 1000, 100_000])
def test_what_was_heard_is_counted_however_it_was_cut(size: int) -> None:
    charge = sent()
    for start in range(0, len(TEXT), size):
        charge.heard([delta(TEXT[start : start + size])])
    # Pieces of a few letters are no tokens; upstream sends none.
    assert charge.counted().output >= 0.9 * tokens_in(TEXT)
    if size >= 40:
        assert charge.counted().output <= 1.5 * tokens_in(TEXT)


@given(st.lists(st.integers(min_value=1, max_value=400), min_size=1, max_size=60))
def test_a_large_delta_among_small_ones_weighs_what_it_holds(sizes: list[int]) -> None:
    charge, whole = sent(), 0.0
    for words in [*[1] * 100, *[size * 10 for size in sizes if size > 60]]:
        charge.heard([delta("word " * words)])
        whole += tokens_in("word " * words)
    assert charge.counted().output == pytest.approx(whole, rel=0.05, abs=2)


def test_items_without_deltas_and_reasoning_as_ciphertext_are_heard_too() -> None:
    charge = sent()
    call = {"type": "function_call", "name": "f", "arguments": TEXT}
    charge.heard([delta("thinking", "response.reasoning_summary_text.delta")])
    charge.heard([done(type="reasoning", encrypted_content="x" * 8000), done(**call)])
    assert charge.counted().output >= 900 + tokens_in(TEXT)
    again = sent()
    again.heard([delta(TEXT, "response.function_call_arguments.delta"), done(**call)])
    assert again.counted().output == round(tokens_in(TEXT))


def test_upstreams_word_is_taken_as_it_is() -> None:
    charge = sent()
    usage = {"input_tokens": 5, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}}
    charge.heard([delta(TEXT), ended("response.completed", usage=usage)])
    assert charge.counted() == Usage(5, 3, 2, 0)


def test_a_failure_with_usage_costs_it() -> None:
    charge = sent()
    charge.heard([ended("response.failed", error={"code": "x", "message": ""}, usage={"input_tokens": 5})])
    charge.refused()
    assert charge.counted() == Usage(5)


@pytest.mark.parametrize("number", [-1, -(2**70), 2**53 + 1, 2**63, 2**64 - 1, 10**400, 1e308, True, "7", None, [1]])
def test_hostile_numbers_stay_within_bounds(number: object) -> None:
    report = {"input_tokens": number, "output_tokens": number, "input_tokens_details": number}
    usage = read_usage(report)
    assert usage is not None
    total = sum([usage] * 50, Usage())
    for value in (usage.input, usage.output, total.input, total.output):
        assert isinstance(value, int) and 0 <= value <= MOST


def test_an_event_that_is_no_json_costs_nothing_more() -> None:
    charge = sent()
    broken = [Event(kind, b"", b"{") for kind in ("response.output_text.delta", "response.completed", "error")]
    charge.heard(broken)
    assert charge.counted() == Usage(count_input(BODY), 0)


def test_a_long_request_is_not_kept_and_its_light_count_is_near() -> None:
    image = "data:image/png;base64," + "A" * 400_000
    turn = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]},
        {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": image}]},
        {"type": "reasoning", "encrypted_content": "x" * 8000},
        {"type": "function_call", "name": "f", "arguments": '{"a": "' + TEXT + '"}', "call_id": "1"},
        {"type": "function_call_output", "output": TEXT, "call_id": "1"},
    ]
    body = {"model": "m", "instructions": TEXT, "input": turn * 20}
    assert len(encode_json(body)) > KEPT_BYTES
    assert sent(body).counted().input == count_lightly(body, len(encode_json(body)))
    assert sent(body).counted().input == pytest.approx(count_input(body), rel=0.25)


def test_a_request_that_is_nested_too_deeply_for_a_close_look_costs_something() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(3000):
        schema = {"type": "array", "items": schema}
    charge = Charge()
    charge.sent({"model": "m", "tools": [{"type": "function", "name": "f", "parameters": schema}]}, 100)
    assert charge.counted().input > 0


def test_a_request_costs_the_sum_of_its_attempts_also_when_it_is_over() -> None:
    tally = Tally()
    for _ in range(3):
        tally.begin("main").sent(BODY, 100)
    whole = tally.counted()
    assert whole.input == 3 * count_input(BODY)
    assert tally.settle() == whole == tally.counted()
    assert tally.provider == "main"


def test_a_turn_under_way_is_counted_by_its_length_until_it_is_looked_at_closely() -> None:
    size, tally, told = len(encode_json(BODY)), Tally(), list[Usage]()
    tally.begun = lambda: told.append(tally.counted(closely=False))
    charge = tally.begin("main")
    assert tally.counted(closely=False) == Usage()
    charge.sent(BODY, size)
    charge.sent(BODY, size)
    assert told == [Usage(count_lightly(BODY, size))]
    charge.heard([delta("word " * 10)])
    heard = round(tokens_in("word " * 10))
    assert tally.counted(closely=False) == Usage(count_lightly(BODY, size), heard)
    assert tally.counted() == tally.counted(closely=False) == Usage(count_input(BODY), heard)


class Looked(Event):
    """An event that tells whether it was looked into."""

    count = 0

    @property
    def data(self) -> dict[str, Any]:
        """Its JSON object."""
        Looked.count += 1
        return super().data


def test_few_deltas_of_a_long_answer_are_looked_into() -> None:
    delta = Event.of({"type": "response.output_text.delta", "delta": "word "})
    Looked.count, charge = 0, Charge()
    charge.sent(BODY, 100)
    for _ in range(1_600):
        charge.heard([Looked(delta.type, delta.raw, encode_json(delta.data))])
    assert Looked.count <= 16 + 1_600 // 16
    assert charge.counted().output == pytest.approx(1_600 * tokens_in("word "), rel=0.01)
