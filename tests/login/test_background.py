import time
from pathlib import Path

import pytest

from codexproxy.login.background_refresh import LONGEST_SLEEP, BackgroundRefresh
from codexproxy.login.credentials import Credentials
from codexproxy.login.oauth.client import RefreshFailed, RefreshRefused
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.storage.files.locks import Leadership
from tests.fakes.issuer import FakeClock, FakeIssuer
from tests.patience import patient


class Host:
    """One host with a login, and processes that watch over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.issuer = FakeIssuer(self.clock)
        self.store = FileTokenStore(folder / "tokens.json")
        self.store.save(self.issuer.login())

    def process(self, chance: float = 0.5) -> BackgroundRefresh:
        credentials = Credentials(
            FileTokenStore(self.store.path), self.issuer, clock=self.clock, sleep=self.clock.sleep
        )
        office = Leadership(self.folder / "refresh.leader")
        return BackgroundRefresh(credentials, office, clock=self.clock, chance=lambda: chance)

    def live_through(self, watchers: list[BackgroundRefresh], seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += min(watcher.step() for watcher in watchers)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_one_process_of_the_host_renews_once_per_lifetime(host: Host) -> None:
    host.issuer.lifetime = 3600
    host.store.save(host.issuer.login())
    host.live_through([host.process() for _ in range(4)], 5 * 3600)
    assert host.issuer.refreshes == ["scheduled"] * 5


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_it_renews_before_traffic_would_have_to(host: Host, chance: float) -> None:
    tokens = host.store.load()
    assert tokens is not None
    watcher = host.process(chance)
    host.clock.now = tokens.due_at / 1000 - 300 * chance - 1
    assert watcher.step() <= 1.5
    assert host.issuer.asked == 0
    host.clock.now = tokens.due_at / 1000 - 300 * chance + 0.01
    watcher.step()
    assert host.issuer.refreshes == ["scheduled"]
    assert host.clock.milliseconds <= tokens.due_at + 10


def test_the_moment_is_chosen_once_per_pair(host: Host) -> None:
    tokens = host.store.load()
    assert tokens is not None
    chances = iter([0.0, *[0.999] * 1000])
    credentials = Credentials(host.store, host.issuer, clock=host.clock)
    watcher = BackgroundRefresh(
        credentials, Leadership(host.folder / "l"), clock=host.clock, chance=lambda: next(chances)
    )
    watcher.step()
    host.clock.now = tokens.due_at / 1000 - 1
    watcher.step()
    assert host.issuer.asked == 0


def test_a_short_token_is_not_renewed_all_the_time(host: Host) -> None:
    host.issuer.lifetime = 10
    host.store.save(host.issuer.login())
    host.live_through([host.process(0.999)], 100)
    assert len(host.issuer.refreshes) <= 15


def test_failures_do_not_end_the_watch(host: Host) -> None:
    watcher = host.process()
    tokens = host.store.load()
    assert tokens is not None
    host.clock.now = tokens.due_at / 1000
    host.issuer.failures = [RefreshFailed("away")]
    assert watcher.step() == LONGEST_SLEEP
    host.clock.now += LONGEST_SLEEP
    watcher.step()
    assert host.issuer.refreshes == ["scheduled"]


def test_a_dead_login_is_left_alone(host: Host) -> None:
    watcher = host.process()
    tokens = host.store.load()
    assert tokens is not None
    host.clock.now = tokens.due_at / 1000
    host.issuer.failures = [RefreshRefused("dead", code="refresh_token_expired")]
    host.live_through([watcher], 7200)
    assert host.issuer.asked == 1


def test_no_login_and_a_broken_one_are_no_obstacles(host: Host) -> None:
    watcher = host.process()
    host.store.delete()
    assert watcher.step() == LONGEST_SLEEP
    host.store.path.write_text("{ half")
    assert host.process().step() == LONGEST_SLEEP


def test_it_runs_in_a_thread_and_stops(tmp_path: Path) -> None:
    issuer = FakeIssuer(time.time, lifetime=0.5)
    store = FileTokenStore(tmp_path / "tokens.json")
    store.save(issuer.login())
    watcher = BackgroundRefresh(Credentials(store, issuer), Leadership(tmp_path / "leader"))
    watcher.start()
    deadline = time.monotonic() + patient(20)
    while len(issuer.refreshes) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    watcher.stop()
