"""Each request that the project sends ends within its total limit and its bytes, however the other end answers."""

import gzip
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import InvalidRequest, ProxyError, UpstreamFailed
from codexproxy.gunicorn.socket_wait import alarm
from codexproxy.login.credentials import Credentials
from codexproxy.login.oauth.client import LIMITS, OAuthClient, new_session
from codexproxy.login.oauth.device_flow import DeviceCode, DeviceLogin
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.outbound import Fetched, Limits, Overdue, TooLarge, fetch
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import Deadlines, TimeLimits
from codexproxy.simulator.client import SimulatorClient
from codexproxy.upstream.chatgpt.http_client import Exchange
from codexproxy.upstream.chatgpt.transport import Transport
from codexproxy.upstream.image_fetch import ImageFetcher
from codexproxy.upstream.image_inliner import Inliner
from tests.fakes.dripping import PLACES, Dripping, dripping
from tests.fakes.serving import serving
from tests.patience import patient
from tests.server.talk import MODEL
from tests.service import Service, wait_until

SHORT = Limits(seconds=0.4, size=10_000)
CODE = DeviceCode("AAAA", "http://x", "id", 5.0, time.time() + 900)


@pytest.fixture(params=list(PLACES))
def server(request: pytest.FixtureRequest) -> Any:
    with dripping(request.param) as found:
        yield found


def test_a_request_whose_answer_drips_ends_in_time_and_leaves_its_connection(server: Dripping) -> None:
    began = time.monotonic()
    with pytest.raises(Overdue):
        fetch(new_session(), "GET", server.url, SHORT)
    # The server could go on for hours.
    assert time.monotonic() - began < patient()
    wait_until(lambda: server.left, "the end of the connection")


def test_a_tls_handshake_that_drips_ends_in_time() -> None:
    # A record of 16 KB is announced, and comes byte by byte.
    with Dripping(b"\x16\x03\x03\x40\x00", b"\0" * 16_384).running() as server, pytest.raises(Overdue):
        fetch(new_session(), "GET", server.url.replace("http", "https"), SHORT)


def test_the_limit_holds_on_a_connection_that_was_used_before() -> None:
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    class Once(Dripping):
        def _drip(self, client: Any) -> None:
            with client:
                client.recv(65536)
                client.sendall(whole)
                super()._drip(client)

    with Once(*PLACES["body"]).running() as server:
        session = new_session()
        assert fetch(session, "GET", server.url, SHORT).content == b"ok"
        with pytest.raises(Overdue):
            fetch(session, "GET", server.url, SHORT)
        assert server.asked == 1


class Pages(BaseHTTPRequestHandler):
    """Redirects for ever, or sends more than anybody wants."""

    def do_GET(self) -> None:
        if self.path == "/redirects":
            time.sleep(0.05)
            self.send_response(302)
            self.send_header("location", self.path)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        body = b"\0" * 100_000_000 if self.path == "/plain" else gzip.compress(b"\0" * 100_000_000)
        self.send_response(200)
        if self.path == "/gzip":
            self.send_header("content-encoding", "gzip")
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Stays silent."""


def test_redirects_do_not_begin_the_time_anew() -> None:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Pages)) as server, pytest.raises(Overdue):
        fetch(new_session(), "GET", f"http://127.0.0.1:{server.server_port}/redirects", SHORT)


@pytest.mark.parametrize("path", ["/plain", "/gzip"])
def test_a_body_larger_than_its_bound_is_not_read_on(path: str) -> None:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Pages)) as server, pytest.raises(TooLarge):
        fetch(new_session(), "GET", f"http://127.0.0.1:{server.server_port}{path}", Limits(patient(), 100_000))


ASKED: dict[str, Callable[[OAuthClient], object]] = {
    "exchange": lambda oauth: oauth.exchange("code", "verifier", "http://localhost"),
    "refresh": lambda oauth: oauth.refresh("token", "scheduled"),
    "revoke": lambda oauth: oauth.revoke("token", "access", seconds=0.4),
    "device code": lambda oauth: DeviceLogin(oauth).begin(),
    "device poll": lambda oauth: DeviceLogin(oauth).poll(CODE),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=list(ASKED))
def test_a_login_service_that_drips_is_left_in_time(ask: Callable[[OAuthClient], object]) -> None:
    with dripping("body") as server, pytest.raises(UpstreamFailed):
        ask(OAuthClient(new_session(), issuer=server.url, limits=SHORT))


def test_a_renewal_takes_a_minute_at_most_and_a_quarter_of_a_megabyte() -> None:
    assert (LIMITS.seconds, LIMITS.size) == (60.0, 256 * 1024)


def test_after_a_renewal_that_dripped_the_hosts_lock_is_free(tmp_path: Path, sim: SimulatorClient) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    store.save(Tokens.from_json(sim.login(lifetime=0.01)))
    with dripping("body") as server:
        sut = Credentials(
            store, OAuthClient(new_session(), issuer=server.url, limits=SHORT), sleep=lambda seconds: None
        )
        with pytest.raises(ProxyError):
            sut.current()
    with FileTokenStore(store.path).lock(0):
        pass


@pytest.mark.parametrize("stream", [False, True])
def test_callers_wait_for_a_renewal_no_longer_than_for_a_turn(
    sim: SimulatorClient, tmp_path: Path, stream: bool
) -> None:
    with dripping("body") as issuer:
        service = Service(tmp_path, sim, CODEX_AUTH_ISSUER=issuer.url, CODEX_TIMEOUT="1", HEARTBEAT_SECONDS="30")
        service.login(lifetime=0.01)
        service.start()
        try:
            asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
            answer = service.post("/v1/chat/completions", asked)
            assert (answer.status, answer.code) == (504, "upstream_timeout")
        finally:
            issuer.closed.set()
            service.stop()


def test_a_command_without_an_event_loop_leaves_an_upstream_that_drips(server: Dripping) -> None:
    limits = TimeLimits(connect=5.0, first_event=None, idle=None, total=0.4)
    deadlines = Deadlines(limits, time.monotonic())
    exchange = Exchange(Transport(server.url, {}), "unreachable", time.monotonic, alarm)
    with pytest.raises(ProxyError):
        exchange.whole(exchange.send("GET", server.url, {}, b"", deadlines), deadlines)
    wait_until(lambda: server.left, "the end of the connection")


# -- pictures -------------------------------------------------------------------------------


def pictures(**limits: Any) -> ImageFetcher:
    return ImageFetcher(lambda address: True, resolve=lambda host, port: ["127.0.0.1"], **limits)


def test_a_picture_whose_server_drips_is_left_in_time(server: Dripping) -> None:
    with pytest.raises(InvalidRequest, match=r"longer than 0.4 seconds|answered 503"):
        pictures(timeout=0.4).data_url(server.url)


def turn(server: Dripping, count: int) -> Turn:
    parts = [{"type": "input_image", "image_url": f"{server.url}/{number}.png"} for number in range(count)]
    return Turn(MODEL, {"input": [{"type": "message", "role": "user", "content": parts}]}, False)


def test_a_turn_may_name_so_many_pictures_only() -> None:
    png = b"\x89PNG\r\n\x1a\n"
    with Dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n" + png, b"").running() as server:
        inline = Inliner(pictures(), 1_000_000, most=3)
        assert str(inline(turn(server, 3)).body).count("data:image/png") == 3
        with pytest.raises(InvalidRequest, match="more than 3 images"):
            inline(turn(server, 4))


def test_all_pictures_of_a_turn_together_have_a_time() -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1.0
            return self.now

    png = b"\x89PNG\r\n\x1a\n"
    with Dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n" + png, b"").running() as server:
        clock = Clock()
        inline = Inliner(pictures(clock=clock), 1_000_000, seconds=10.0, clock=clock)
        with pytest.raises(InvalidRequest, match="longer than"):
            inline(turn(server, 20))
        assert 0 < server.asked < 10


def test_fetched_holds_the_answer() -> None:
    with Dripping(b"HTTP/1.1 201 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nok", b"").running() as server:
        found = fetch(new_session(), "GET", server.url, SHORT)
    assert isinstance(found, Fetched)
    assert (found.status_code, found.headers["X-A"], found.content) == (201, "b", b"ok")
