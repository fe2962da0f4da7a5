"""The description of the API is complete, valid, and shown as a page that needs nothing else."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from codexproxy.app import create_app
from codexproxy.server.openapi import document
from codexproxy.server.operations import OPERATIONS
from codexproxy.server.path_aliases import canonical
from codexproxy.settings import load_settings
from tests.service import Service

# Routes that only the Codex CLI knows.
NATIVE = "/backend-api/"


def test_the_description_names_every_route_and_no_other(tmp_path: Path) -> None:
    app = create_app(load_settings({"HOME": str(tmp_path), "DATA_DIR": str(tmp_path)}), {})
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS") and not rule.rule.startswith(NATIVE)
    }
    assert {(operation.method, canonical(operation.path)) for operation in OPERATIONS} == routes


def test_every_reference_leads_somewhere_and_every_field_is_explained() -> None:
    described = document()
    schemas = described["components"]["schemas"]
    named = set(re.findall(r"#/components/schemas/(\w+)", str(described)))
    assert named <= schemas.keys()
    for name in ("ChatRequest", "CompletionRequest", "ResponseRequest"):
        fields = schemas[name]["properties"]
        assert len(fields) > 10
        assert all("description" in field for field in fields.values()), name
    assert schemas["ChatRequest"]["properties"]["messages"]["type"] == "array"


def test_it_is_served_with_the_key(serve: Callable[..., Service]) -> None:
    service = serve(PROXY_API_KEY="s3cret-key")
    assert service.get("/openapi.json").status == 401
    answer = service.get("/openapi.json", {"authorization": "Bearer s3cret-key"})
    assert (answer.status, answer.json["openapi"]) == (200, "3.1.0")


@pytest.mark.parametrize("word", ["/v1/chat/completions", "ResponseRequest", "previous_response_id", "Needs no key."])
def test_the_page_shows_it_without_anything_from_elsewhere(service: Service, word: str) -> None:
    answer = service.get("/docs")
    assert answer.status == 200
    assert word in answer.body.decode()
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(rb"<script|https?://|@import|url\(", answer.body)
