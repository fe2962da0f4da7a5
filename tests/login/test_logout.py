import threading
from pathlib import Path

import pytest

from codexproxy.errors import NotLoggedIn
from codexproxy.login.credentials import Credentials
from codexproxy.login.logout import Logout, log_out
from codexproxy.login.oauth.client import OAuthClient, new_session
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.simulator.client import SimulatorClient
from tests.fakes.issuer import FakeClock, FakeIssuer
from tests.patience import patient


@pytest.fixture
def store(tmp_path: Path) -> FileTokenStore:
    return FileTokenStore(tmp_path / "tokens.json")


def oauth(issuer: str) -> OAuthClient:
    return OAuthClient(new_session(), issuer=issuer)


def test_the_pair_is_revoked_and_deleted(store: FileTokenStore, sim: SimulatorClient) -> None:
    store.save(Tokens.from_json(sim.login()))
    assert log_out(store, oauth(sim.issuer_url)) == Logout(was_logged_in=True, revoked=True)
    assert not store.path.exists()
    assert sim.counters()["revocations"] == 1
    assert {token["state"] for token in sim.tokens()["refresh"]} == {"revoked"}


@pytest.mark.parametrize("script", [{"status": 500}, {"status": 200, "body": "<html>"}, {"cut": True}])
def test_a_failed_revocation_does_not_keep_the_pair(
    store: FileTokenStore, sim: SimulatorClient, script: dict[str, object]
) -> None:
    store.save(Tokens.from_json(sim.login()))
    issuer = "http://127.0.0.1:9" if "cut" in script else sim.issuer_url
    if "cut" not in script:
        sim.script(script, endpoint="revoke")
    assert log_out(store, oauth(issuer)).was_logged_in
    assert not store.path.exists()


def test_nobody_logged_in_is_no_error(store: FileTokenStore, sim: SimulatorClient) -> None:
    assert log_out(store, oauth(sim.issuer_url)) == Logout(was_logged_in=False, revoked=False)
    assert sim.counters()["revocations"] == 0


def test_a_broken_file_goes_too(store: FileTokenStore, sim: SimulatorClient) -> None:
    store.path.write_text("{ half")
    assert log_out(store, oauth(sim.issuer_url)) == Logout(was_logged_in=True, revoked=False)
    assert not store.path.exists()


def test_a_refresh_under_way_does_not_bring_the_pair_back(store: FileTokenStore) -> None:
    clock = FakeClock()
    issuer = FakeIssuer(clock)
    store.save(issuer.login())
    clock.now += issuer.lifetime
    asked, answer = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        assert answer.wait(patient(10))

    issuer.before = slow
    credentials = Credentials(FileTokenStore(store.path), issuer, clock=clock)
    refreshing = threading.Thread(target=credentials.current)
    refreshing.start()
    assert asked.wait(patient(10))

    class Revoker:
        def revoke(self, refresh_token: str, access_token: str) -> None:
            self.revoked = refresh_token

    revoker = Revoker()
    leaving = threading.Thread(target=lambda: log_out(store, revoker))
    leaving.start()
    answer.set()
    refreshing.join(patient(10))
    leaving.join(patient(10))
    assert not store.path.exists()
    # What was revoked is the new pair: the refresh had the lock first.
    assert revoker.revoked == "rt_2"
    clock.now += 2
    with pytest.raises(NotLoggedIn):
        credentials.current()
