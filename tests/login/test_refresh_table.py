"""Every row of docs/reference/sign-in.md#token-refresh, over HTTP against the simulator's issuer."""

import logging
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import LoginExpired, UpstreamFailed
from codexproxy.login.credentials import Credentials
from codexproxy.login.oauth.client import OAuthClient, new_session
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.simulator.client import SimulatorClient

# The usual ten days, at whose end (but for 200 seconds) a refresh is due.
DUE = 200.0


class Proxy:
    """One process with a login of the simulator's."""

    def __init__(self, folder: Path, sim: SimulatorClient) -> None:
        self.sim = sim
        self.store = FileTokenStore(folder / "tokens.json")
        self.credentials = Credentials(
            FileTokenStore(self.store.path),
            OAuthClient(new_session(), issuer=sim.issuer_url),
            sleep=lambda seconds: None,
        )

    def login(self, left: float) -> Tokens:
        """A login whose access token has ``left`` seconds of ten days to live."""
        tokens = Tokens.from_json(self.sim.login(lifetime=left))
        aged = {**tokens.to_json(), "access_token": _aged(tokens.access_token, left)}
        self.store.save(Tokens.from_json(aged))
        return self.stored

    @property
    def stored(self) -> Tokens:
        tokens = self.store.load()
        assert tokens is not None
        return tokens


def _aged(access_token: str, left: float) -> str:
    """The token as if it had been issued ten days ago: the simulator's are always fresh."""
    import base64
    import json

    head, body, tail = access_token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["iat"] = claims["exp"] - 864_000
    return ".".join((head, base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode(), tail))


@pytest.fixture
def proxy(tmp_path: Path, sim: SimulatorClient) -> Proxy:
    return Proxy(tmp_path, sim)


@pytest.mark.parametrize(("left", "refreshes"), [(200, 1), (290, 1), (400, 0)])
def test_200_seconds_left_refresh_and_400_do_not(proxy: Proxy, left: float, refreshes: int) -> None:
    old = proxy.login(left)
    access = proxy.credentials.current()
    assert proxy.sim.counters()["refreshes"] == refreshes
    assert (access == old.access) is (refreshes == 0)
    assert proxy.stored.access == access


TERMINAL: list[tuple[dict[str, Any], str]] = [
    ({"refresh_expired": True}, "refresh_token_expired"),
    ({"refresh_reused": True}, "refresh_token_reused"),
    ({"refresh_reused": True, "terminal_refresh_is_400": True}, "refresh_token_reused"),
    ({"refresh_invalidated": True}, "refresh_token_invalidated"),
    ({"refresh_invalidated": True, "terminal_refresh_is_400": True}, "refresh_token_invalidated"),
    ({"refresh_other_401": True}, "refresh_refused"),
    ({"refresh_invalid_grant": True}, "invalid_grant"),
    ({"refresh_reused": True, "terminal_refresh_is_400": True, "oauth_string_errors": True}, "refresh_token_reused"),
]


@pytest.mark.parametrize(
    ("rules", "code"), TERMINAL, ids=lambda value: "+".join(value) if isinstance(value, dict) else None
)
def test_a_terminal_refusal_is_logged_once_used_to_the_end_and_names_the_command(
    proxy: Proxy, rules: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = proxy.login(DUE)
    proxy.sim.rules(**rules)
    with caplog.at_level(logging.WARNING, logger="codexproxy"):
        assert {proxy.credentials.current() for _ in range(5)} == {old.access}
        with pytest.raises(LoginExpired, match="codexproxy login"):
            proxy.credentials.recover(old.access_token)
    assert proxy.stored.refresh_error == code
    assert len(proxy.sim.requests("/oauth/token")) == 1
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_5xx_is_passing(proxy: Proxy, status: int) -> None:
    old = proxy.login(DUE)
    proxy.sim.rules(refresh_unavailable={"status": status})
    assert {proxy.credentials.current() for _ in range(5)} == {old.access}
    assert len(proxy.sim.requests("/oauth/token")) == 1
    assert proxy.stored == old


def test_a_5xx_with_nothing_left_to_use_is_a_502(proxy: Proxy) -> None:
    proxy.login(-1)
    proxy.sim.rules(refresh_unavailable=True)
    with pytest.raises(UpstreamFailed):
        proxy.credentials.current()
    assert proxy.stored.refresh_error == ""


@pytest.mark.parametrize("omitted", [["id_token"], ["refresh_token"], ["id_token", "refresh_token"]])
def test_what_an_answer_omits_stays(proxy: Proxy, omitted: list[str]) -> None:
    old = proxy.login(DUE)
    proxy.sim.rules(refresh_omits={"fields": omitted})
    fresh = proxy.credentials.current()
    assert fresh != old.access
    for name in omitted:
        assert getattr(proxy.stored, name) == getattr(old, name)


@pytest.mark.parametrize("rules", [{"refresh_still_expired": True}, {"refresh_omits": {"fields": ["access_token"]}}])
def test_a_200_that_is_still_expired_is_a_failure_and_not_a_loop(proxy: Proxy, rules: dict[str, Any]) -> None:
    proxy.login(-1)
    proxy.sim.rules(**rules)
    for _ in range(20):
        with pytest.raises(UpstreamFailed):
            proxy.credentials.current()
    assert len(proxy.sim.requests("/oauth/token")) == 1
    live = [token["token"] for token in proxy.sim.tokens()["refresh"] if token["state"] == "live"]
    assert proxy.stored.refresh_token in live


def test_an_answer_cut_after_the_rotation_is_passing_at_first_and_reused_the_next_time(proxy: Proxy) -> None:
    old = proxy.login(-1)
    proxy.sim.rules(refresh_cut_after_rotation={"times": 1})
    with pytest.raises(UpstreamFailed):
        proxy.credentials.current()
    again = Proxy(proxy.store.path.parent, proxy.sim).credentials
    with pytest.raises(LoginExpired, match="already used.*codexproxy login"):
        again.current()
    assert proxy.stored.refresh_token == old.refresh_token


def test_a_real_rotation_twice_and_a_real_reuse(proxy: Proxy) -> None:
    first = proxy.login(-1)
    proxy.credentials.current()
    proxy.credentials.refresh("forced")
    assert proxy.sim.counters()["refreshes"] == 2
    assert [request["json"]["refresh_reason"] for request in proxy.sim.requests("/oauth/token")] == [
        "proactive_expiry",
        "forced",
    ]
    proxy.store.save(first)
    other = Proxy(proxy.store.path.parent, proxy.sim)
    with pytest.raises(LoginExpired):
        other.credentials.current()
    assert proxy.sim.counters()["reuse_detections"] == 1


def test_nothing_secret_reaches_the_log_or_the_errors(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        shown = []
        for rules in (rules for rules, _ in TERMINAL):
            proxy.sim.reset()
            old = proxy.login(-1)
            proxy.sim.rules(**rules)
            with pytest.raises(LoginExpired) as caught:
                Proxy(proxy.store.path.parent, proxy.sim).credentials.current()
            shown.append(f"{caught.value} {caught.value.as_dict()} {proxy.stored!r}")
            secrets = (old.access_token, old.refresh_token, old.id_token)
            assert not [secret for secret in secrets if secret in caplog.text + shown[-1]]
        proxy.sim.reset()
        proxy.login(-1)
        Proxy(proxy.store.path.parent, proxy.sim).credentials.current()
        new = proxy.stored
        assert not [secret for secret in (new.access_token, new.refresh_token, new.id_token) if secret in caplog.text]


@pytest.mark.parametrize("broken", ["a\r\nx-header: b", "a\x00b", "tökén", "a\u2028b"])
def test_an_answer_whose_access_token_no_header_can_carry_leaves_a_login_that_can_be_renewed(
    tmp_path: Path, sim: SimulatorClient, broken: str
) -> None:
    proxy = Proxy(tmp_path, sim)
    old = proxy.login(-1.0)
    next_one = sim.login(account_id=old.account_id)
    pair = {"access_token": broken, "refresh_token": next_one["refresh_token"], "expires_in": 3600}
    sim.script({"status": 200, "json": pair}, endpoint="token")
    with pytest.raises(UpstreamFailed):
        proxy.credentials.current()
    # The old refresh token may be spent, so that only the new one is of use.
    assert proxy.stored.refresh_token == next_one["refresh_token"]
    assert Proxy(tmp_path, sim).credentials.current().token
