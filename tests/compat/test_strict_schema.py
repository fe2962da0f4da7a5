"""Schemas fitted to strict mode, and answers turned back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from codexproxy.compat.strict_schema.encode import StrictSchema, to_strict
from codexproxy.compat.strict_schema.validate import judge
from codexproxy.errors import InvalidRequest

STRING: dict[str, Any] = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def restored(fitted: StrictSchema, value: Any) -> Any:
    text = json.dumps(value)
    return json.loads(fitted.restorer.text(text) if fitted.restorer else text)


KEPT = [
    closed(),
    closed(a=STRING, b={"type": ["integer", "null"], "description": "d", "minimum": 1}),
    closed(a={"enum": ["x", None]}, b={"const": 5}, c={"anyOf": [STRING, {"type": "null"}]}),
    closed(a={"type": "array", "items": closed(b=STRING), "minItems": 1}),
    closed(a={"type": "string", "format": "email", "pattern": "@"}),
    {
        **closed(node={"$ref": "#/$defs/Node"}),
        "$defs": {"Node": closed(next={"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]})},
    },
    {**closed(children={"type": "array", "items": {"$ref": "#"}}), "title": "T", "$schema": "x"},
]


@pytest.mark.parametrize("schema", KEPT, ids=lambda schema: str(schema)[12:60])
def test_a_schema_that_keeps_to_strict_mode_comes_back_as_it_was(schema: dict[str, Any]):
    assert to_strict(schema, strict=True) == StrictSchema(schema, None)


# The caller's schema, what the model writes, what the caller gets.
TURNED: list[tuple[dict[str, Any], Any, Any]] = [
    ({"type": "object", "properties": {"a": STRING}}, {"a": None}, {}),
    ({"type": "object", "properties": {"a": STRING}}, {"a": "x"}, {"a": "x"}),
    ({"type": "object", "properties": {"a": {"type": ["string", "null"]}}}, {"a": None}, {"a": None}),
    ({"type": "object", "properties": {"a": {"enum": [1, 2]}}}, {"a": None}, {}),
    ({"type": "object", "properties": {"a": {"enum": [1, None]}}}, {"a": None}, {"a": None}),
    (
        {
            "type": "object",
            "properties": {"a": closed(b={"type": "array", "prefixItems": [STRING, {"type": "number"}]})},
        },
        {"a": {"b": {"0": "x", "1": 2}}},
        {"a": {"b": ["x", 2]}},
    ),
    (
        closed(a={"type": "array", "items": [STRING, closed(c=STRING)]}),
        {"a": {"0": "x", "1": {"c": "y"}}},
        {"a": ["x", {"c": "y"}]},
    ),
    (
        closed(a={"type": "object", "additionalProperties": {"type": "object", "properties": {"b": STRING}}}),
        {"a": [{"key": "k", "value": {"b": None}}]},
        {"a": {"k": {}}},
    ),
    (
        closed(a={"type": "object", "patternProperties": {"^x": STRING}}),
        {"a": [{"key": "x1", "value": "v"}]},
        {"a": {"x1": "v"}},
    ),
    (closed(a={"type": "object"}), {"a": []}, {"a": {}}),
    ({"type": "array", "items": STRING}, {"value": ["x"]}, ["x"]),
    (STRING, {"value": "x"}, "x"),
    ({"anyOf": [closed(a=STRING), closed(b=STRING)]}, {"value": {"b": "x"}}, {"b": "x"}),
    (
        closed(
            a={
                "oneOf": [
                    {"type": "object", "properties": {"kind": {"const": "x"}, "y": STRING}, "required": ["kind"]},
                    {"type": "object", "properties": {"kind": {"const": "z"}, "y": STRING}, "required": ["kind", "y"]},
                ]
            }
        ),
        {"a": {"kind": "x", "y": None}},
        {"a": {"kind": "x"}},
    ),
    (
        {
            "type": "object",
            "properties": {"list": {"$ref": "#/definitions/List", "description": "d"}},
            "required": ["list"],
            "definitions": {
                "List": {
                    "type": "object",
                    "properties": {"next": {"$ref": "#/definitions/List"}, "n": {"type": "integer"}},
                }
            },
        },
        {"list": {"n": 1, "next": {"n": None, "next": None}}},
        {"list": {"n": 1, "next": {}}},
    ),
    (
        {
            "allOf": [{"$ref": "#/$defs/A"}, {"properties": {"b": STRING}, "required": ["b"]}],
            "$defs": {"A": {"type": "object", "properties": {"a": STRING}}},
        },
        {"a": None, "b": "x"},
        {"b": "x"},
    ),
    ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": STRING}}}}, {"a": None}, {}),
    ({"type": "array", "items": {"anyOf": [STRING, {"$ref": "#"}]}}, {"value": ["x", ["y"]]}, ["x", ["y"]]),
    (closed(a={"type": ["object", "null"], "properties": {"b": STRING}}), {"a": {"b": None}}, {"a": {}}),
    (closed(a={"type": ["object", "null"], "properties": {"b": STRING}}), {"a": None}, {"a": None}),
]


@pytest.mark.parametrize(("schema", "written", "expected"), TURNED, ids=lambda value: str(value)[:50])
def test_an_answer_goes_back_to_the_callers_shape(schema: dict[str, Any], written: Any, expected: Any):
    fitted = to_strict(schema, strict=True)
    assert_strict(fitted.schema)
    Draft202012Validator(fitted.schema).validate(written)
    assert restored(fitted, written) == expected
    assert judge(schema, json.dumps(expected)).flaw is None


def test_keywords_that_strict_mode_refuses_are_left_out():
    given_schema = closed(a={"type": "string", "minLength": 3, "default": "x", "format": "uri", "examples": ["x"]})
    fitted = to_strict(given_schema, strict=True)
    assert fitted == StrictSchema(closed(a=STRING), None)


def test_without_strictness_only_the_root_has_to_be_an_object():
    loose = {"type": "object", "properties": {"a": {"minLength": 3}}}
    assert to_strict(loose, strict=False) == StrictSchema(loose, None)
    listed = {"type": "array", "items": {"$ref": "#/$defs/A"}, "$defs": {"A": STRING}}
    fitted = to_strict(listed, strict=False)
    Draft202012Validator(fitted.schema).validate({"value": ["x"]})
    assert restored(fitted, {"value": ["x"]}) == ["x"]


@pytest.mark.parametrize("text", ["", "not JSON", '{"a": ', "[" * 5000])
def test_a_text_that_is_no_json_stays_as_it_is(text: str):
    fitted = to_strict({"type": "object", "properties": {"a": STRING}}, strict=True)
    assert fitted.restorer is not None
    assert fitted.restorer.text(text) == text


@pytest.mark.parametrize("value", [5, None, [], {"value": 1, "x": 2}, {"a": {"0": 1}}, [{"key": 1}]])
def test_values_that_do_not_fit_stay_as_they_are(value: Any):
    for schema, _, _ in TURNED:
        restored(to_strict(schema, strict=True), value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/nowhere"}}},
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1/a.json"}}},
        {"$ref": 5},
        {"$ref": "#/$defs/0/x"},
        {"allOf": [{"$ref": "#"}] * 30},
        {"$ref": "#/$defs/A", "$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}}},
        {
            "$ref": "#/$defs/0",
            "$defs": {**{str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(20)}, "20": STRING},
        },
    ],
    ids=str,
)
def test_references_to_nowhere_and_without_end_are_refused(schema: dict[str, Any]):
    with pytest.raises(InvalidRequest) as refusal:
        to_strict(schema, strict=True, path="here")
    assert refusal.value.param is not None and refusal.value.param.startswith("here")


def assert_strict(schema: Any) -> None:
    """What the platform demands of every object of a strict schema."""
    if isinstance(schema, list):
        for entry in schema:
            assert_strict(entry)
    elif isinstance(schema, dict):
        assert not schema.keys() & {"allOf", "oneOf", "prefixItems", "patternProperties", "default", "definitions"}
        assert "$ref" not in schema or schema.keys() == {"$ref"}
        if "properties" in schema:
            assert schema["additionalProperties"] is False
            assert sorted(schema["required"]) == sorted(schema["properties"])
        for key in ("items", "anyOf"):
            assert_strict(schema.get(key))
        for holder in ("properties", "$defs"):
            assert_strict([*schema.get(holder, {}).values()])


LEAVES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [STRING, {"type": "integer"}, {"type": "boolean"}, {"type": "null"}, {"enum": ["a", 1]}, {"const": "c"}, {}]
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["a", "b", "value", "key"])
    objects = st.builds(
        lambda properties, required: {
            "type": "object",
            "properties": properties,
            "required": [name for name in required if name in properties],
        },
        st.dictionaries(names, inner, min_size=1, max_size=3),
        st.sets(names),
    )
    maps = inner.map(lambda entry: {"type": "object", "additionalProperties": entry})
    lists = inner.map(lambda entry: {"type": "array", "items": entry})
    tuples = st.lists(inner, min_size=1, max_size=3).map(lambda entries: {"type": "array", "prefixItems": entries})
    return objects | maps | lists | tuples


SCHEMAS = st.recursive(LEAVES, grown, max_leaves=8)


def example_of(schema: dict[str, Any], choose: Any) -> Any:
    """A value of a fitted schema."""
    if "anyOf" in schema:
        return example_of(choose(schema["anyOf"]), choose)
    if "enum" in schema:
        return choose(schema["enum"])
    if "const" in schema:
        return schema["const"]
    kind = schema["type"] if isinstance(schema["type"], str) else choose(schema["type"])
    if kind == "object":
        return {name: example_of(child, choose) for name, child in schema["properties"].items()}
    if kind == "array":
        return [example_of(schema["items"], choose) for _ in range(choose([0, 1, 2]))]
    return choose({"string": ["x", "y"], "integer": [1, 2], "number": [1.5], "boolean": [True], "null": [None]}[kind])


@settings(max_examples=300)
@given(SCHEMAS, st.data())
def test_whatever_the_model_writes_for_the_fitted_schema_goes_back_to_a_value_of_the_callers(
    schema: dict[str, Any], data: st.DataObject
):
    fitted = to_strict(schema, strict=True)
    assert_strict(fitted.schema)
    definitions = fitted.schema.get("$defs", {})
    root = {**fitted.schema, "$defs": {}}
    if definitions:
        (inner,) = definitions.values()
        root = closed(value=inner)
    written = example_of(root, lambda options: data.draw(st.sampled_from(options)))
    Draft202012Validator(fitted.schema).validate(written)
    Draft202012Validator(schema).validate(restored(fitted, written))
