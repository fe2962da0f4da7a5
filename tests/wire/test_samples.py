"""The samples hold what they claim, by a reader that follows the SSE standard to the letter."""

import json
import re

import pytest

from tests.wire.samples import HELLO, SAMPLES, Json, Sample

TERMINAL = {"response.completed", "response.incomplete", "response.failed", "response.done", "error"}


def read(raw: bytes) -> list[Json]:
    """WHATWG HTML, «interpreting an event stream»: slow, short, literal."""
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _unfinished = re.split(r"\r\n|\n|\r", text)
    found, data = [], []
    for line in lines:
        name, _, value = line.partition(":")
        if line == "" and data:
            found.append("\n".join(data))
            data = []
        elif name == "data":
            data.append(value.removeprefix(" "))
    return [json.loads(payload) for payload in found if payload != "[DONE]"]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_sample_holds_its_events(sample: Sample) -> None:
    assert read(sample.raw) == list(sample.events)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_sample_knows_whether_it_is_complete(sample: Sample) -> None:
    assert sample.complete == any(event["type"] in TERMINAL for event in sample.events)


def test_samples_have_names_of_their_own() -> None:
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)


def test_pieces_cut_through_characters() -> None:
    (plain,) = [sample for sample in SAMPLES if sample.name == "plain"]

    assert b"".join(plain.pieces(1)) == plain.raw
    assert any(piece[0] >= 0x80 for piece in plain.pieces(1))
    assert read(plain.raw) == list(HELLO)
