"""The browser login against the simulator's issuer, its browser replaced by one request."""

from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests

from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.login.oauth.browser_flow import (
    CodeMissing,
    LoginDenied,
    LoginFlow,
    StateMismatch,
    authorize_url,
)
from codexproxy.login.oauth.callback import Callback, parse_pasted
from codexproxy.login.oauth.client import ExchangeFailed, OAuthClient, new_session
from codexproxy.login.oauth.pending_logins import Attempts
from codexproxy.login.oauth.pkce import challenge_of
from codexproxy.login.tokens.external_store import LinkedTokenStore
from codexproxy.login.tokens.jwt import BrokenToken
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient


class Desk:
    """Somebody who logs in."""

    def __init__(self, folder: Path, sim: SimulatorClient) -> None:
        self.sim = sim
        self.store = LinkedTokenStore.in_folder(folder)
        self.attempts = Attempts(folder / "logins.db")
        self.oauth = OAuthClient(new_session(), issuer=sim.issuer_url)
        self.flow = LoginFlow(self.oauth, self.attempts, self.store.replace)
        sim.rules(auto_approve=True)

    def browse(self, url: str) -> str:
        """Where the browser is sent from the authorize page."""
        answer = requests.get(url, allow_redirects=False, timeout=patient(10))
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def came_back(self, address: str) -> Callback:
        return Callback.of(dict(parse_qsl(urlsplit(address).query)))


@pytest.fixture
def desk(tmp_path: Path, sim: SimulatorClient):
    desk = Desk(tmp_path, sim)
    yield desk
    desk.attempts.close()


def test_the_authorize_url_is_the_real_clients() -> None:
    url = authorize_url(
        "https://auth.openai.com",
        "app_EMoamEEZ73f0CkXaXp7hrann",
        "http://localhost:1455/auth/callback",
        "7OwUArCyZ3bF5vnNQiTpHSfVsZBwpoFCLv_Vk4c5tXs",
        "GxofKm7x8YihWWjvlwOpAYZ2cyeQMrUlv_F5-AN2jto",
        "openid profile email offline_access",
        "codex_cli_rs",
    )
    assert url == (
        "https://auth.openai.com/oauth/authorize?response_type=code&client_id=app_EMoamEEZ73f0CkXaXp7hrann"
        "&redirect_uri=http%3A%2F%2Flocalhost%3A1455%2Fauth%2Fcallback"
        "&code_challenge=7OwUArCyZ3bF5vnNQiTpHSfVsZBwpoFCLv_Vk4c5tXs&code_challenge_method=S256"
        "&state=GxofKm7x8YihWWjvlwOpAYZ2cyeQMrUlv_F5-AN2jto&scope=openid+profile+email+offline_access"
        "&id_token_add_organizations=true&codex_cli_simplified_flow=true&originator=codex_cli_rs"
    )


def test_an_attempt_carries_its_own_state_and_challenge(desk: Desk) -> None:
    one, two = desk.flow.begin(), desk.flow.begin("http://localhost:1457/auth/callback")
    query = {name: values[0] for name, values in parse_qs(urlsplit(two.url).query).items()}
    assert query["state"] == two.state != one.state
    assert query["code_challenge"] == challenge_of(two.verifier) != challenge_of(one.verifier)
    assert query["redirect_uri"] == "http://localhost:1457/auth/callback" == two.redirect_uri


def test_a_login_stores_the_pair(desk: Desk) -> None:
    address = desk.browse(desk.flow.begin().url)
    tokens = desk.flow.receive(desk.came_back(address))
    assert desk.store.load() == tokens
    assert tokens.identity.email == "dev@example.com"
    assert tokens.account_id == tokens.identity.account_id
    assert not tokens.due(tokens.updated_at)
    assert desk.sim.counters()["exchanges"] == 1


def test_a_login_ends_a_link_to_another_programs_login(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "login.json").write_text('{"path": "/nowhere/auth.json", "mode": "share"}')
    desk.flow.receive(desk.came_back(desk.browse(desk.flow.begin().url)))
    assert desk.store.linked() is None
    assert desk.store.load()


def test_a_pasted_address_and_a_pasted_code_do_the_same(desk: Desk) -> None:
    address = desk.browse(desk.flow.begin().url)
    assert desk.flow.receive(parse_pasted(address))
    code = desk.came_back(desk.browse(desk.flow.begin().url)).code
    assert desk.flow.receive(parse_pasted(code))
    assert desk.sim.counters()["exchanges"] == 2


def test_accept_takes_a_state_and_a_code(desk: Desk) -> None:
    attempt = desk.flow.begin()
    callback = desk.came_back(desk.browse(attempt.url))
    assert desk.flow.accept(attempt.state, callback.code).account_id


# -- docs/reference/sign-in.md#the-callback-server -----------------------------------------------------------------


@pytest.mark.parametrize("forged", ["", "wrong"])
@pytest.mark.parametrize("error", ["", "access_denied"])
def test_a_wrong_state_is_refused_first_and_ends_no_attempt(desk: Desk, forged: str, error: str) -> None:
    attempt = desk.flow.begin()
    callback = desk.came_back(desk.browse(attempt.url))
    with pytest.raises(StateMismatch, match="State mismatch") as caught:
        desk.flow.receive(Callback(callback.code, forged, error))
    assert caught.value.status == 400
    assert desk.sim.counters()["exchanges"] == 0
    assert desk.flow.receive(callback)


def test_a_state_works_once(desk: Desk) -> None:
    callback = desk.came_back(desk.browse(desk.flow.begin().url))
    desk.flow.receive(callback)
    with pytest.raises(StateMismatch):
        desk.flow.receive(callback)


def test_a_state_whose_time_is_over_is_refused(desk: Desk, tmp_path: Path) -> None:
    attempt = desk.flow.begin()
    late = Attempts(tmp_path / "logins.db", lambda: attempt.expires_at / 1000)
    flow = LoginFlow(desk.oauth, late, desk.store.replace)
    with pytest.raises(StateMismatch, match="run out of time"):
        flow.receive(desk.came_back(desk.browse(attempt.url)))
    late.close()


def test_an_attempt_never_lives_less_than_a_minute(desk: Desk) -> None:
    flow = LoginFlow(desk.oauth, desk.attempts, desk.store.replace, timeout=1, clock=lambda: 1000.0)
    assert flow.begin().expires_at == 1_060_000


def test_a_denied_login_says_why_and_is_over(desk: Desk) -> None:
    desk.sim.rules(deny_login={"description": "nope"})
    callback = desk.came_back(desk.browse(desk.flow.begin().url))
    with pytest.raises(LoginDenied, match="Sign-in failed: nope") as caught:
        desk.flow.receive(callback)
    assert caught.value.code == "access_denied"
    assert desk.attempts.pending() == 0


def test_a_workspace_without_codex_is_explained(desk: Desk) -> None:
    desk.sim.rules(deny_login={"description": "missing_codex_entitlement"})
    callback = desk.came_back(desk.browse(desk.flow.begin().url))
    with pytest.raises(LoginDenied, match="not enabled for your workspace"):
        desk.flow.receive(callback)


def test_a_callback_without_a_code_is_refused(desk: Desk) -> None:
    with pytest.raises(CodeMissing) as caught:
        desk.flow.receive(Callback(state=desk.flow.begin().state))
    assert caught.value.code == "missing_authorization_code"


# -- forgeries and failures -----------------------------------------------------------------------------------


def test_a_code_of_another_attempt_is_refused_by_the_verifier(desk: Desk) -> None:
    mine, theirs = desk.flow.begin(), desk.flow.begin()
    stolen = desk.came_back(desk.browse(theirs.url)).code
    with pytest.raises(ExchangeFailed, match="code_verifier"):
        desk.flow.accept(mine.state, stolen)
    assert desk.store.load() is None


def test_an_invented_code_is_refused(desk: Desk) -> None:
    with pytest.raises(ExchangeFailed, match="unknown or was used") as caught:
        desk.flow.accept(desk.flow.begin().state, "ac_invented")
    assert (caught.value.status, caught.value.code) == (400, "login_failed")


def test_a_pasted_code_that_was_not_copied_whole_ends_no_attempt(desk: Desk) -> None:
    code = desk.came_back(desk.browse(desk.flow.begin().url)).code
    with pytest.raises(ExchangeFailed):
        desk.flow.receive(parse_pasted(code[:-4]))
    assert desk.flow.receive(parse_pasted(code))


def test_a_redirect_whose_code_is_refused_cannot_be_tried_again(desk: Desk) -> None:
    attempt = desk.flow.begin()
    for expected in (ExchangeFailed, StateMismatch):
        with pytest.raises(expected):
            desk.flow.accept(attempt.state, "ac_invented")


@pytest.mark.parametrize("string_form", [False, True])
def test_both_shapes_of_the_issuers_errors_are_read(desk: Desk, string_form: bool) -> None:
    desk.sim.rules(oauth_string_errors=string_form)
    with pytest.raises(ExchangeFailed, match="unknown or was used"):
        desk.flow.accept(desk.flow.begin().state, "ac_invented")


def test_an_unreadable_id_token_is_a_typed_error_and_keeps_the_old_login(desk: Desk) -> None:
    desk.flow.receive(desk.came_back(desk.browse(desk.flow.begin().url)))
    before = desk.store.load()
    callback = desk.came_back(desk.browse(desk.flow.begin().url))
    broken = {"access_token": "a", "refresh_token": "r", "id_token": "no.jwt"}
    desk.sim.script({"status": 200, "json": broken}, endpoint="token")
    with pytest.raises(BrokenToken):
        desk.flow.receive(callback)
    assert desk.store.load() == before


def test_an_issuer_out_of_reach_is_a_502(desk: Desk) -> None:
    away = OAuthClient(new_session(), issuer="http://127.0.0.1:9")
    flow = LoginFlow(away, desk.attempts, desk.store.replace)
    with pytest.raises(UpstreamFailed, match="could not be reached"):
        flow.accept(flow.begin().state, "ac_1")


def test_no_failure_quotes_code_state_or_verifier(desk: Desk) -> None:
    attempt = desk.flow.begin()
    with pytest.raises(ProxyError) as caught:
        desk.flow.accept(attempt.state, "ac_planted_secret")
    shown = str(caught.value) + str(caught.value.as_dict()) + repr(attempt)
    for secret in ("ac_planted_secret", attempt.state, attempt.verifier):
        assert secret not in shown
