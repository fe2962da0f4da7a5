"""A local server is asked where it leads before anything is sent there."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from codexproxy.errors import InvalidRequest
from codexproxy.upstream.codex_cli.security.config_file import config_of
from codexproxy.upstream.codex_cli.security.local_only import REMEMBERED, Redirects, require_local
from tests.fakes.clock import Clock


class Signposts:
    """A local server whose paths lead where they are told to."""

    def __init__(self) -> None:
        self.leads: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, bytes]] = []
        signposts = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                signposts.asked.append((self.path, body))
                status, location = signposts.leads.get(self.path, (400, ""))
                self.send_response(status)
                if location:
                    self.send_header("location", location)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def signposts() -> Iterator[Signposts]:
    server = Signposts()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("status", "location", "elsewhere"),
    [
        (400, "", False),
        (200, "https://example.com/", False),
        (301, "https://example.com/v1/responses", True),
        (302, "http://192.168.0.1/", True),
        (303, "//example.com/", True),
        (307, "http://localhost@example.com/", True),
        (308, "ftp://127.0.0.1/", True),
        (307, "/other", False),
        (307, "{url}/other", False),
        (307, "responses", True),
        (307, "", False),
        (304, "https://example.com/", False),
    ],
)
def test_where_a_server_leads(signposts: Signposts, status: int, location: str, elsewhere: bool) -> None:
    signposts.leads["/v1/responses"] = (status, location.format(url=signposts.url))
    assert Redirects().leads_elsewhere(f"{signposts.url}/v1/") == elsewhere


def test_every_hop_is_followed(signposts: Signposts) -> None:
    signposts.leads["/v1/responses"] = (307, "/one")
    signposts.leads["/one"] = (307, "/two")
    assert not Redirects().leads_elsewhere(f"{signposts.url}/v1")
    signposts.leads["/two"] = (307, "https://example.com/")
    assert Redirects().leads_elsewhere(f"{signposts.url}/v1")
    assert {body for _, body in signposts.asked} == {b"{}"}


def test_a_server_that_cannot_be_asked_is_left_to_the_cli() -> None:
    assert not Redirects().leads_elsewhere("http://127.0.0.1:9/v1")
    assert not Redirects().leads_elsewhere("https://127.0.0.1:9/v1")


def test_an_answer_counts_for_a_while(signposts: Signposts) -> None:
    clock = Clock()
    redirects = Redirects(clock)
    for _ in range(3):
        assert not redirects.leads_elsewhere(f"{signposts.url}/v1")
    assert len(signposts.asked) == 1
    signposts.leads["/v1/responses"] = (307, "https://example.com/")
    clock.now += REMEMBERED
    assert redirects.leads_elsewhere(f"{signposts.url}/v1")


def test_a_provider_that_redirects_is_refused(signposts: Signposts) -> None:
    config = config_of({"model_provider": "m", "model_providers": {"m": {"base_url": f"{signposts.url}/v1"}}})
    assert require_local(config, Redirects().leads_elsewhere) == ("127.0.0.1",)
    signposts.leads["/v1/responses"] = (307, "https://example.com/")
    with pytest.raises(InvalidRequest, match="redirects to another machine") as refusal:
        require_local(config, Redirects().leads_elsewhere)
    assert refusal.value.code == "local_only"
