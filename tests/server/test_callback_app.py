"""The callback app over real HTTP: the table of answers, forgeries, ports, and its end.

See docs/reference/sign-in.md#the-callback-server.
"""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from codexproxy.login.oauth.browser_flow import LoginFlow
from codexproxy.login.oauth.callback_endpoint import REGISTERED_PORTS, Landing
from codexproxy.login.oauth.client import OAuthClient, new_session
from codexproxy.login.oauth.pending_logins import Attempt, Attempts
from codexproxy.login.tokens.external_store import LinkedTokenStore
from codexproxy.login.tokens.file_store import storage_failed
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.server.login.callback_app import Ended
from codexproxy.server.login.callback_server import CallbackServer, CallbackUnavailable
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.service import free_port, wait_until
from tests.visitor import Page, authorized, visit

FREE = Landing(ports=(0,))


class Desk:
    """A login service, a data folder, and a callback app between them."""

    def __init__(self, folder: Path, sim: SimulatorClient) -> None:
        self.sim = sim
        self.store = LinkedTokenStore.in_folder(folder)
        self.attempts = Attempts(folder / "logins.db")
        self.keep: Callable[[Tokens], None] = self.store.replace
        self.flow = LoginFlow(OAuthClient(new_session(), issuer=sim.issuer_url), self.attempts, lambda t: self.keep(t))
        self.opened: list[CallbackServer] = []
        sim.rules(auto_approve=True)

    def open(self, landing: Landing = FREE, timeout: float = 60, **options: object) -> CallbackServer:
        server = CallbackServer(landing, self.flow, timeout, **options)  # type: ignore[arg-type]
        server.open()
        self.opened.append(server)
        return server

    def begin(self, server: CallbackServer) -> Attempt:
        return self.flow.begin(FREE.redirect_uri_at(server.port))


@pytest.fixture
def desk(tmp_path: Path, sim: SimulatorClient) -> Iterator[Desk]:
    desk = Desk(tmp_path, sim)
    yield desk
    for server in desk.opened:
        server.close()
        assert server.wait_closed(10)
    desk.attempts.close()


@pytest.fixture
def server(desk: Desk) -> CallbackServer:
    return desk.open()


def get(server: CallbackServer, path: str, method: str = "GET", **headers: str) -> Page:
    """One request, its redirect not followed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=patient(20))
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        shown = {name.lower(): value for name, value in answer.getheaders()}
        return Page(path, answer.status, answer.read().decode(), shown)
    finally:
        connection.close()


def test_a_good_code_is_exchanged_kept_and_leads_to_the_success_page(desk: Desk, server: CallbackServer) -> None:
    attempt = desk.begin(server)
    back = urlsplit(authorized(attempt.url))
    answer = get(server, f"{back.path}?{back.query}")
    assert (answer.status, answer.headers["location"]) == (302, "/success")
    ended = server.wait(0)
    assert ended is not None
    assert ended.tokens is not None and ended.tokens == desk.store.load()
    page = get(server, "/success", cookie=answer.headers["set-cookie"].partition(";")[0])
    assert page.status == 200
    assert page.headers["connection"] == "close"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "dev@example.com" in page.text and "plus" in page.text and "close this window" in page.text
    assert server.wait_closed(5)


@pytest.mark.parametrize(
    "query",
    [
        "code=ac_x&state=wrong",
        "state=wrong",
        "error=access_denied&error_description=nope&state=wrong",
        "code=ac_x",
        "code=ac_x&state=",
        "",
        "state=%00%ff&code=x",
        "state=" + "x" * 60_000,
    ],
)
def test_a_wrong_state_is_400_and_ends_nothing(desk: Desk, server: CallbackServer, query: str) -> None:
    attempt = desk.begin(server)
    page = get(server, f"/auth/callback?{query}")
    assert page.status == 400
    assert "State mismatch" in page.text
    assert server.wait(0) is None
    assert desk.sim.counters()["exchanges"] == 0
    assert visit(attempt.url).status == 200


def test_a_denied_login_is_a_page_with_200_and_the_end(desk: Desk, server: CallbackServer) -> None:
    attempt = desk.begin(server)
    page = get(server, f"/auth/callback?error=access_denied&error_description=nope&state={attempt.state}")
    assert page.status == 200
    assert page.headers["connection"] == "close"
    assert "Sign-in failed: nope" in page.text
    assert failure_of(server) == "access_denied"
    assert server.wait_closed(5)


def test_a_workspace_without_codex_is_told_so(desk: Desk, server: CallbackServer) -> None:
    desk.sim.rules(auto_approve=False, deny_login={"description": "missing_codex_entitlement"})
    page = visit(desk.begin(server).url)
    assert "Codex is not enabled for your workspace" in page.text
    assert failure_of(server) == "missing_codex_entitlement"


def test_a_missing_code_is_an_error_page(desk: Desk, server: CallbackServer) -> None:
    page = get(server, f"/auth/callback?state={desk.begin(server).state}")
    assert page.status == 400
    assert "missing_authorization_code" in page.text
    assert failure_of(server) == "missing_authorization_code"


def test_success_before_any_login_claims_nothing_and_ends_nothing(desk: Desk, server: CallbackServer) -> None:
    page = get(server, "/success")
    assert page.status == 200
    assert "Nobody has signed in here yet" in page.text
    assert server.wait(0) is None
    assert visit(desk.begin(server).url).status == 200


def test_who_knows_the_attempt_ends_it_and_frees_the_port(desk: Desk, server: CallbackServer) -> None:
    attempt = desk.begin(server)
    page = get(server, f"/cancel?state={attempt.state}")
    assert (page.status, page.text) == (200, "Login cancelled")
    assert failure_of(server) == "login_cancelled"
    assert server.wait_closed(5)
    with pytest.raises(OSError):
        get(server, "/cancel")


@pytest.mark.parametrize(
    "query", ["", "?state=", "?state=guess", "?attempt=guess", "?attempt=%25", "?state=x&attempt=y"]
)
def test_who_does_not_know_the_attempt_cannot_end_it(desk: Desk, server: CallbackServer, query: str) -> None:
    attempt = desk.begin(server)
    page = get(server, f"/cancel{query}")
    assert page.status == 403
    assert "only the program that began a login" in page.text
    assert server.wait(0) is None
    assert visit(attempt.url).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:1455", "127.0.0.1.evil.example", "", "192.0.2.1:1455"])
def test_a_name_that_was_pointed_at_this_machine_reaches_no_page(desk: Desk, server: CallbackServer, host: str) -> None:
    attempt = desk.begin(server)
    back = urlsplit(authorized(attempt.url))
    for path in (f"{back.path}?{back.query}", "/success", f"/cancel?state={attempt.state}"):
        for method in ("GET", "HEAD"):
            assert get(server, path, method, host=host).status == 403, path
    assert server.wait(0) is None
    assert get(server, f"{back.path}?{back.query}", host="localhost:9999").status == 302


def test_the_name_of_the_redirect_address_is_one_of_ours(desk: Desk) -> None:
    server = desk.open(replace(FREE, redirect_uri="https://Login.example/auth/callback"))
    attempt = desk.begin(server)
    back = urlsplit(authorized(attempt.url))
    assert get(server, f"{back.path}?{back.query}", host="other.example").status == 403
    assert get(server, f"{back.path}?{back.query}", host="login.example").status == 302


def test_only_the_browser_that_signed_in_is_told_who_did(desk: Desk, server: CallbackServer) -> None:
    back = urlsplit(authorized(desk.begin(server).url))
    answer = get(server, f"{back.path}?{back.query}")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/success" in cookie
    for other in ({}, {"cookie": "codexproxy-login=guess"}, {"cookie": "codexproxy-login="}):
        page = get(server, "/success", **other)
        assert page.status == 200 and "You are signed in" in page.text
        assert "dev@example.com" not in page.text and "plus" not in page.text
    # And none of them has taken the page away from the one that may see it.
    page = get(server, "/success", cookie=cookie.partition(";")[0])
    assert "dev@example.com" in page.text
    assert server.wait_closed(5)


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/auth", "/auth/callback/", "/success/x", "/..%2f", "//"])
def test_anything_else_is_not_found(server: CallbackServer, path: str) -> None:
    page = get(server, path)
    assert (page.status, page.text) == (404, "Not Found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_get_does_anything(desk: Desk, server: CallbackServer, method: str) -> None:
    state = desk.begin(server).state
    assert get(server, f"/auth/callback?error=x&state={state}", method).status == 405
    assert get(server, "/cancel", method).status == 405
    assert server.wait(0) is None


def test_whoever_only_looks_uses_nothing_up(desk: Desk, server: CallbackServer) -> None:
    back = urlsplit(authorized(desk.begin(server).url))
    assert get(server, f"{back.path}?{back.query}", "HEAD").status == 200
    assert get(server, "/cancel", "HEAD").status == 200
    assert server.wait(0) is None
    assert get(server, f"{back.path}?{back.query}").status == 302


def test_loading_the_address_again_shows_success_again_and_exchanges_once(desk: Desk, server: CallbackServer) -> None:
    back = urlsplit(authorized(desk.begin(server).url))
    assert get(server, f"{back.path}?{back.query}").status == 302
    assert get(server, f"{back.path}?{back.query}").status == 302
    assert desk.sim.counters()["exchanges"] == 1


def test_a_code_of_somebody_else_fails_at_the_verifier(desk: Desk, server: CallbackServer) -> None:
    mine, foreign = desk.begin(server), desk.begin(server)
    code = authorized(foreign.url).partition("code=")[2].partition("&")[0]
    page = get(server, f"/auth/callback?code={code}&state={mine.state}")
    assert page.status == 400
    assert "code_verifier does not fit" in page.text
    assert code not in page.text
    assert failure_of(server) == "login_failed"
    assert desk.store.load() is None


@pytest.mark.parametrize("reply", [{"status": 500, "body": "down"}, {"status": 200, "body": "<html>"}])
def test_a_failing_exchange_is_an_error_page_that_says_what_to_do(
    desk: Desk, server: CallbackServer, reply: dict[str, object]
) -> None:
    desk.sim.script(reply, endpoint="token")
    page = visit(desk.begin(server).url)
    assert page.status >= 400
    assert "What you can do" in page.text
    assert "codexproxy login" in page.text
    assert desk.store.load() is None
    assert server.wait(patient(5)) is not None


def test_a_full_disk_is_told_on_the_page_and_the_earlier_login_stays(desk: Desk, server: CallbackServer) -> None:
    def full(tokens: Tokens) -> None:
        raise storage_failed("written", "tokens.json in the data folder", OSError(28, "No space left on device"))

    desk.keep = full
    page = visit(desk.begin(server).url)
    assert page.status == 500
    assert "The disk is full" in page.text
    assert "Your earlier login is still there" in page.text


def test_everything_on_a_page_is_escaped(desk: Desk, server: CallbackServer) -> None:
    evil = "%3Cscript%3Ealert(1)%3C/script%3E%60%3Cb%3E%60"
    page = get(server, f"/auth/callback?error=access_denied&error_description={evil}&state={desk.begin(server).state}")
    assert "<script>" not in page.text and "<b>" not in page.text
    assert "&lt;script&gt;" in page.text
    desk.sim.settings(person={"email": '"><img src=x onerror=alert(1)>@example.com', "plan": "<plus>"})
    again = desk.open()
    page = visit(desk.begin(again).url)
    assert "<img" not in page.text and "<plus>" not in page.text
    assert "&lt;img" in page.text


def test_pages_are_whole_in_themselves_and_kept_by_nobody(desk: Desk, server: CallbackServer) -> None:
    page = visit(desk.begin(server).url)
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in page.text
    assert "http://" not in page.text and "https://" not in page.text and "<script" not in page.text


def test_no_token_code_or_verifier_is_on_any_page_or_in_any_log_line(
    desk: Desk, server: CallbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    attempt = desk.begin(server)
    back = authorized(attempt.url)
    page = visit(back)
    stored = desk.store.load()
    assert stored is not None
    code = back.partition("code=")[2].partition("&")[0]
    # The lines of urllib3 are those of this test's own browser.
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith("urllib3")]
    assert lines
    shown = page.text + str(page.headers) + page.url + "".join(lines) + repr(server.wait(0))
    for secret in (code, attempt.verifier, stored.access_token, stored.refresh_token, stored.id_token):
        assert secret not in shown


def test_it_stops_by_itself_and_the_attempt_with_it(desk: Desk) -> None:
    told: list[Ended] = []
    server = desk.open(timeout=0.3, on_end=told.append)
    assert server.wait_closed(5)
    assert failure_of(server) == "login_timed_out"
    assert told == [server.wait(0)]
    with pytest.raises(OSError):
        get(server, "/success")


def test_it_waits_longer_when_asked_to(desk: Desk) -> None:
    server = desk.open(timeout=1)
    begun = time.monotonic()
    while time.monotonic() - begun < 1.5:
        assert server.extend()
        time.sleep(0.05)
    assert get(server, "/success").status == 200
    assert server.wait_closed(5)
    assert not server.extend()


def test_a_failed_login_ends_nothing_while_others_wait(desk: Desk) -> None:
    server = desk.open(others_wait=lambda: desk.attempts.pending() > 0)
    first, second = desk.begin(server), desk.begin(server)
    get(server, f"/auth/callback?error=access_denied&state={first.state}")
    assert server.wait(0) is None
    assert visit(second.url).status == 200
    assert server.wait(patient(5)) is not None


def test_connections_that_say_nothing_hold_nobody_up(desk: Desk, server: CallbackServer) -> None:
    spare = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    spare[0].sendall(b"GET /auth/callback?code=ac_half HTT")
    spare[1].close()
    assert visit(desk.begin(server).url).status == 200
    assert server.wait_closed(5)
    for connection in spare:
        connection.close()


def test_twenty_browsers_with_one_code_exchange_it_once(desk: Desk, server: CallbackServer) -> None:
    back = urlsplit(authorized(desk.begin(server).url))
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(get(server, f"{back.path}?{back.query}").status))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(20))
    assert desk.sim.counters()["exchanges"] == 1
    assert set(statuses) <= {302, 400}
    assert statuses.count(302) >= 1


# --- ports ----------------------------------------------------------------------------------


def test_a_stale_login_of_ours_is_asked_to_leave_the_port(desk: Desk) -> None:
    landing = Landing(ports=(free_port(), free_port()))
    stale = desk.open(landing)
    desk.begin(stale)
    fresh = desk.open(landing)
    assert fresh.port == stale.port == landing.ports[0]
    assert failure_of(stale) == "login_cancelled"


def test_a_login_of_another_data_folder_keeps_the_port(desk: Desk, tmp_path: Path, sim: SimulatorClient) -> None:
    landing = Landing(ports=(free_port(), free_port()))
    (tmp_path / "other").mkdir()
    other = Desk(tmp_path / "other", sim)
    kept, fresh = desk.open(landing), other.open(landing)
    desk.begin(kept)
    try:
        assert (kept.port, fresh.port) == landing.ports
        assert kept.wait(0) is None
    finally:
        fresh.close()
        assert fresh.wait_closed(10)
        other.attempts.close()


def test_a_stranger_on_the_port_learns_of_no_state(desk: Desk) -> None:
    with Stubborn() as holder:
        attempt = desk.flow.begin()
        desk.open(Landing(ports=(holder.port, free_port())))
        (asked,) = holder.asked
        assert asked.startswith("/cancel?attempt=")
        assert attempt.state not in asked and attempt.verifier not in asked


def test_a_port_that_stays_busy_makes_the_second_one_serve(desk: Desk) -> None:
    with Stubborn() as holder:
        landing = Landing(ports=(holder.port, free_port()))
        server = desk.open(landing)
        assert server.port == landing.ports[1]
        assert holder.asked == ["/cancel"]
        attempt = desk.flow.begin(landing.redirect_uri_at(server.port))
        assert attempt.redirect_uri == f"http://localhost:{landing.ports[1]}/auth/callback"
        assert visit(attempt.url).status == 200


def test_when_every_port_is_busy_the_error_names_the_other_way(desk: Desk) -> None:
    with Stubborn() as holder, pytest.raises(CallbackUnavailable, match="Paste the address"):
        desk.open(Landing(ports=(holder.port,)))


def test_an_address_that_is_not_of_this_machine_is_told(desk: Desk) -> None:
    with pytest.raises(CallbackUnavailable, match=r"192\.0\.2\.1"):
        desk.open(Landing(host="192.0.2.1", ports=(0,)))


def test_a_container_publishes_it_on_every_address(desk: Desk) -> None:
    server = desk.open(Landing(host="0.0.0.0", ports=(0,)))
    assert visit(desk.begin(server).url).status == 200


def test_the_real_port_is_the_registered_one(desk: Desk) -> None:
    """The one test on 1455 itself; another program there, such as a login under way, makes it use 1457."""
    server = desk.open(Landing())
    assert server.port in REGISTERED_PORTS
    attempt = desk.flow.begin(Landing().redirect_uri_at(server.port))
    assert attempt.redirect_uri == f"http://localhost:{server.port}/auth/callback"
    desk.sim.rules(auto_approve=True, registered_ports_only=True)
    assert visit(attempt.url).status == 200


@pytest.mark.parametrize(
    ("landing", "port", "expected"),
    [
        (Landing(), 1455, "http://localhost:1455/auth/callback"),
        (Landing(), 1457, "http://localhost:1457/auth/callback"),
        (
            Landing.of("0.0.0.0", 9000, "http://localhost:1455/auth/callback"),
            9000,
            "http://localhost:9000/auth/callback",
        ),
        (Landing.of("", 1455, "http://127.0.0.1:1455/auth/callback"), 1457, "http://127.0.0.1:1457/auth/callback"),
        (Landing.of("", 1455, "http://[::1]:1455/auth/callback"), 1457, "http://[::1]:1457/auth/callback"),
        # Something of the owner's own leads from there to here.
        (Landing.of("", 9000, "https://login.example/auth/callback"), 9000, "https://login.example/auth/callback"),
        (Landing.of("", 9000, "http://localhost:8000/auth/callback"), 9000, "http://localhost:8000/auth/callback"),
    ],
)
def test_the_issuer_is_told_the_port_that_was_free(landing: Landing, port: int, expected: str) -> None:
    assert landing.redirect_uri_at(port) == expected


def test_only_the_first_registered_port_brings_the_second_along() -> None:
    assert Landing.of("127.0.0.1", 1455, Landing().redirect_uri).ports == (1455, 1457)
    assert Landing.of("127.0.0.1", 2000, Landing().redirect_uri).ports == (2000,)
    assert replace(Landing(), ports=(0,)).redirect_uri_at(33) == "http://localhost:33/auth/callback"


class Stubborn:
    """A program that stays on its port, whatever it is asked."""

    def __init__(self) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(404)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Stays silent."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_port)

    def __enter__(self) -> "Stubborn":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def failure_of(server: CallbackServer) -> str | None:
    """The code of the failure it ended with."""
    ended = wait_until(lambda: server.wait(0), "the end of the login", 5)
    return ended.failure and ended.failure.code
