"""What other APIs have and we do not is refused by name, with what to use instead."""

import openai
import pytest

from codexproxy.web.absent import ABSENT, absent_at
from codexproxy.web.operations import OPERATIONS
from codexproxy.web.paths import canonical
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
    assert [operation.path for operation in OPERATIONS if absent_at(canonical(operation.path))] == []


@pytest.mark.parametrize("path", ["/", "/nothing", "/embeddingsx", "/x/embeddings"])
def test_what_is_known_nowhere_is_not_absent_but_unknown(path: str) -> None:
    assert absent_at(path) is None


def test_every_reason_is_a_sentence() -> None:
    assert all(entry.what.endswith((" is", " are")) and entry.instead.endswith(".") for entry in ABSENT.values())
