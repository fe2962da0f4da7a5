"""Answers about stored responses."""

from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from codexproxy.apis.openai_responses.stored import (
    Listing,
    broken,
    cancellable,
    closing,
    deleted,
    failed,
    found,
    is_end,
    listing,
    page,
    starting_after,
)
from codexproxy.errors import InvalidRequest, UpstreamFailed
from tests.apis.recorded import Recording, decoded, each_recording

ITEMS = [
    {"id": f"msg_{number}", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
    for number in range(5)
]


def ids(shown: dict[str, Any]) -> list[str]:
    return [item["id"] for item in shown["data"]]


def test_a_missing_response_is_not_found():
    with pytest.raises(InvalidRequest) as caught:
        found(None, "r1")
    assert (caught.value.status, caught.value.code) == (404, "response_not_found")
    assert found({"id": "r1"}, "r1") == {"id": "r1"}


def test_a_deletion_is_confirmed_once():
    assert deleted(True, "r1") == {"id": "r1", "object": "response", "deleted": True}
    with pytest.raises(InvalidRequest) as caught:
        deleted(False, "r1")
    assert caught.value.status == 404


def test_only_background_responses_can_be_cancelled():
    assert cancellable({"background": True})
    with pytest.raises(InvalidRequest):
        cancellable({"background": False})


def test_the_newest_items_come_first_unless_told_otherwise():
    assert ids(page(ITEMS, listing(MultiDict()))) == ["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"]
    assert ids(page(ITEMS, listing(MultiDict({"order": "asc"}))))[0] == "msg_0"


def test_pages_follow_each_other_without_gap_or_overlap():
    seen: list[str] = []
    after = None
    while True:
        shown = page(ITEMS, Listing(after=after, limit=2, order="asc"))
        seen += ids(shown)
        assert (shown["first_id"], shown["last_id"]) == (ids(shown)[0], ids(shown)[-1])
        if not shown["has_more"]:
            break
        after = shown["last_id"]
    assert seen == [item["id"] for item in ITEMS]


def test_a_page_can_end_before_an_item():
    assert ids(page(ITEMS, Listing(before="msg_2", order="asc"))) == ["msg_0", "msg_1"]


def test_nothing_is_an_empty_page():
    assert page([], Listing()) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": "0"}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "x"}, "limit"), ({"order": "up"}, "order")],
)
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str], param: str):
    with pytest.raises(InvalidRequest) as caught:
        listing(MultiDict(query))
    assert caught.value.param == param


def test_a_cursor_that_points_nowhere_is_refused():
    with pytest.raises(InvalidRequest) as caught:
        page(ITEMS, Listing(after="nothing"))
    assert caught.value.param == "after"


def test_ciphertext_and_images_are_listed_on_request():
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"}
    items = [
        {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gA"},
        {"id": "msg_1", "type": "message", "role": "user", "content": [picture]},
    ]
    bare = page(items, listing(MultiDict({"order": "asc"})))["data"]
    assert "encrypted_content" not in bare[0] and bare[1]["content"][0]["image_url"] is None
    query = MultiDict(
        [
            ("order", "asc"),
            ("include[]", "reasoning.encrypted_content"),
            ("include", "message.input_image.image_url"),
        ]
    )
    assert page(items, listing(query))["data"] == items


def test_a_text_is_listed_as_a_part():
    items = [{"id": "a", "type": "message", "role": "assistant", "content": "yes"}]
    assert page(items, Listing())["data"][0]["content"] == [{"type": "output_text", "text": "yes"}]


def test_a_failed_response_says_why():
    kept = failed({"id": "r1", "status": "in_progress", "output": [1]}, UpstreamFailed("broken", code="upstream_x"))
    assert kept == {"id": "r1", "status": "failed", "output": [1], "error": {"code": "upstream_x", "message": "broken"}}


@pytest.mark.parametrize(("given", "after"), [(None, -1), ("", -1), ("-1", -1), ("0", 0), ("17", 17)])
def test_a_reader_says_what_it_has(given: str | None, after: int):
    assert starting_after({"starting_after": given}) == after


@pytest.mark.parametrize("given", ["-2", "one", "1.5", "٣", "9" * 30])
def test_what_is_no_event_number_is_refused(given: str):
    with pytest.raises(InvalidRequest) as caught:
        starting_after({"starting_after": given})
    assert caught.value.param == "starting_after"


@pytest.mark.parametrize(
    ("status", "type"),
    [
        ("completed", "response.completed"),
        ("failed", "response.failed"),
        ("cancelled", "response.incomplete"),
        ("incomplete", "response.incomplete"),
    ],
)
def test_a_log_without_an_end_gets_one(status: str, type: str):
    (event,) = decoded(closing({"id": "r1", "status": status}, 6, "r1"))
    assert (event.type, event.data["sequence_number"], event.data["response"]["status"]) == (type, 7, status)
    assert is_end(event.raw)


def test_a_response_that_was_deleted_while_it_was_read_ends_with_an_error():
    (event,) = decoded(closing(None, 6, "r1"))
    assert (event.type, event.data["code"], event.data["sequence_number"]) == ("error", "response_not_found", 7)
    (event,) = decoded(broken(UpstreamFailed("no disk", code="storage_failed"), -1))
    assert (event.data["code"], event.data["message"], event.data["sequence_number"]) == (
        "storage_failed",
        "no disk",
        0,
    )


@each_recording()
def test_the_end_of_a_recorded_stream_is_known_by_its_frame(recording: Recording):
    *events, last = recording.events()
    assert is_end(last.raw) and not any(is_end(event.raw) for event in events if event.type != "error")
    assert not is_end(b": comment\n\n")
