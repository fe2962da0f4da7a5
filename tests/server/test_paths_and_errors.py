"""Routes, their spellings, and errors as JSON for everything."""

import gzip
import json
import socket
import zlib
from collections.abc import Callable

import pytest
import zstandard

from codexproxy.server.path_aliases import canonical
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.service import Service, wait_until

HELLO = {"model": "gpt-5.2", "input": "hi"}


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/v1/models", "/models"),
        ("/models", "/models"),
        ("/v1/v1/models", "/models"),
        ("/v1/models/", "/models"),
        ("//v1//models", "/models"),
        ("/v1", "/"),
        ("/v10/models", "/v10/models"),
        ("/v1models", "/v1models"),
        ("", "/"),
        ("/models/v1/x", "/models/v1/x"),
    ],
)
def test_a_path_has_one_canonical_form(asked: str, path: str) -> None:
    assert canonical(asked) == path


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/v1/responses", "/v1/responses/"])
def test_every_spelling_of_a_route_answers(service: Service, path: str) -> None:
    assert service.post(path, HELLO).status == 200


def test_an_unknown_path_is_a_json_404_that_names_it(service: Service) -> None:
    answer = service.get("/v1/nothing/here")
    assert (answer.status, answer.code) == (404, "unknown_url")
    assert "/v1/nothing/here" in answer.json["error"]["message"]


def test_a_wrong_method_is_a_json_405_that_names_the_right_one(service: Service) -> None:
    answer = service.get("/v1/responses")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    "body", [b'{\n  "model": }', b"{'model': 'x'}", b"nonsense", b'{"a": NaN}', b"[" * 5000, b"\xff{}"]
)
def test_bad_json_names_line_and_column(service: Service, body: bytes) -> None:
    answer = service.post("/v1/responses", body)
    assert (answer.status, answer.code) == (400, "invalid_json")
    assert "line" in answer.json["error"]["message"] and "column" in answer.json["error"]["message"]


def test_what_is_no_utf8_is_told_with_its_place(service: Service) -> None:
    body = '{"model": "gpt-5.2",\n "messages": [{"role": "user", "content": "né'.encode("latin-1") + b'"}]}'
    answer = service.post("/v1/chat/completions", body, {"content-type": "application/json; charset=iso-8859-1"})
    assert (answer.status, answer.code) == (400, "invalid_json")
    assert "not UTF-8 (line 2, column 45)" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("body", "code"), [(b"", "invalid_json"), (b"  ", "invalid_json"), (b"[1]", "invalid_type"), (b"3", "invalid_type")]
)
def test_a_body_that_is_no_object_is_refused(service: Service, body: bytes, code: str) -> None:
    answer = service.post("/v1/responses", body)
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense", "application/json"])
def test_the_content_type_does_not_matter(service: Service, kind: str) -> None:
    assert service.post("/v1/responses", HELLO, {"content-type": kind}).status == 200


def test_a_byte_order_mark_and_a_lone_surrogate_do_no_harm(service: Service) -> None:
    body = b"\xef\xbb\xbf" + b'{"model":"gpt-5.2","input":"half \\ud83d an emoji"}'
    assert service.post("/v1/responses", body).status == 200


RAW = json.dumps(HELLO).encode()
PACKED = {
    "gzip": gzip.compress(RAW),
    "zstd": zstandard.ZstdCompressor().compress(RAW),
    "deflate": zlib.compress(RAW),
}


@pytest.mark.parametrize("encoding", PACKED)
def test_packed_bodies_are_unpacked(service: Service, encoding: str) -> None:
    assert service.post("/v1/responses", PACKED[encoding], {"content-encoding": encoding}).status == 200


def test_several_members_and_frames_are_unpacked_to_their_end(service: Service) -> None:
    half = len(RAW) // 2
    two = gzip.compress(RAW[:half]) + gzip.compress(RAW[half:])
    assert service.post("/v1/responses", two, {"content-encoding": "gzip"}).status == 200
    pack = zstandard.ZstdCompressor().compress
    two = pack(RAW[:half]) + pack(RAW[half:])
    assert service.post("/v1/responses", two, {"content-encoding": "zstd"}).status == 200


@pytest.mark.parametrize("encoding", PACKED)
def test_a_damaged_packed_body_is_refused(service: Service, encoding: str) -> None:
    for damaged in (PACKED[encoding][:-3], PACKED[encoding][:5], b"nonsense"):
        answer = service.post("/v1/responses", damaged, {"content-encoding": encoding})
        assert (answer.status, answer.code) == (400, "invalid_encoding")


def test_an_unknown_encoding_is_415_and_names_the_known_ones(service: Service) -> None:
    answer = service.post("/v1/responses", RAW, {"content-encoding": "br"})
    assert (answer.status, answer.code) == (415, "unsupported_encoding")
    assert "zstd" in answer.json["error"]["message"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress, None])
def test_a_body_over_the_cap_is_413_also_after_unpacking(serve, pack) -> None:
    service = serve(MAX_BODY_BYTES="100000")
    body = b'{"model":"gpt-5.2","input":"' + b"x" * 3_000_000 + b'"}'
    headers = {"content-encoding": "gzip" if pack is gzip.compress else "zstd"} if pack else {}
    answer = service.post("/v1/responses", pack(body) if pack else body, headers)
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_a_chunked_body_over_the_cap_is_413_and_not_cut(serve) -> None:
    service = serve(MAX_BODY_BYTES="1000")
    connection = service.connect()
    connection.request("POST", "/v1/responses", iter([b'{"model":"gpt-5.2",', b'"input":"' + b"x" * 2000, b'"}']))
    response = connection.getresponse()
    assert response.status == 413
    connection.close()


BROKEN = {
    "a chunk without a size": (b"Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk that is cut": (b"Transfer-Encoding: chunked", b"ff\r\n{"),
    "chunks without an end": (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n"),
    "fewer bytes than announced": (b"Content-Length: 50", b"{}"),
}


@pytest.mark.parametrize("way", BROKEN)
def test_a_body_that_does_not_arrive_whole_is_the_callers_mistake(service: Service, way: str) -> None:
    header, body = BROKEN[way]
    with socket.create_connection(("127.0.0.1", service.port), timeout=patient(10)) as client:
        client.sendall(b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\n" + header + b"\r\n\r\n" + body)
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_http"' in answer


def test_utf_16_is_understood(service: Service) -> None:
    assert service.post("/v1/responses", json.dumps(HELLO).encode("utf-16")).status == 200


def test_what_the_http_parser_refuses_is_json_too(service: Service) -> None:
    answer = service.get("/health", {"x-long": "y" * 60_000})
    assert (answer.status, answer.code) == (431, "invalid_http")


def test_a_body_packed_over_and_over_is_refused(service: Service) -> None:
    twice = gzip.compress(gzip.compress(RAW))
    assert service.post("/v1/responses", twice, {"content-encoding": "gzip, gzip"}).status == 200
    layers = gzip.compress(gzip.compress(twice))
    answer = service.post("/v1/responses", layers, {"content-encoding": ", ".join(["gzip"] * 4)})
    assert (answer.status, answer.code) == (415, "unsupported_encoding")


def test_more_headers_than_anybody_needs_are_refused(service: Service) -> None:
    assert service.get("/health", {f"x-{number}": "1" for number in range(80)}).status == 200
    answer = service.get("/health", {f"x-{number}": "1" for number in range(200)})
    assert (answer.status, answer.code) == (431, "invalid_http")
    answer = service.get(f"/health?{'y' * 10_000}")
    assert (answer.status, answer.code) == (414, "invalid_http")


def test_the_callers_request_id_comes_back_when_it_is_sane(service: Service) -> None:
    assert service.get("/v1/models", {"x-request-id": "my-id_1.2"}).headers["x-request-id"] == "my-id_1.2"
    other = service.get("/v1/models", {"x-request-id": "no good id"}).headers["x-request-id"]
    assert other and other != "no good id"


def test_health_touches_nothing_and_ready_says_why_not(serve) -> None:
    service = serve(login=False)
    assert service.get("/health").json["status"] == "ok"
    answer = service.get("/ready")
    assert answer.status == 503
    assert "codexproxy login" in answer.json["reasons"][0]
    assert (service.post("/v1/responses", HELLO).status, service.post("/v1/responses", HELLO).code) == (
        401,
        "not_logged_in",
    )
    service.login()
    wait_until(lambda: service.get("/ready").status == 200, "readiness")
    assert service.post("/v1/responses", HELLO).status == 200


def test_models_come_from_the_live_catalogue(service: Service) -> None:
    models = service.get("/v1/models").json
    assert models["object"] == "list"
    first = models["data"][0]
    assert {"id", "object", "created", "owned_by"} <= set(first)
    assert first["owned_by"] == "codex"
    assert first["context_window"] == first["context_length"] > 0
    assert service.get(f"/v1/models/{first['id']}").json == first
    answer = service.get("/v1/models/no/such")
    assert (answer.status, answer.code) == (404, "model_not_found")


def test_without_an_upstream_the_fallback_table_is_listed(serve) -> None:
    service = serve(CODEX_BACKEND_URL="http://127.0.0.1:9/backend-api")
    assert "gpt-5.2-codex" in [model["id"] for model in service.get("/v1/models").json["data"]]


def test_a_model_that_upstream_refuses_is_refused_with_those_there_are(service: Service) -> None:
    for stream in (False, True):
        answer = service.post(
            "/v1/chat/completions",
            {"model": "gpt-0", "messages": [{"role": "user", "content": "hi"}], "stream": stream},
        )
        assert (answer.status, answer.code) == (404, "model_not_found")
        assert "gpt-0" in answer.json["error"]["message"]
        listed = [model["id"] for model in service.get("/v1/models").json["data"]]
        assert f"Usable models: {', '.join(listed)}." in answer.json["error"]["message"]


def test_a_refusal_names_the_provider_it_comes_from(service: Service, sim: SimulatorClient) -> None:
    sim.script({"status": 402, "json": {"detail": {"code": "deactivated_workspace"}}})
    answer = service.post("/v1/responses", {"model": "gpt-5.2", "input": "hi"})
    assert (answer.status, answer.code) == (402, "account_deactivated")
    assert "deactivated" in answer.json["error"]["message"] and "codexproxy login" in answer.json["error"]["message"]
    assert answer.headers["x-codexproxy-backend"] == "default"
    request_id = answer.headers["x-request-id"]
    wait_until(
        lambda: any(request_id in line and "backend=default" in line for line in service.log.splitlines()), "log"
    )


def test_patterns_of_aliases_are_no_models_and_what_they_match_can_be_asked_for(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve(CODEX_MODEL_ALIASES='{"mine": "gpt-5.1", "gpt-5-mini*": "gpt-5.1", "*": "gpt-5.2"}')
    listed = [model["id"] for model in service.get("/v1/models").json["data"]]
    assert "mine" in listed
    assert not [name for name in listed if "*" in name]
    assert service.get("/v1/models/gpt-5-mini-2025").json["context_length"] > 0
    for name, slug in (("gpt-5-mini-2025", "gpt-5.1"), ("gpt-4o", "gpt-5.2")):
        answer = service.post("/v1/responses", {"model": name, "input": "hi"})
        assert (answer.status, answer.json["model"], sim.last_turn()["json"]["model"]) == (200, name, slug)
