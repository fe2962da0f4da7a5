"""Who may ask, over real HTTP: keys, Host, Origin, CORS, and public binds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import patient
from tests.service import ROOT, Service, free_port

HELLO = {"model": "gpt-5.2", "input": "hi"}
KEY = "s3cret-key"
GUARDED = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/gpt-5.2"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("GET", "/no/such/route"),
    ("DELETE", "/v1/models"),
]


@pytest.fixture
def locked(serve: Callable[..., Service]) -> Service:
    return serve(PROXY_API_KEY=KEY)


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_every_route_wants_the_key_and_takes_it_in_three_headers(locked: Service, header: str) -> None:
    for method, path in GUARDED:
        for wrong in ({}, {header: "Bearer nope" if header == "authorization" else "nope"}):
            answer = locked.request(method, path, HELLO, wrong)
            assert (answer.status, answer.code) == (401, "invalid_api_key"), (method, path)
        right = {header: f"Bearer {KEY}" if header == "authorization" else KEY}
        assert locked.request(method, path, HELLO, right).status != 401
    assert locked.get("/health").status == 200
    assert locked.get("/ready").status == 200
    assert KEY not in locked.log


def test_with_the_key_neither_host_nor_origin_matters(locked: Service) -> None:
    headers = {"authorization": f"Bearer {KEY}", "host": "proxy.example.com", "origin": "https://page.example"}
    answer = locked.post("/v1/responses", HELLO, headers)
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


def test_without_a_configured_key_a_presented_one_is_ignored(service: Service) -> None:
    assert service.post("/v1/responses", HELLO, {"authorization": "Bearer whatever"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:1"},
        {"origin": "null"},
        {"x-forwarded-for": "203.0.113.9"},
        {"forwarded": "for=203.0.113.9"},
    ],
)
def test_without_a_key_foreign_hosts_pages_and_proxies_are_refused(service: Service, headers: dict[str, str]) -> None:
    for method, path in GUARDED:
        answer = service.request(method, path, HELLO, headers)
        assert (answer.status, answer.code) == (403, "origin_not_allowed"), (method, path)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:3000", "[::1]:80", "LOCALHOST"])
def test_without_a_key_loopback_hosts_are_served(service: Service, host: str) -> None:
    assert service.get("/v1/models", {"host": host}).status == 200


def test_allowed_pages_get_cors_headers_and_others_none(serve: Callable[..., Service]) -> None:
    service = serve(CORS_ALLOW_ORIGINS="https://app.example")
    answer = service.get("/v1/models", {"origin": "https://app.example"})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    asked = {"origin": "https://app.example", "access-control-request-headers": "x-any, authorization"}
    preflight = service.request("OPTIONS", "/v1/chat/completions", None, asked)
    assert preflight.status == 204
    assert "x-any" in preflight.headers["access-control-allow-headers"]
    other = service.request("OPTIONS", "/v1/chat/completions", None, {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_refusal_carries_cors_headers_too(serve: Callable[..., Service]) -> None:
    service = serve(PROXY_API_KEY=KEY, CORS_ALLOW_ORIGINS="*")
    answer = service.get("/v1/models", {"origin": "https://app.example"})
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] in ("*", "https://app.example")


def test_allow_unauthenticated_takes_any_host_and_keeps_the_origin_rule(serve: Callable[..., Service]) -> None:
    service = serve(ALLOW_UNAUTHENTICATED="1")
    assert service.get("/v1/models", {"host": "proxy.example.com"}).status == 200
    assert service.get("/v1/models", {"origin": "https://evil.example"}).status == 403


@pytest.mark.parametrize("arguments", [[], ["--bind", "0.0.0.0:0"], ["--bind", "127.0.0.1:0", "--bind", "[::]:0"]])
def test_a_public_bind_without_a_key_does_not_start(tmp_path: Path, arguments: list[str]) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DATA_DIR": str(tmp_path), "PORT": str(free_port())}
    if not arguments:
        environ["HOST"] = "0.0.0.0"
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *arguments, "wsgi:app"]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=patient(30), check=False
    )
    assert done.returncode != 0
    assert "PROXY_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_public_bind_with_a_key_that_can_be_guessed_does_not_start(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PORT": str(free_port()), "PROXY_API_KEY": "s3cret"}
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "--bind", "0.0.0.0:0", "wsgi:app"]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=patient(30), check=False
    )
    assert done.returncode != 0
    assert "16 characters" in done.stderr and "openssl rand -hex 32" in done.stderr
    assert "Traceback" not in done.stderr and "s3cret" not in done.stderr


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"CORS_ALLOW_ORIGINS": "*"}, "every web page"),
        ({"PROXY_API_KEY": "s3cret", "CORS_ALLOW_ORIGINS": "*"}, "can be guessed"),
        ({"ALLOW_UNAUTHENTICATED": "1"}, "everybody who can reach"),
    ],
)
def test_settings_that_let_others_in_are_warned_of_at_the_start(
    serve: Callable[..., Service], environ: dict[str, str], words: str
) -> None:
    service = serve(**environ)
    assert sum(words in line and "[WARN]" in line for line in service.log.splitlines()) == 1


def test_a_bad_setting_stops_gunicorn_with_all_problems(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PORT": "many", "CODEX_TIMEOUT": "soon"}
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=patient(30), check=False
    )
    assert done.returncode != 0
    assert "PORT" in done.stderr and "CODEX_TIMEOUT" in done.stderr
