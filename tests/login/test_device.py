"""The device-code login against the simulator: every rule of polling (docs/reference/sign-in.md#device-code)."""

import json

import pytest
import responses

from codexproxy.errors import UpstreamFailed
from codexproxy.login.oauth.client import ExchangeFailed, OAuthClient, new_session
from codexproxy.login.oauth.device_flow import (
    CODE_LASTS,
    DeviceCode,
    DeviceCodeExpired,
    DeviceLogin,
    DeviceLoginCancelled,
    DeviceLoginUnavailable,
)
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.simulator.client import SimulatorClient
from tests.fakes.issuer import FakeClock


class Terminal:
    """A device login whose sleeping is counted, and whose person acts while it sleeps."""

    def __init__(self, sim: SimulatorClient) -> None:
        self.sim = sim
        self.clock = FakeClock()
        self.acts: list = []
        self.device = DeviceLogin(OAuthClient(new_session(), issuer=sim.issuer_url), clock=self.clock, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        if self.acts:
            self.acts.pop(0)()

    @property
    def polls(self) -> int:
        return len(self.sim.requests("/api/accounts/deviceauth/token"))


@pytest.fixture
def terminal(sim: SimulatorClient) -> Terminal:
    return Terminal(sim)


def nothing() -> None:
    """The person is still looking for the other device."""


def test_a_code_is_shown_with_where_to_enter_it(terminal: Terminal) -> None:
    code = terminal.device.begin()
    assert len(code.user_code) == 10
    assert code.url == f"{terminal.sim.issuer_url}/codex/device"
    assert code.interval == 5.0
    assert code.expires_at == terminal.clock.now + CODE_LASTS == terminal.clock.now + 900
    assert code.device_auth_id not in repr(code)


@pytest.mark.parametrize("pending_is_404", [False, True])
def test_polls_every_interval_until_it_is_approved(terminal: Terminal, pending_is_404: bool) -> None:
    terminal.sim.rules(device_pending_is_404=pending_is_404)
    terminal.acts = [nothing, nothing, terminal.sim.approve_device]
    grant = terminal.device.wait(terminal.device.begin())
    assert Tokens.granted(grant, 0).identity.email == "dev@example.com"
    assert terminal.clock.slept == [5.0, 5.0, 5.0]
    assert terminal.polls == 4
    exchange = terminal.sim.requests("/oauth/token")[0]["text"]
    assert "deviceauth%2Fcallback" in exchange


@pytest.mark.parametrize(
    ("sent", "used"),
    [
        ("2", 2.0),
        (7, 7.0),
        ("", 5.0),
        ("soon", 5.0),
        (None, 5.0),
        ("0", 5.0),
        ("-1", 5.0),
        ("nan", 5.0),
        (10**9, 60.0),
        ([1], 5.0),
    ],
)
def test_the_interval_may_be_any_kind_of_number_or_nonsense(terminal: Terminal, sent: object, used: float) -> None:
    answer = {"device_auth_id": "d", "user_code": "AAAA-BBBBB", "interval": sent}
    terminal.sim.script({"status": 200, "json": answer}, endpoint="usercode")
    assert terminal.device.begin().interval == used


def test_the_code_may_come_by_its_other_name(terminal: Terminal) -> None:
    terminal.sim.script({"status": 200, "json": {"device_auth_id": "d", "usercode": "AAAA-BBBBB"}}, endpoint="usercode")
    assert terminal.device.begin().user_code == "AAAA-BBBBB"


def test_a_404_at_the_start_means_that_it_is_not_offered(terminal: Terminal) -> None:
    terminal.sim.rules(device_disabled=True)
    with pytest.raises(DeviceLoginUnavailable, match="browser login"):
        terminal.device.begin()


@pytest.mark.parametrize("answer", [{}, {"user_code": "x"}, {"device_auth_id": "d", "user_code": 5}])
def test_an_answer_without_a_code_is_a_typed_error(terminal: Terminal, answer: dict[str, object]) -> None:
    terminal.sim.script({"status": 200, "json": answer}, endpoint="usercode")
    with pytest.raises(UpstreamFailed):
        terminal.device.begin()


def test_a_denied_code_is_fatal(terminal: Terminal) -> None:
    terminal.acts = [terminal.sim.deny_device]
    with pytest.raises(ExchangeFailed, match="The person said no"):
        terminal.device.wait(terminal.device.begin())


@pytest.mark.parametrize("status", [400, 401, 409, 429, 500, 503])
def test_any_other_status_is_fatal_at_once(terminal: Terminal, status: int) -> None:
    code = terminal.device.begin()
    terminal.sim.script({"status": status, "json": {"error": "odd"}}, endpoint="device_token")
    with pytest.raises(ExchangeFailed):
        terminal.device.wait(code)
    assert terminal.polls == 1


def test_a_code_nobody_enters_ends_after_fifteen_minutes(terminal: Terminal) -> None:
    code = DeviceCode(
        "AAAA-BBBBB", "url", terminal.device.begin().device_auth_id, 60.0, terminal.clock.now + CODE_LASTS
    )
    terminal.sim.script({"status": 403, "json": {}}, repeat=-1, endpoint="device_token")
    with pytest.raises(DeviceCodeExpired, match="15 minutes"):
        terminal.device.wait(code)
    assert sum(terminal.clock.slept) == 900
    assert terminal.polls == 15


def test_an_approval_without_a_code_is_a_typed_error_and_not_polled_again(terminal: Terminal) -> None:
    code = terminal.device.begin()
    terminal.sim.script({"status": 200, "json": {"authorization_code": "ac"}}, endpoint="device_token")
    with pytest.raises(UpstreamFailed, match="lacks a code"):
        terminal.device.wait(code)
    assert terminal.polls == 1


def test_it_can_be_cancelled(terminal: Terminal) -> None:
    cancelled: list[bool] = []
    terminal.acts = [lambda: cancelled.append(True)]
    with pytest.raises(DeviceLoginCancelled):
        terminal.device.wait(terminal.device.begin(), lambda: bool(cancelled))
    assert terminal.polls == 1


@responses.activate
def test_a_slow_or_broken_network_is_waited_out() -> None:
    import requests

    clock = FakeClock()
    device = DeviceLogin(OAuthClient(new_session(), issuer="https://issuer.test"), clock=clock, sleep=clock.sleep)
    url = "https://issuer.test/api/accounts/deviceauth/token"
    for failure in (requests.ReadTimeout("slow"), requests.ConnectionError("gone")):
        responses.post(url, body=failure)
    responses.post(url, status=403)
    responses.post(url, json={"authorization_code": "ac_1", "code_challenge": "c", "code_verifier": "v"})
    responses.post("https://issuer.test/oauth/token", json={"access_token": "a", "refresh_token": "r", "id_token": "i"})
    grant = device.wait(DeviceCode("AAAA-BBBBB", "url", "d", 5.0, clock.now + 900))
    assert grant.refresh_token == "r"
    assert clock.slept == [5.0] * 3
    assert [json.loads(call.request.body) for call in responses.calls[:4]] == [
        {"device_auth_id": "d", "user_code": "AAAA-BBBBB"}
    ] * 4
