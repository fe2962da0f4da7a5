"""Tokens counted as text comes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from codexproxy.compat.truncate.text_limits import StreamingTokenCounter
from tests.apis.recorded import recordings

TEXT = st.text(st.sampled_from("abcXYZ 019\n\t.,:!{}\"'éЖ中\U0001f600"), max_size=80)


def count(text: str) -> int:
    meter = StreamingTokenCounter()
    assert meter.take(text) == text
    return meter.count


def test_words_numbers_and_signs_are_counted_as_tokenizers_do():
    assert [count(text) for text in ("", "hello", "hello world", "1234", '{"a": 1}', "a\n\nb", "getUserName")] == [
        0,
        1,
        2,
        2,
        5,
        3,
        3,
    ]


def test_the_limit_ends_the_text_before_the_first_token_too_many():
    meter = StreamingTokenCounter(2)
    assert meter.take("one t") == "one t"
    assert meter.take("wo three") == "wo"
    assert meter.full and meter.count == 2
    assert meter.take("four") == ""


def test_a_token_does_not_reach_across_two_texts():
    meter = StreamingTokenCounter(2)
    meter.take("one")
    meter.part()
    meter.take("two")
    assert meter.count == 2 and not meter.full
    assert StreamingTokenCounter(1).take("onetwo") == "onetwo"


@given(TEXT, st.lists(st.integers(0, 80)), st.none() | st.integers(1, 20))
def test_neither_count_nor_limit_depend_on_the_pieces(text: str, cuts: list[int], limit: int | None):
    whole, pieced = StreamingTokenCounter(limit), StreamingTokenCounter(limit)
    edges = [0, *sorted(edge for edge in cuts if edge < len(text)), len(text)]
    taken = "".join(pieced.take(text[start:end]) for start, end in pairwise(edges))
    assert taken == whole.take(text)
    assert (pieced.count, pieced.full) == (whole.count, whole.full)
    assert limit is None or pieced.count <= limit


def test_recorded_texts_are_within_the_stated_error():
    known = estimated = 0
    for recording in recordings():
        deltas = [event.data["delta"] for event in recording.events() if event.type == "response.output_text.delta"]
        if len(deltas) > 4 and max(map(len, deltas)) < 20:
            found = count("".join(deltas))
            assert abs(found - len(deltas)) <= max(3, 0.2 * len(deltas)), recording.name
            known, estimated = known + len(deltas), estimated + found
    assert known > 100
    assert abs(estimated - known) <= 0.1 * known
