"""A person signs in with a real browser: the whole flow, and how its pages look in light and dark."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.chromium import Chromium, Tab
from tests.service import Service, wait_until
from tests.visitor import query_of

HELLO = {"model": "gpt-5.2", "input": "hi"}

# The lowest contrast of any text on the page with what is behind it (WCAG 2.1 §1.4.3).
LOWEST_CONTRAST = """(() => {
  const rgba = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n };
  const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b };
  const ground = (element) => { for (; element; element = element.parentElement) {
    const c = rgba(getComputedStyle(element).backgroundColor); if (c[3] > 0) return c } return [255, 255, 255, 1] };
  const texts = [...document.querySelectorAll('body *')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  return Math.min(...texts.map((e) => { const a = light(rgba(getComputedStyle(e).color)), b = light(ground(e));
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) }));
})()"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
GROUND = "getComputedStyle(document.body).backgroundColor.match(/[\\d]+/g).map(Number).reduce((a, b) => a + b) / 3"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def out(serve: Callable[..., Service]) -> Service:
    return serve(login=False, WEB_CONCURRENCY="2", CODEX_CALLBACK_PORT="0")


def press(tab: Tab, answer: str) -> None:
    """Presses a button of the login service's page."""
    tab.wait_for(f"document.querySelector('button[value={answer}]') !== null")
    tab.run(f"document.querySelector('button[value={answer}]').click()")


def is_well_made(tab: Tab, scheme: str) -> None:
    assert (tab.run(GROUND) > 128) is (scheme == "light")
    assert tab.run(LOWEST_CONTRAST) >= 4.5
    assert tab.run(FITS)
    assert tab.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [900, 340])
def test_signing_in_from_the_first_address_to_the_first_answer(
    browser: Chromium, out: Service, sim: SimulatorClient, tmp_path: Path, scheme: str, width: int
) -> None:
    sim.settings(person={"email": "somebody.with.a.rather.long.name@department.example.com", "plan": "pro"})
    begun = out.post("/auth/login", {}).json
    tab = browser.tab(scheme=scheme, width=width)
    tab.open(begun["authorization_url"])
    press(tab, "allow")
    tab.wait_for("location.pathname == '/success' && document.readyState == 'complete'")
    text = tab.run("document.body.innerText")
    assert "You are signed in" in text
    assert "somebody.with.a.rather.long.name@department.example.com" in text
    assert "You can close this window" in text
    is_well_made(tab, scheme)
    tab.picture(tmp_path / f"success-{scheme}-{width}.png")
    # The code is no longer in the address bar, and nothing was loaded from elsewhere.
    assert tab.run("location.search") == ""
    assert {urlsplit(url).hostname for url in tab.asked() if url.startswith("http")} <= {"127.0.0.1", "localhost"}
    assert out.get("/auth/status").json["plan"] == "pro"
    wait_until(lambda: out.post("/v1/responses", HELLO).status == 200, "an answer with the new login")
    tokens = json.loads((out.data_dir / "tokens.json").read_text())
    assert all(tokens[name] not in out.log for name in ("access_token", "refresh_token", "id_token"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [900, 340])
def test_saying_no_leads_to_a_page_that_says_what_to_do(
    browser: Chromium, out: Service, tmp_path: Path, scheme: str, width: int
) -> None:
    begun = out.post("/auth/login", {}).json
    tab = browser.tab(scheme=scheme, width=width)
    tab.open(begun["authorization_url"])
    press(tab, "deny")
    tab.wait_for("location.pathname == '/auth/callback' && document.readyState == 'complete'")
    text = tab.run("document.body.innerText")
    assert "Sign-in did not work" in text
    assert "The person said no" in text
    assert "codexproxy login" in text
    is_well_made(tab, scheme)
    tab.picture(tmp_path / f"error-{scheme}-{width}.png")
    assert out.get("/auth/status").json["logged_in"] is False


def test_another_page_of_the_browser_can_neither_cancel_nor_log_out(
    browser: Chromium, out: Service, sim: SimulatorClient
) -> None:
    out.login()
    begun = out.post("/auth/login", {}).json
    callback = urlsplit(query_of(begun["authorization_url"])["redirect_uri"])
    tab = browser.tab()
    tab.open(f"{sim.base_url}/oauth/authorize?client_id=nobody")
    tab.wait_for("document.readyState == 'complete' && location.pathname == '/oauth/authorize'")
    for target, method in ((f"http://{callback.netloc}/cancel", "GET"), (f"{out.base_url}/auth/logout", "POST")):
        script = f"fetch({target!r}, {{method: {method!r}, mode: 'no-cors'}}).then(() => 'sent', () => 'failed')"
        shown = tab.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert shown["result"]["value"] in ("sent", "failed")
    assert out.get("/auth/status").json["logged_in"] is True
    again = browser.tab()
    again.open(begun["authorization_url"])
    press(again, "allow")
    again.wait_for("location.pathname == '/success'")
