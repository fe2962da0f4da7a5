"""Whether an answer fits its schema."""

import json
import subprocess
import sys
from typing import Any

import pytest

from codexproxy.compat.strict_schema.validate import judge

PERSON = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("text", "word"),
    [('{"age": 5}', None), ('{"age": -5}', "$.age"), ("{}", "age"), ("[]", "object"), ("{", "JSON"), ("", "JSON")],
)
def test_the_flaw_names_its_place(text: str, word: str | None):
    flaw = judge(PERSON, text).flaw
    assert (flaw is None) if word is None else (flaw is not None and word in flaw)


def test_a_long_reason_is_cut():
    flaw = judge({"type": "string"}, json.dumps(["x" * 5000])).flaw
    assert flaw is not None and len(flaw) <= 300


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "http://127.0.0.1:9/x.json"},
        {"minimum": "x"},
        {"required": 5},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer"},
        {"pattern": "((", "patternProperties": {"((": {}}, "format": "date"},
        {"properties": {"pattern": {"type": "integer"}}},
    ],
    ids=str,
)
def test_a_broken_schema_finds_no_flaws(schema: dict[str, Any]):
    assert all(judge(schema, text).flaw is None for text in ("5", '"5"', '{"5": 5}') if schema.get("type") != "integer")
    assert judge(schema, "5").flaw is None


def test_a_property_may_be_called_pattern():
    assert judge({"properties": {"pattern": {"type": "integer"}}}, '{"pattern": "x"}').flaw is not None


def test_old_tuples_are_checked():
    schema = {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}
    assert judge(schema, '["a", 1]').flaw is None
    assert judge(schema, '["a", "b"]').flaw is not None


def test_what_takes_long_to_load_is_loaded_only_when_it_is_needed():
    code = "import sys, codexproxy.apis.openai_chat; print('jsonschema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
