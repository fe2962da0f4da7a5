"""Tool names that upstream takes."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from codexproxy.compat.tool_names import fitting, rename_tools
from tests.growth.measuring import cost_of


def tool(name: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {}, **more}


def test_good_names_leave_the_body_as_it_is():
    body = {"tools": [tool("look"), {"type": "web_search"}, {"type": "namespace", "name": "a.b", "tools": []}]}
    assert rename_tools(body) == (body, {})
    assert rename_tools({}) == ({}, {})


def test_a_refused_name_is_changed_wherever_it_stands():
    name = "a/b"
    body = {
        "tools": [tool(name), tool("look")],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": name}]},
        "input": [
            {"type": "function_call", "call_id": "1", "name": name, "arguments": '{"name": "a/b"}'},
            {"type": "message", "role": "user", "name": name, "content": "a/b"},
        ],
    }
    renamed, names = rename_tools(body)
    ((short, own),) = names.items()
    assert own == name
    assert renamed["tools"] == [tool(short), tool("look")]
    assert renamed["tool_choice"]["tools"] == [{"type": "function", "name": short}]
    assert renamed["input"][0]["name"] == short and renamed["input"][1] == body["input"][1]
    assert renamed["input"][0]["arguments"] == '{"name": "a/b"}'


def test_a_named_choice_follows_its_tool():
    renamed, names = rename_tools({"tools": [tool("ü")], "tool_choice": {"type": "function", "name": "ü"}})
    assert renamed["tool_choice"]["name"] in names


def test_a_name_that_is_no_text_is_left_to_upstream():
    body = {"tools": [tool(5), tool(None)], "tool_choice": {"type": [], "name": "a/b"}}
    assert rename_tools(body) == (body, {})


@given(st.sets(st.text(min_size=1, max_size=90), max_size=5))
def test_all_names_become_good_ones_and_stay_apart(names: set[str]):
    renamed, back = rename_tools({"tools": [tool(name) for name in sorted(names)]})
    sent = [entry["name"] for entry in renamed["tools"]]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in sent)
    assert [back.get(name, name) for name in sent] == sorted(names)


def test_the_same_name_always_becomes_the_same():
    assert fitting("x" * 70) == fitting("x" * 70) != fitting("x" * 71)
    taken = frozenset({fitting("a/b")})
    assert fitting("a/b", taken) not in taken


def test_a_name_of_megabytes_takes_no_more_memory_than_its_bytes() -> None:
    name = "ä" * 2_000_000
    assert cost_of(lambda: fitting(name)).memory < 2 * len(name.encode())
