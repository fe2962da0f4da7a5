"""Without a key: nginx with its one-line default is refused, and so are tools that speak like it, with the next step."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
import requests

from tests.deploy.web_server import find_nginx
from tests.patience import patient
from tests.service import Answer, Service, free_port, wait_until

HELLO = {"model": "gpt-5.2", "input": "hi"}
CONFIG = """\
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ {lines} proxy_pass http://127.0.0.1:{upstream}; }} }}
}}
"""
# What somebody may add to the one line.
WAYS = {
    "the one line": "",
    "HTTP/1.1": "proxy_http_version 1.1;",
    "no Connection header": 'proxy_set_header Connection "";',
}


@pytest.fixture
def behind(service: Service, tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    """Starts nginx with some lines beside ``proxy_pass``; gives the service as it is reached through it."""
    nginx = find_nginx()
    if nginx is None:
        pytest.skip("nginx is not installed")
    started: list[subprocess.Popen[bytes]] = []

    def start(lines: str) -> Service:
        through = service.behind(free_port())
        user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
        text = CONFIG.format(folder=tmp_path, port=through.port, upstream=service.port, lines=lines, user=user)
        (tmp_path / "nginx.conf").write_text(text)
        started.append(subprocess.Popen([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]))
        wait_until(lambda: answers(through), "nginx's start")
        return through

    yield start
    for process in started:
        process.terminate()
        process.wait(patient(10))


def answers(service: Service) -> bool:
    try:
        return service.get("/health").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("way", WAYS)
def test_a_default_nginx_in_front_reaches_neither_a_turn_nor_the_login(
    behind: Callable[[str], Service], way: str
) -> None:
    through = behind(WAYS[way])
    for method, path in (("POST", "/v1/responses"), ("GET", "/auth/status"), ("POST", "/auth/logout")):
        answer = through.request(method, path, HELLO, {"host": "192.0.2.2"})
        assert (answer.status, answer.code) == (403, "origin_not_allowed"), path
        assert "nginx" in answer.json["error"]["message"]
    assert (through.data_dir / "tokens.json").exists()


# Tools that keep their connections open, as nearly all do, and print the status.
OPEN = {
    "curl": ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "URL"],
    "wget": ["wget", "-q", "-O", "/dev/null", "-S", "URL"],
    "node": ["node", "-e", "fetch(process.argv[1]).then((answer) => console.log(answer.status))", "URL"],
}


@pytest.mark.parametrize("tool", OPEN)
def test_ordinary_tools_of_this_machine_are_served_without_a_key(service: Service, tool: str) -> None:
    command = [f"{service.base_url}/v1/models" if word == "URL" else word for word in OPEN[tool]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patient(60), check=False)
    except FileNotFoundError:
        pytest.skip(f"{tool} is not installed")
    assert "200" in done.stdout + done.stderr


def test_ordinary_libraries_are_served_without_a_key(service: Service) -> None:
    assert requests.get(f"{service.base_url}/v1/models", timeout=patient(20)).status_code == 200
    sdk = openai.OpenAI(api_key="any", base_url=f"{service.base_url}/v1", max_retries=0, timeout=patient(20))
    assert sdk.responses.create(model="gpt-5.2", input="hi").output_text


SIMPLE = {
    "HTTP/1.0, as ab speaks it": b"GET /v1/models HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
    "HTTP/1.0, kept open": b"GET /v1/models HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: Keep-Alive\r\n\r\n",
    "Connection: close": b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("head", SIMPLE.values(), ids=SIMPLE)
def test_a_tool_that_speaks_as_nginx_does_is_told_the_next_step(service: Service, head: bytes) -> None:
    connection = service.connect()
    connection.connect()
    connection.sock.sendall(head)
    response = connection.response_class(connection.sock, method="GET")
    response.begin()
    answer = Answer(response)
    connection.close()
    assert (answer.status, answer.code) == (403, "origin_not_allowed")
    message = answer.json["error"]["message"]
    for words in ("keep the connection open with HTTP/1.1", "PROXY_API_KEY", "codexproxy keys add"):
        assert words in message


def test_pythons_urllib_is_told_the_next_step_and_served_with_a_key(serve: Callable[..., Service]) -> None:
    script = (
        "import sys, urllib.request as r, urllib.error as e\n"
        "ask = r.Request(sys.argv[1], headers={'authorization': 'Bearer ' + sys.argv[2]})\n"
        "try: print(r.urlopen(ask).status)\n"
        "except e.HTTPError as error: print(error.code, error.read().decode())\n"
    )

    def said(service: Service) -> str:
        command = [sys.executable, "-c", script, f"{service.base_url}/v1/models", "the-key-of-the-owner"]
        return subprocess.run(command, capture_output=True, text=True, timeout=patient(60), check=True).stdout

    refused = said(serve())
    assert refused.startswith("403") and "PROXY_API_KEY" in refused
    assert said(serve(PROXY_API_KEY="the-key-of-the-owner")).strip() == "200"
