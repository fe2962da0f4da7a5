"""What other APIs have and we do not is refused by name, with what to use instead."""

import json
import re
from pathlib import Path

import openai
import pytest

from codexproxy.server.operations import OPERATIONS
from codexproxy.server.path_aliases import canonical
from codexproxy.server.unsupported_routes import ABSENT, absent_at
from tests.service import Service

KNOWN_ELSEWHERE = [
    ("POST", "/v1/embeddings"),
    ("POST", "/embeddings/"),
    ("POST", "/v1/v1/embeddings"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/moderations"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/file-1/content"),
    ("DELETE", "/v1/files/file-1"),
    ("GET", "/v1/fine_tuning/jobs"),
    ("POST", "/v1/batches"),
    ("POST", "/v1/assistants"),
    ("POST", "/v1/threads/runs"),
    ("POST", "/v1/conversations"),
    ("POST", "/v1/messages"),
    ("GET", "/api/tags"),
    ("POST", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
    ("POST", "/openai/v1/responses"),
    ("GET", "/v1/chat/completions"),
    ("DELETE", "/v1/models/ft:gpt-4o:me"),
    ("POST", "/v1/webhooks"),
    ("GET", "/v1/dashboard/billing/subscription"),
]


@pytest.mark.parametrize(("method", "path"), KNOWN_ELSEWHERE)
def test_what_is_not_offered_says_so_and_names_another_way(service: Service, method: str, path: str) -> None:
    answer = service.request(method, path, {} if method == "POST" else None)
    error = answer.json["error"]
    assert (answer.status, error["code"], error["type"]) == (501, "not_offered", "invalid_request_error")
    assert (" not offered here" in error["message"] and "Please" in error["message"]) or "/v1/" in error["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_the_sdk_asks_once_and_shows_the_reason(service: Service) -> None:
    client = openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="any")
    with pytest.raises(openai.InternalServerError, match="Embeddings are not offered here") as raised:
        client.embeddings.create(
            model="text-embedding-3-small", input="hi", extra_headers={"x-request-id": "asked-once"}
        )
    assert raised.value.code == "not_offered"
    ends = [line for line in service.log.splitlines() if "asked-once" in line and "status=501" in line]
    assert len(ends) == 1, service.log[-2000:]


def test_a_key_is_asked_for_first(serve) -> None:
    assert serve(PROXY_API_KEY="secret-key").post("/v1/embeddings", {}).status == 401


def test_nothing_that_is_offered_is_called_absent() -> None:
    # A path that is offered is looked for with its own methods only; the routing sees to that.
    offered = [operation for operation in OPERATIONS if operation.path != "/v1/chat/completions"]
    assert [one.path for one in offered if absent_at(one.method.upper(), canonical(one.path))] == []


def platform_routes() -> list[tuple[str, str]]:
    """Every request that the installed library of OpenAI can send."""
    call = re.compile(r'self\._(get|post|put|patch|delete|get_api_list)\(\s*f?(?:path_template\(\s*)?"(/[^"?]*)')
    sources = (Path(openai.__file__).parent / "resources").rglob("*.py")
    found = {match.groups() for source in sources for match in call.finditer(source.read_text())}
    return sorted(
        ("GET" if method == "get_api_list" else method.upper(), re.sub(r"\{[^}]*\}", "some_1", path))
        for method, path in found
    )


def test_every_route_of_the_platform_is_served_or_refused_by_name(service: Service) -> None:
    routes = platform_routes()
    assert len(routes) > 200
    served = {(one.method.upper(), re.sub(r"\{[^}]*\}", "some_1", one.path)) for one in OPERATIONS}
    for method, path in routes:
        if (method, f"/v1{path}") in served:
            continue
        answer = service.request(method, f"/v1{path}", {} if method in ("POST", "PUT", "PATCH") else None)
        assert (answer.status, answer.code) == (501, "not_offered"), f"{method} {path}"


def test_the_picture_that_the_refusal_recommends_can_be_asked_for(service: Service) -> None:
    message = service.post("/v1/images/generations", {"prompt": "a cat"}).json["error"]["message"]
    (tool,) = re.findall(r"\{.*\}", message)
    body = {"model": "gpt-5.2", "input": "a cat", "tools": [json.loads(tool)]}
    assert service.post("/v1/responses", body).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/embeddingsx", "/x/embeddings", "/chat", "/chat/other", "/dashboard", "/responses/a/b"]
)
def test_what_is_known_nowhere_is_not_absent_but_unknown(service: Service, path: str) -> None:
    assert absent_at("GET", path) is None
    answer = service.get(f"/v1{path}")
    assert (answer.status, answer.code) == (404, "unknown_url")


def test_a_method_that_nobody_has_is_still_not_allowed(service: Service) -> None:
    assert service.request("PUT", "/v1/models/gpt-5.2").code == "method_not_allowed"
    assert service.request("PUT", "/v1/chat/completions").code == "method_not_allowed"


def test_every_reason_is_a_sentence() -> None:
    assert all(entry.what.endswith((" is", " are")) and entry.instead.endswith(".") for entry in ABSENT.values())
