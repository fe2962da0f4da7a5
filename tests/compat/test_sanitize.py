"""Conversations mended: what upstream would refuse, and nothing else, is changed and told."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexproxy.compat.history.sanitize import sanitize_history, without_thoughts
from codexproxy.compat.history.tool_pairs import NO_RESULT

Item = dict[str, Any]


def said(role: str, *texts: str, kind: str | None = None) -> Item:
    kind = kind or ("output_text" if role == "assistant" else "input_text")
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text} for text in texts]}


def call(id: Any = "a", name: str = "f", kind: str = "function_call") -> Item:
    written = {"arguments": "{}"} if kind == "function_call" else {"input": "x"}
    return {"type": kind, "call_id": id, "name": name, **written}


def output(id: Any = "a", text: Any = "7", kind: str = "function_call_output") -> Item:
    return {"type": kind, "call_id": id, "output": text}


FINE: list[list[Item]] = [
    [],
    [said("user", "hi")],
    [said("developer", "be"), said("user", "hi"), said("assistant", "yes < no", "two"), said("user", "x")],
    [said("user", "hi"), call(), output(), said("assistant", "7")],
    [call("a"), call("b"), output("b"), output("a")],
    [call("a", kind="custom_tool_call"), output("a", kind="custom_tool_call_output")],
    [{"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "g"}],
    [{"role": "user", "content": "easy"}, {"role": "assistant", "content": "easy"}],
    [{"type": "item_reference", "id": "msg_1"}, {"type": "from_the_future", "id": 5, "content": 7}],
    [{"type": "compaction", "id": "cmp_1", "encrypted_content": "g"}],
    [{"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    [output("a", [{"type": "input_text", "text": "7"}, {"type": "input_image", "image_url": "data:"}]), call("a")][
        ::-1
    ],
    ["not an object", None, 5],  # type: ignore[list-item]
]


@pytest.mark.parametrize("items", FINE, ids=lambda items: str(items)[:50])
def test_what_is_fine_comes_back_as_it_was(items: list[Item]):
    mended, notes = sanitize_history(items)
    assert notes == []
    assert len(mended) == len(items) and all(new is old for new, old in zip(mended, items, strict=True))


def test_an_output_without_its_call_becomes_a_labelled_users_message():
    mended, notes = sanitize_history([output("gone", "42"), said("user", "hi")])
    label, result = mended[0]["content"]
    assert (mended[0]["role"], "gone" in label["text"], result["text"]) == ("user", True, "42")
    assert notes == ["orphan_output"]


def test_the_parts_of_an_orphan_output_are_kept():
    picture = {"type": "input_image", "image_url": "data:image/png;base64,"}
    (item,), _ = sanitize_history([output("gone", [picture])])
    assert item["content"][1] == picture


def test_a_call_without_an_output_gets_one_that_says_so():
    mended, notes = sanitize_history([call("a"), call("b"), output("b"), call("c", kind="custom_tool_call")])
    assert [(item["type"], item["call_id"], item.get("output")) for item in mended] == [
        ("function_call", "a", None),
        ("function_call_output", "a", NO_RESULT),
        ("function_call", "b", None),
        ("function_call_output", "b", "7"),
        ("custom_tool_call", "c", None),
        ("custom_tool_call_output", "c", NO_RESULT),
    ]
    assert notes == ["orphan_call=2"]


def test_missing_ids_are_given_and_the_same_every_time():
    items = [call(None), output(""), call("", "g"), output(None, "8")]
    mended, notes = sanitize_history(items)
    first, second = mended[0]["call_id"], mended[2]["call_id"]
    assert first and second and first != second
    assert [mended[1]["call_id"], mended[3]["call_id"]] == [first, second]
    assert sanitize_history([*items, said("user", "more")])[0][:4] == mended
    assert Counter(notes) == Counter(["missing_call_id=2", "call_id=2"])


def test_an_id_that_is_too_long_is_replaced_on_both_sides():
    long = "call_" + "x" * 100
    (first, second), notes = sanitize_history([call(long), output(long)])
    assert first["call_id"] == second["call_id"] != long
    assert len(first["call_id"]) <= 64
    assert notes == ["call_id"]


def test_an_id_that_is_used_again_in_a_later_round_is_told_apart():
    items = [call("call_0"), output("call_0", "1"), said("user", "x"), call("call_0"), output("call_0", "2")]
    mended, notes = sanitize_history(items)
    assert mended[0]["call_id"] == mended[1]["call_id"] == "call_0"
    assert mended[3]["call_id"] == mended[4]["call_id"] != "call_0"
    assert [mended[1]["output"], mended[4]["output"]] == ["1", "2"]
    assert notes == ["duplicate_call_id"]


def test_an_id_twice_in_one_round_pairs_in_order():
    mended, _ = sanitize_history([call("x", "f"), call("x", "g"), output("x", "1"), output("x", "2")])
    by_id = {item["call_id"]: item["name"] for item in mended if item["type"] == "function_call"}
    answered = {by_id[item["call_id"]]: item["output"] for item in mended if "output" in item}
    assert answered == {"f": "1", "g": "2"}


def test_an_answer_to_a_call_that_waits_in_an_older_round_goes_to_the_latest():
    items = [call("x", "old"), said("user", "again"), call("x", "new"), output("x", "1")]
    mended, _ = sanitize_history(items)
    owner = next(item for item in mended if item.get("output") == "1")["call_id"]
    assert next(item for item in mended if item.get("name") == "new")["call_id"] == owner


def test_an_output_before_its_call_is_moved_behind_it():
    mended, notes = sanitize_history([output("a"), said("user", "x"), call("a")])
    assert [item["type"] for item in mended] == ["message", "function_call", "function_call_output"]
    assert notes == ["output_before_call"]


def test_a_second_answer_to_one_call_is_kept_as_a_message():
    mended, notes = sanitize_history([call("a"), output("a", "1"), output("a", "2")])
    assert [item["type"] for item in mended] == ["function_call", "function_call_output", "message"]
    assert notes == ["orphan_output"]


def test_the_kind_of_an_output_follows_its_call():
    (_, answer), notes = sanitize_history([call("a", kind="custom_tool_call"), output("a")])
    assert answer["type"] == "custom_tool_call_output"
    assert notes == ["output_type"]


@pytest.mark.parametrize("kind", ["local_shell_call", "shell_call", "apply_patch_call"])
def test_other_calls_are_paired_by_their_own_kind(kind: str):
    mended, notes = sanitize_history([{"type": kind, "call_id": "a"}, output("a")])
    assert [item["type"] for item in mended] == [kind, f"{kind}_output", "message"]
    assert sorted(notes) == ["orphan_call", "orphan_output"]


OUTPUTS: list[tuple[Any, Any, list[str]]] = [
    (None, "", ["output_kind"]),
    ({"a": 1}, '{"a":1}', ["output_kind"]),
    ([{"type": "output_text", "text": "x"}], [{"type": "input_text", "text": "x"}], ["part_kind"]),
    (["x"], [{"type": "input_text", "text": "x"}], ["part_kind"]),
]


@pytest.mark.parametrize(("given_output", "expected", "told"), OUTPUTS)
def test_outputs_are_strings_or_input_parts(given_output: Any, expected: Any, told: list[str]):
    (_, answer), notes = sanitize_history([call(), output(text=given_output)])
    assert (answer["output"], notes) == (expected, told)


def test_parts_suit_the_role_that_says_them():
    mended, notes = sanitize_history(
        [
            said("user", "a", kind="output_text"),
            said("assistant", "b", kind="input_text"),
            said("user", "c", kind="text"),
        ]
    )
    assert mended == [said("user", "a"), said("assistant", "b"), said("user", "c")]
    assert notes == ["part_kind=3"]


def test_a_picture_shown_by_the_assistant_follows_in_a_users_message():
    picture = {"type": "input_image", "image_url": "data:"}
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "See:"}, picture]}
    mended, notes = sanitize_history([item])
    assert mended[0] == said("assistant", "See:")
    assert (mended[1]["role"], mended[1]["content"][1]) == ("user", picture)
    assert notes == ["assistant_image"]


@pytest.mark.parametrize("content", [[], None, 5])
def test_messages_that_say_nothing_are_left_out(content: Any):
    assert sanitize_history([{"type": "message", "role": "user", "content": content}]) == ([], ["empty_message"])


THOUGHTS = [
    ("<think>\nhm\n</think>\n\nFour.", "Four."),
    ("<thinking>hm</thinking>Four.", "Four."),
    ('<details type="reasoning" done="true">\n> hm\n</details>\nFour.', "Four."),
    ("Use <think>x</think> tags.", "Use <think>x</think> tags."),
    ("<details>more</details>", "<details>more</details>"),
    ("<think>never closed", "<think>never closed"),
    ("2 < 3", "2 < 3"),
]


@pytest.mark.parametrize(("text", "kept"), THOUGHTS)
def test_think_text_is_taken_out_of_the_assistants_history(text: str, kept: str):
    assert without_thoughts(text) == kept
    notes = ["think_text"] if text != kept else []
    assert sanitize_history([said("assistant", text)]) == ([said("assistant", kept)], notes)
    assert sanitize_history([{"role": "assistant", "content": text}])[0] == [{"role": "assistant", "content": kept}]
    assert sanitize_history([said("user", text)]) == ([said("user", text)], [])


def test_a_message_of_nothing_but_think_text_is_left_out():
    assert sanitize_history([said("assistant", "<think>hm</think>")])[0] == []
    assert sanitize_history([{"role": "assistant", "content": "<think>hm</think>"}])[0] == []


@pytest.mark.parametrize(
    ("item", "dropped"),
    [
        (said("user", "hi") | {"id": "x"}, True),
        (said("user", "hi") | {"id": "msg_1"}, False),
        (call() | {"id": "call_a"}, True),
        (call() | {"id": "fc_1"}, False),
        ({"type": "web_search_call", "id": "x"}, True),
        ({"type": "from_the_future", "id": "x"}, False),
    ],
)
def test_ids_that_upstream_would_refuse_are_dropped(item: Item, dropped: bool):
    mended, notes = sanitize_history([item, output()] if item["type"] == "function_call" else [item])
    assert ("id" not in mended[0]) is dropped
    assert notes == (["foreign_id"] if dropped else [])


def test_reasoning_without_ciphertext_is_left_out_since_nothing_is_stored():
    mended, notes = sanitize_history([{"type": "reasoning", "id": "rs_1", "summary": []}, said("user", "x")])
    assert (mended, notes) == ([said("user", "x")], ["reasoning_without_ciphertext"])


def test_cache_hints_inside_content_are_taken_out():
    part = {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
    item = {"type": "message", "role": "user", "content": [part]}
    assert sanitize_history([item]) == ([said("user", "x")], ["prompt_cache_breakpoint"])


def test_a_long_conversation_is_mended_in_linear_time():
    items = [item for n in range(3000) for item in (call(f"c{n}"), output(f"c{n}"))]
    mended, notes = sanitize_history(items)
    assert (mended, notes) == (items, [])


IDS = st.sampled_from(["a", "b", "", None])
ITEMS = st.lists(
    st.builds(call, IDS, kind=st.sampled_from(["function_call", "custom_tool_call"]))
    | st.builds(
        output, IDS, st.just("a result"), kind=st.sampled_from(["function_call_output", "custom_tool_call_output"])
    )
    | st.builds(said, st.sampled_from(["user", "assistant"]), st.text(max_size=3)),
    max_size=10,
)
ANSWERS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


@settings(max_examples=400)
@given(ITEMS)
def test_afterwards_every_call_is_answered_once_and_after_it(items: list[Item]):
    mended, _ = sanitize_history(items)
    called: dict[str, str] = {}
    answered: set[str] = set()
    for item in mended:
        if item["type"] in ANSWERS:
            assert item["call_id"] not in called
            called[item["call_id"]] = ANSWERS[item["type"]]
        elif item["type"] in ANSWERS.values():
            assert called[item["call_id"]] == item["type"]
            assert item["call_id"] not in answered
            answered.add(item["call_id"])
    assert answered == called.keys()


@settings(max_examples=400)
@given(ITEMS)
def test_mending_twice_changes_nothing_more_and_results_are_never_lost(items: list[Item]):
    mended, _ = sanitize_history(items)
    assert sanitize_history(mended) == (mended, [])
    assert str(mended).count("'a result'") == sum(item.get("output") == "a result" for item in items)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "output", "call_id", "id", "text", "summary"]),
            inner | st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "assistant"]),
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.lists(JSON, max_size=4))
def test_no_input_upsets_it(items: list[Any]):
    sanitize_history(items)
