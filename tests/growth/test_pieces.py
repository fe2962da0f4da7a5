"""Large bodies are written piece by piece: the same bytes as in one call, and no piece is large."""

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.planning.plan import _NAMESPACE, fingerprint
from codexproxy.planning.request_builder import RequestBuilder
from codexproxy.protocol.pacing import PIECE, encode_paced, no_pause, pieces
from codexproxy.protocol.request import Caller, Turn, encoded, paused

# What a character may take: six bytes for a control character.
MOST_BYTES = 6 * PIECE

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=30), inner, max_size=8),
    max_leaves=40,
)

LARGE: dict[str, Any] = {
    "many items": [{"role": "user", "content": "hello " * 20}] * 10_000,
    "many parts of one item": [{"role": "user", "content": [{"type": "input_text", "text": "x"}] * 50_000}],
    "many empty lists": [[]] * 400_000,
    "one long text": "ä" * 2_000_000,
    "control characters": "\x01" * 1_000_000,
    "many members": {f"field {number}": number for number in range(100_000)},
    "one long name": {"k" * 1_000_000: [1]},
    "a deep list of long texts": [["x" * 200_000, ["y" * 200_000, ["z" * 200_000]]]],
}


@given(VALUES, st.integers(1, 200))
def test_pieces_are_what_one_call_writes(value: Any, size: int) -> None:
    assert b"".join(pieces(value, size)) == orjson.dumps(value)


@pytest.mark.parametrize("name", LARGE)
def test_no_piece_of_a_large_value_is_large(name: str) -> None:
    pauses: list[int] = []
    whole = encode_paced(LARGE[name], lambda: pauses.append(1))
    assert whole == orjson.dumps(LARGE[name])
    assert max(map(len, pieces(LARGE[name]))) <= MOST_BYTES
    assert len(pauses) >= len(whole) // MOST_BYTES


def test_what_orjson_refuses_is_written_all_the_same() -> None:
    value = {"half an emoji": "\ud83d" * 1_000, "a large number": 2**80, "others": ["x" * 1_000] * 10}
    assert orjson.loads(b"".join(pieces({"others": value["others"]}, 100))) == {"others": value["others"]}
    written = b"".join(pieces(value, 100))
    assert b'"a large number":1208925819614629174706176' in written
    assert written.count(b"\\ud83d") == 1_000


def test_a_body_is_written_in_pieces_only_where_the_turn_is_large() -> None:
    pauses: list[int] = []
    turn = Turn("m", {"input": ["x" * 1_000_000]})
    assert encoded(turn) == encoded(paused(turn, lambda: pauses.append(1))) == orjson.dumps(turn.body)
    assert len(pauses) >= 1_000_000 // PIECE


@pytest.mark.parametrize("text", ["hi", "ä" * 1_000_000])
def test_the_conversation_of_a_large_first_message_keeps_its_identity(text: str) -> None:
    pauses: list[int] = []
    turn = Turn("m", {"input": [{"role": "user", "content": text}]}, caller=Caller("ann"))
    start = orjson.dumps(["ann", None, [text]]).decode()
    assert fingerprint(RequestBuilder(turn)) == str(uuid.uuid5(_NAMESPACE, start))
    assert fingerprint(RequestBuilder(paused(turn, no_pause)), lambda: pauses.append(1)) == str(
        uuid.uuid5(_NAMESPACE, start)
    )
    assert len(pauses) >= len(text) // PIECE
