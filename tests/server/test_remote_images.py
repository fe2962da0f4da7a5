"""Images by URL over real HTTP: passed on by default; fetched where that is switched on, but never from this network."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.fakes.serving import serving
from tests.service import Service


class Gallery(BaseHTTPRequestHandler):
    """Notes that it was asked, and redirects to itself."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302)
        self.send_header("location", "/again")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Stays silent."""


@pytest.fixture
def gallery() -> Iterator[str]:
    Gallery.asked.clear()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Gallery)) as server:
        yield f"http://127.0.0.1:{server.server_port}/cat.png?signature=s3cret"


def chat(url: str, **more: object) -> dict[str, object]:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": "gpt-5.2", "messages": [{"role": "user", "content": parts}], **more}


def test_by_default_a_url_is_passed_on_and_nobody_fetches_it(
    service: Service, sim: SimulatorClient, gallery: str
) -> None:
    assert service.post("/v1/chat/completions", chat(gallery)).status == 200
    assert gallery in str(sim.last_turn()["json"]["input"])
    assert Gallery.asked == []


@pytest.mark.parametrize("stream", [False, True])
def test_where_it_is_switched_on_private_addresses_are_refused_before_they_are_asked(
    serve: Callable[..., Service], sim: SimulatorClient, gallery: str, stream: bool
) -> None:
    service = serve(FETCH_REMOTE_IMAGES="1")
    for url in (gallery, gallery.replace("127.0.0.1", "localhost"), "http://169.254.169.254/latest/meta-data"):
        answer = service.post("/v1/chat/completions", chat(url, stream=stream))
        assert (answer.status, answer.code) == (400, "unsupported_content")
        message = answer.json["error"]["message"]
        assert "not public" in message and "s3cret" not in message
    assert Gallery.asked == []
    assert sim.turns() == []
    data = "data:image/png;base64,iVBORw0KGgo="
    assert service.post("/v1/chat/completions", chat(data, stream=stream)).status == 200


def test_local_only_never_fetches(serve: Callable[..., Service], sim: SimulatorClient, gallery: str) -> None:
    service = serve(FETCH_REMOTE_IMAGES="1", CODEX_LOCAL_ONLY="1")
    assert service.post("/v1/chat/completions", chat(gallery)).status == 200
    assert Gallery.asked == []
    assert gallery in str(sim.last_turn()["json"]["input"])
