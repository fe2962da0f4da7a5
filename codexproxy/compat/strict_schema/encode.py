"""Fits JSON schemas to what the backend takes in strict mode, with the way back.

The platform's strict mode wants closed objects whose properties are all
required, knows neither tuples nor free-form maps, and only part of JSON
Schema's keywords. A schema that keeps to that comes back as it was; of any
other an equivalent is made, and ``StrictSchema.restorer`` turns the answer back.
Keywords that are lost on the way are why answers are validated afterwards
against the schema that the caller sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codexproxy.compat.strict_schema.decode import (
    KEEP,
    ChoiceDecoder,
    Decoder,
    KindsDecoder,
    ListDecoder,
    MapDecoder,
    ObjectDecoder,
    RefDecoder,
    Restorer,
    TupleDecoder,
    WrapDecoder,
)
from codexproxy.compat.tool_names import fitting, is_fitting
from codexproxy.protocol.json_schema import Schema, SchemaTree, as_list, names_in, schema_steps
from codexproxy.protocol.pacing import Steps

# What strict mode takes beside the structure: annotations and bounds.
_KEPT = ["$schema", "title", "description", "type", "enum", "const", "pattern", "minimum", "maximum"] + [
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
]
_ANNOTATIONS = ("title", "description")
_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])
_ANYTHING: Schema = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "null")]}
_ROOT = "codexproxy_root"


@dataclass(frozen=True, slots=True)
class StrictSchema:
    """A schema that the backend takes.

    Attributes:
        schema: What is sent.
        restorer: The way back; None where answers need none.
    """

    schema: Schema
    restorer: Restorer | None


def to_strict(schema: Schema, *, strict: bool, path: str = "schema", steps: Steps | None = None) -> StrictSchema:
    """The schema as the backend takes it.

    Args:
        schema: The caller's schema.
        strict: Whether it is sent in strict mode; else only its root has to be an object.
        path: Where it stands in the request, for errors.
        steps: The budget that it shares with the other schemas of its request; one of its own when omitted.

    Raises:
        InvalidRequest: A reference leads nowhere, or the schema is nested too deeply or unfolds into too much.
    """
    if not strict:
        return _wrapped_loosely(schema)
    fitter = _Fitter(schema, SchemaTree(schema, path, steps or schema_steps()))
    fitted, decoder = fitter.root()
    return StrictSchema(fitted, Restorer(decoder, fitter.decoders) if fitter.changed else None)


def _wrapped_loosely(schema: Schema) -> StrictSchema:
    if _is_object(schema) or "$ref" in schema:
        return StrictSchema(schema, None)
    shared: Schema = {key: schema[key] for key in ("$defs", "definitions", "$schema") if key in schema}
    inner = {key: value for key, value in schema.items() if key not in shared}
    return StrictSchema({**shared, **_closed({"value": inner})}, Restorer(WrapDecoder()))


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _is_object(schema: Schema) -> bool:
    return schema.get("type") == "object" or (schema.get("type") is None and isinstance(schema.get("properties"), dict))


def _is_choice(schema: Schema) -> bool:
    return isinstance(schema.get("anyOf"), list) and not schema.get("properties")


class _Fitter:
    def __init__(self, schema: Schema, tree: SchemaTree) -> None:
        self.changed = False
        self.decoders: dict[str, Decoder] = {}
        self._schema = schema
        self._tree = tree
        self._defs: dict[str, Schema] = {}
        self._wrapped = False

    def root(self) -> tuple[Schema, Decoder]:
        schema = self._tree.merged(self._schema, 0)
        if "$ref" in schema:
            schema = {**self._tree.target(schema["$ref"]), **{key: schema[key] for key in _DEFS if key in schema}}
        self._wrapped = not _is_object(schema) or self._is_map(schema) or _is_choice(schema)
        fitted, decoder = self.node(schema, 0)
        if self._wrapped:
            self.changed = True
            self._defs[_ROOT], self.decoders[_ROOT] = fitted, decoder
            fitted, decoder = _closed({"value": {"$ref": f"#/$defs/{_ROOT}"}}), WrapDecoder(RefDecoder(_ROOT))
        else:
            self.decoders[_ROOT] = decoder
        return ({**fitted, "$defs": self._defs} if self._defs else fitted), decoder

    # -- nodes ------------------------------------------------------------------------

    def node(self, schema: Any, depth: int) -> tuple[Schema, Decoder]:
        """One schema of the tree, fitted, and the decoder for its values."""
        if not isinstance(schema, dict) or not schema:
            return dict(_ANYTHING), KEEP
        schema = self._tree.merged(schema, depth)
        for applies, build in _BUILDERS:
            if applies(schema):
                return build(self, schema, depth)
        return self._plain(schema)

    def _plain(self, schema: Schema) -> tuple[Schema, Decoder]:
        fitted = _kept(schema)
        if schema.get("format") in _FORMATS:
            fitted["format"] = schema["format"]
        if not fitted.keys() & {"type", "enum", "const"}:
            return {**_ANYTHING, **_annotations(schema)}, KEEP
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        types = schema.get("type", [])
        return fitted, KindsDecoder(names_in(types), tuple(values) if isinstance(values, list) else ())

    def _several(self, schema: Schema, depth: int) -> tuple[Schema, Decoder]:
        # ``["object", "null"]`` and the like: a choice with one option per type.
        shared = {key: value for key, value in schema.items() if key not in ("type", *_ANNOTATIONS)}
        options = [{**(shared if kind in ("object", "array") else {}), "type": kind} for kind in schema["type"]]
        return self._choice({"anyOf": options, **_annotations(schema)}, depth)

    def _choice(self, schema: Schema, depth: int) -> tuple[Schema, Decoder]:
        fitted = [self.node(option, depth + 1) for option in as_list(schema["anyOf"])]
        options = [option for option, _ in fitted]
        return {**_annotations(schema), "anyOf": options}, ChoiceDecoder(tuple(decoder for _, decoder in fitted))

    def _object(self, schema: Schema, depth: int) -> tuple[Schema, Decoder]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = names_in(schema.get("required"))
        fitted, decoders, optional = {}, {}, set()
        for name, child in properties.items():
            fitted[name], decoders[name] = self.node(child, depth + 1)
            if name not in required and not self._tree.allows_null(child, 0):
                fitted[name] = _nullable(fitted[name])
                optional.add(name)
        self.changed = self.changed or bool(optional)
        return {**_kept(schema), **_closed(fitted)}, ObjectDecoder(decoders, frozenset(optional))

    def _map(self, schema: Schema, depth: int) -> tuple[Schema, Decoder]:
        self.changed = True
        patterns = schema.get("patternProperties")
        values = schema.get("additionalProperties")
        if isinstance(patterns, dict) and patterns and not isinstance(values, dict):
            values = next(iter(patterns.values()))
        entry, decoder = self.node(values, depth + 1)
        pair = _closed({"key": {"type": "string"}, "value": entry})
        return {**_annotations(schema), "type": "array", "items": pair}, MapDecoder(decoder)

    def _tuple(self, schema: Schema, depth: int) -> tuple[Schema, Decoder]:
        self.changed = True
        entries = schema.get("prefixItems", schema.get("items"))
        fitted = [self.node(entry, depth + 1) for entry in as_list(entries)]
        closed = _closed({str(place): entry for place, (entry, _) in enumerate(fitted)})
        return {**_annotations(schema), **closed}, TupleDecoder(tuple(decoder for _, decoder in fitted))

    def _array(self, schema: Schema, depth: int) -> tuple[Schema, Decoder]:
        entry, decoder = self.node(schema.get("items"), depth + 1)
        return {**_kept(schema), "type": "array", "items": entry}, ListDecoder(decoder)

    def _reference(self, schema: Schema, depth: int) -> tuple[Schema, Decoder]:
        name = self._define(schema["$ref"], depth)
        pointer = {"$ref": f"#/$defs/{name}" if name != _ROOT or self._wrapped else "#"}
        notes = _annotations(schema)
        # A reference may have no neighbours.
        return ({"anyOf": [pointer], **notes} if notes else pointer), RefDecoder(name)

    @staticmethod
    def _is_map(schema: Schema) -> bool:
        if schema.get("properties") or schema.get("type") != "object":
            return False
        return schema.get("additionalProperties") is not False or bool(schema.get("patternProperties"))

    # -- references -------------------------------------------------------------------

    def _define(self, ref: Any, depth: int) -> str:
        if ref == "#":
            return _ROOT
        target = self._tree.target(ref)
        own = str(ref).removeprefix("#/$defs/").removeprefix("#/definitions/")
        name = own if is_fitting(own) else fitting(own)
        if name not in self._defs:
            # Entered first, since it may refer to itself.
            self._defs[name] = {}
            self._defs[name], self.decoders[name] = self.node(target, depth + 1)
        return name


_DEFS = ("$defs", "definitions")


def _kept(schema: Schema) -> Schema:
    return {key: schema[key] for key in _KEPT if key in schema}


def _annotations(schema: Schema) -> Schema:
    return {key: schema[key] for key in _ANNOTATIONS if isinstance(schema.get(key), str)}


def _nullable(schema: Schema) -> Schema:
    if (
        isinstance(schema.get("type"), str)
        and schema["type"] not in ("object", "array")
        and not (schema.keys() & {"enum", "const"})
    ):
        return {**schema, "type": [schema["type"], "null"]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


_BUILDERS: tuple[tuple[Callable[[Schema], bool], Callable[[_Fitter, Schema, int], tuple[Schema, Decoder]]], ...] = (
    (lambda schema: "$ref" in schema, _Fitter._reference),
    (_is_choice, _Fitter._choice),
    (
        lambda schema: len(names_in(schema.get("type"))) > 1 and bool(names_in(schema["type"]) & {"object", "array"}),
        _Fitter._several,
    ),
    (lambda schema: bool(as_list(schema.get("prefixItems"))) or isinstance(schema.get("items"), list), _Fitter._tuple),
    (_Fitter._is_map, _Fitter._map),
    (lambda schema: schema.get("type") == "object" or isinstance(schema.get("properties"), dict), _Fitter._object),
    (lambda schema: schema.get("type") == "array" or "items" in schema, _Fitter._array),
)
