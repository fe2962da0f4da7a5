"""A page of somebody else's, in a real browser, reaches neither a turn nor the login.

The browser's names lead to this machine: ``evil.example`` serves the page of a stranger, and ``rebound.example``
is the stranger's name after it was pointed at the service itself (DNS rebinding).
"""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.chromium import Chromium, Tab
from tests.fakes.serving import serving
from tests.service import Service

PAGE = b"<!doctype html><title>stranger</title><body>Hello"

# What a page can try without anybody's consent; each ends with what the page got to see.
TRIES = """(async (base) => {
  const asked = {'/v1/responses': {input: 'hi'}, '/v1/chat/completions': {messages: [{role: 'user', content: 'hi'}]},
    '/v1/completions': {prompt: 'hi'}};
  const paths = ['/v1/responses', '/v1/chat/completions', '/v1/completions', '/auth/login', '/auth/device', '/auth/logout'];
  const seen = [];
  const note = async (what, promise) => {
    try { const answer = await promise; seen.push([what, answer.status, answer.type, (await answer.text()).slice(0, 300)]) }
    catch (error) { seen.push([what, 0, 'error', String(error)]) }
  };
  for (const path of paths) {
    const body = JSON.stringify({model: 'gpt-5.2', ...asked[path]});
    // Without a pre-flight, as forms do it; with one, as the API is used; and blindly.
    await note('plain ' + path, fetch(base + path, {method: 'POST', body, headers: {'content-type': 'text/plain'}}));
    await note('json ' + path, fetch(base + path, {method: 'POST', body, headers: {'content-type': 'application/json'}}));
    await note('blind ' + path, fetch(base + path, {method: 'POST', body, mode: 'no-cors'}));
  }
  for (const path of ['/v1/models', '/auth/status', '/v1/quota', '/metrics'])
    await note('get ' + path, fetch(base + path));
  return seen;
})"""
FORM = """((base) => {
  const form = Object.assign(document.createElement('form'), {method: 'POST', action: base + '/v1/responses', enctype: 'text/plain'});
  form.append(Object.assign(document.createElement('input'), {name: '{"model":"gpt-5.2","input":"', value: 'hi"}'}));
  document.body.append(form); form.submit(); return true;
})"""


class Stranger(BaseHTTPRequestHandler):
    """Serves one page at every address."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *arguments: object) -> None:
        """Stays silent."""


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """The origin of a page that is not ours."""
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Stranger)) as server:
        yield f"http://evil.example:{server.server_port}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    names = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1"
    with Chromium(tmp_path_factory.mktemp("chromium"), names) as browser:
        yield browser


def tried(tab: Tab, base: str) -> dict[str, list[Any]]:
    """What became of every try of the page in this tab."""
    tab.run(f"window.done = null; {TRIES}({json.dumps(base)}).then((seen) => window.done = seen); 1")
    seen = tab.wait_for("window.done")
    return {what: rest for what, *rest in seen}


def opened(browser: Chromium, url: str) -> Tab:
    tab = browser.tab()
    tab.open(url)
    tab.wait_for(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")
    return tab


def nothing_happened(service: Service, sim: SimulatorClient) -> None:
    assert sim.turns() == []
    assert sim.counters()["revocations"] == 0
    assert (service.data_dir / "tokens.json").exists()
    # Nobody was sent to the issuer, and no code was asked for.
    assert not [request for request in sim.requests() if "oauth" in request["path"] or "deviceauth" in request["path"]]
    assert "callback" not in service.log.lower()


@pytest.mark.parametrize("environ", [{}, {"PROXY_API_KEY": "k"}, {"ALLOW_UNAUTHENTICATED": "1"}], ids=str)
def test_a_strangers_page_reaches_neither_a_turn_nor_the_login(
    browser: Chromium, stranger: str, serve: Callable[..., Service], sim: SimulatorClient, environ: dict[str, str]
) -> None:
    service = serve(CODEX_CALLBACK_PORT="0", **environ)
    tab = opened(browser, stranger)
    for what, (status, kind, text) in tried(tab, service.base_url).items():
        # Blind requests have no status; the others fail, as the page may not read what it was refused with.
        assert (status, kind) in {(0, "error"), (0, "opaque")}, what
        assert "codexproxy" not in text
    tab.run(f"{FORM}({json.dumps(service.base_url)})")
    tab.wait_for(f"location.origin === {json.dumps(service.base_url)}")
    assert tab.wait_for("document.body.innerText").startswith('{"error"')
    nothing_happened(service, sim)


def test_a_name_that_was_rebound_reaches_neither_a_turn_nor_the_login(
    browser: Chromium, serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve(CODEX_CALLBACK_PORT="0")
    base = f"http://rebound.example:{service.port}"
    tab = opened(browser, f"{base}/health")
    # To the browser this is the page's own server, so it may read every answer: all of them are refusals.
    for what, (status, _, text) in tried(tab, base).items():
        assert status == (0 if what.startswith("blind") and not text else 403), what
        assert not text or "origin_not_allowed" in text
    nothing_happened(service, sim)


def test_a_page_that_is_allowed_does_reach_a_turn(
    browser: Chromium, stranger: str, serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve(CORS_ALLOW_ORIGINS=stranger, CODEX_CALLBACK_PORT="0")
    tab = opened(browser, stranger)
    seen = tried(tab, service.base_url)
    assert [seen[f"json /v1/{path}"][0] for path in ("responses", "chat/completions", "completions")] == [200] * 3
    assert len(sim.turns()) == 9
