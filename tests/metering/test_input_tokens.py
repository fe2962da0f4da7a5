"""The offline count of input tokens against counts that upstream reported."""

import base64
import json
import struct
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.errors import InvalidRequest
from codexproxy.metering.estimate import size_of, tokens_in
from codexproxy.metering.input_tokens import count_input
from tests.apis.recorded import recordings
from tests.data import RECORDINGS

COUNTED = ("function", "custom")


def recorded_requests() -> list[Any]:
    """Requests whose whole input is in their body, with the usage that came back."""
    found = []
    for path in sorted(RECORDINGS.glob("responses_*/*.request.json")):
        name = path.name.removesuffix(".request.json")
        request = json.loads(path.read_text())
        if request.get("previous_response_id") or request["model"].startswith("llama"):
            continue
        if all(tool["type"] in COUNTED for tool in request.get("tools", [])):
            found.append(pytest.param(request, _usage(path.parent, name), id=name))
    return found


def _usage(folder: Any, name: str) -> int:
    answer = next(path for path in (folder / f"{name}.expected.json", folder / f"{name}.json") if path.exists())
    return int(json.loads(answer.read_text())["usage"]["input_tokens"])


def recorded_texts() -> list[tuple[str, int]]:
    """Streamed texts whose deltas are single tokens, with their number."""
    texts = []
    for recording in recordings():
        deltas: dict[Any, list[str]] = {}
        for event in recording.events():
            if event.type.endswith(".delta") and isinstance(event.data.get("delta"), str):
                deltas.setdefault((event.type, event.data.get("output_index")), []).append(event.data["delta"])
        # The first delta of a summary is a whole headline; several tokens in one betray themselves by length.
        single = (parts[1:] for parts in deltas.values())
        texts += [("".join(parts), len(parts)) for parts in single if len(parts) > 4 and max(map(len, parts)) < 20]
    return texts


@pytest.mark.parametrize(("request_body", "known"), recorded_requests())
def test_a_recorded_request_is_within_the_stated_error(request_body: dict[str, Any], known: int):
    assert abs(count_input(request_body) - known) <= max(16, 0.15 * known)


def test_all_recorded_requests_together_are_close():
    pairs = [(count_input(case.values[0]), case.values[1]) for case in recorded_requests()]
    assert len(pairs) > 15
    assert sum(estimate for estimate, _ in pairs) == pytest.approx(sum(known for _, known in pairs), rel=0.05)


def test_recorded_texts_are_within_the_stated_error():
    texts = recorded_texts()
    assert len(texts) > 10
    for text, known in texts:
        assert abs(tokens_in(text) - known) <= max(2, 0.15 * known), text
    estimate, known = sum(tokens_in(text) for text, _ in texts), sum(count for _, count in texts)
    assert estimate == pytest.approx(known, rel=0.05)


def test_a_long_text_is_sampled_quickly_and_as_well():
    paragraph = "The quick brown fox jumps over the lazy dog, 42 times.\n\ndef f(x):\n    return x ** 2\n"
    text = paragraph * 50_000
    start = time.thread_time()
    estimate = tokens_in(text)
    assert time.thread_time() - start < 1.0
    assert estimate == pytest.approx(tokens_in(paragraph) * 50_000, rel=0.03)


@given(st.text(max_size=300))
def test_any_text_has_a_sensible_count(text: str):
    assert bool(text) <= tokens_in(text) <= 2 * len(text) + 1


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("It's 1234567 things", 6), ("camelCaseName", 3), ("a\n\n\nb", 3), ("snake_case", 3), ("    x", 2)],
)
def test_texts_are_cut_as_tokenizers_cut_them(text: str, pieces: int):
    assert round(tokens_in(text)) == pieces


def test_nothing_is_the_smallest_request():
    assert count_input({"input": []}) == count_input({}) == 2
    assert count_input({"input": "hi"}) == 7


def test_everything_that_is_said_counts():
    base = count_input({"input": "hi"})
    more: list[dict[str, Any]] = [
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "forty two"},
        {"type": "custom_tool_call", "call_id": "d", "name": "exec", "input": "print(1)"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "1"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "g" * 3596},
        {"type": "additional_tools", "tools": [{"type": "namespace", "tools": [{"type": "custom", "name": "x"}]}]},
        {"type": "from_the_future", "payload": {"words": ["some", "more"]}},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot do that."}]},
    ]
    user = {"role": "user", "content": "hi"}
    for item in more:
        assert count_input({"input": [user, item]}) > base + 2, item.get("type", "message")


def test_ciphertext_counts_as_the_reasoning_in_it():
    # Recorded: 3596 characters of ciphertext for 384 tokens of reasoning.
    counted = count_input({"input": [{"type": "reasoning", "encrypted_content": "g" * 3596}]})
    assert counted == pytest.approx(384, rel=0.1)


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x02"


def jpeg(width: int, height: int) -> bytes:
    header = b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    return header + b"\xff\xc2" + struct.pack(">HBHH", 17, 8, height, width) + bytes(10)


def webp(kind: bytes, rest: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 50) + rest


IMAGES = {
    "png": png(640, 480),
    "gif": b"GIF89a" + struct.pack("<HH", 640, 480),
    "jpeg": jpeg(640, 480),
    "webp lossy": webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480)),
    "webp lossless": webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14)),
    "webp extended": webp(b"VP8X", bytes(4) + struct.pack("<HBHB", 639, 0, 479, 0)),
}


@pytest.mark.parametrize("data", IMAGES.values(), ids=IMAGES.keys())
def test_the_size_of_an_image_is_read_from_its_head(data: bytes):
    assert size_of(data) == (640, 480)
    for cut in range(len(data)):
        assert size_of(data[:cut]) in (None, (640, 480))


def test_large_pictures_have_large_sizes():
    wide = webp(b"VP8X", bytes(4) + struct.pack("<HBHB", 69_999 & 0xFFFF, 1, 79_999 & 0xFFFF, 1))
    assert size_of(wide) == (70_000, 80_000)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\xff\xd8", b"GIF8", b"\x89PNG\r\n\x1a\n", b"RIFF____WEBPVP8X"]))
def test_no_bytes_upset_it(data: bytes, magic: bytes):
    size_of(magic + data)


@pytest.mark.parametrize(
    ("size", "tokens"), [((512, 512), 70 + 140), ((1024, 1024), 70 + 4 * 140), ((4096, 1024), 70 + 4 * 140)]
)
def test_images_are_counted_in_tiles(size: tuple[int, int], tokens: int):
    url = "data:image/png;base64," + base64.b64encode(png(*size)).decode()
    picture = {"type": "input_image", "image_url": url}
    without = count_input({"input": [{"role": "user", "content": []}]})
    assert count_input({"input": [{"role": "user", "content": [picture]}]}) == without + tokens


@pytest.mark.parametrize("url", [None, "https://example.org/a.png", "data:image/png;base64,!!!", "data:,x"])
def test_an_image_of_unknown_size_counts_as_a_usual_one(url: str | None):
    picture = {"type": "input_image", "image_url": url}
    assert 600 < count_input({"input": [{"role": "user", "content": [picture]}]}) < 700
    low = {"type": "input_image", "image_url": url, "detail": "low"}
    assert count_input({"input": [{"role": "user", "content": [low]}]}) < 90


def test_a_request_that_is_nested_too_deeply_is_refused():
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2000):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(InvalidRequest):
        count_input({"input": "hi", "tools": [{"type": "function", "name": "f", "parameters": schema}]})


@pytest.mark.parametrize("required", [True, 7, None, "a", {"a": 1}, [3, "a"]])
def test_tools_whose_schemas_are_odd_are_counted_all_the_same(required: object):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": required}
    tools = [
        {"type": "function", "name": "look", "parameters": schema},
        {"type": "namespace", "tools": [{"name": "x"}]},
    ]
    assert count_input({"input": [], "tools": tools}) > count_input({"input": []})


@pytest.mark.parametrize("ciphertext", [None, True, 7, [], {}])
def test_ciphertext_that_is_no_text_counts_nothing(ciphertext: object):
    item = {"type": "reasoning", "summary": [], "encrypted_content": ciphertext}
    assert count_input({"input": [item]}) == count_input({"input": [{"type": "reasoning", "summary": []}]})
