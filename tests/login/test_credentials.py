import errno
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import LoginExpired, NotLoggedIn, ProxyError, UpstreamFailed
from codexproxy.login.credentials import Credentials
from codexproxy.login.oauth.client import TERMINAL, RefreshFailed, RefreshRefused
from codexproxy.login.token_refresher import VERDICT_LASTS
from codexproxy.login.tokens.emergency_store import Refuge
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Grant, Tokens
from tests.fakes.disk import FullDisk, RefusingDisk
from tests.fakes.issuer import TEN_DAYS, FakeClock, FakeIssuer
from tests.fakes.jwt import make_jwt
from tests.patience import patient


class World:
    """One host: a clock, an issuer, a login file, and as many processes as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.issuer = FakeIssuer(self.clock)
        self.disk = RefusingDisk("write", errno.ENOSPC)
        self.disk.refuses = False
        self.path = folder / "tokens.json"
        self.store = FileTokenStore(self.path, disk=self.disk)
        self.memory = folder / "memory"
        self.memory.mkdir()

    def process(self, **options: object) -> Credentials:
        """Another process's view, by a store of its own."""
        store = FileTokenStore(self.path, disk=self.disk)
        settings = {
            "clock": self.clock,
            "sleep": self.clock.sleep,
            "chance": lambda: 0.0,
            "lock_timeout": 5.0,
            "refuge": Refuge(self.memory),
        }
        return Credentials(store, self.issuer, **{**settings, **options})  # type: ignore[arg-type]

    def login(self) -> Tokens:
        self.store.save(self.issuer.login())
        return self.stored()

    def stored(self) -> Tokens:
        tokens = self.store.load()
        assert tokens is not None
        return tokens

    def until_due(self) -> None:
        self.clock.now = self.stored().due_at / 1000

    def until_ended(self) -> None:
        self.clock.now = self.stored().ends_at / 1000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(code: str) -> RefreshRefused:
    return RefreshRefused("no", code=code)


def unreachable() -> RefreshFailed:
    return RefreshFailed("The login service could not be reached.")


# -- a good pair ------------------------------------------------------------------------------------------


def test_a_fresh_pair_is_used_as_it_is(world: World) -> None:
    tokens = world.login()
    credentials = world.process()
    assert credentials.current() == tokens.access
    assert credentials.current().account_id == tokens.account_id
    assert world.issuer.asked == 0


def test_a_fresh_pair_is_read_once_and_not_at_every_call(world: World) -> None:
    world.login()
    credentials = world.process()
    first = credentials.current()
    world.path.unlink()
    assert credentials.current() is first


def test_what_another_process_wrote_is_used_a_second_later(world: World) -> None:
    world.login()
    credentials = world.process()
    credentials.current()
    newer = world.login()
    world.clock.now += 1
    assert credentials.current() == newer.access


def test_a_clock_set_back_does_not_stop_the_looking(world: World) -> None:
    world.login()
    credentials = world.process()
    credentials.current()
    world.clock.now -= 1000
    newer = world.login()
    assert credentials.current() == newer.access


# -- refresh --------------------------------------------------------------------------------------------


def test_not_refreshed_a_millisecond_early(world: World) -> None:
    world.login()
    world.clock.now = (world.stored().due_at - 1) / 1000
    world.process().current()
    assert world.issuer.asked == 0


def test_refreshed_when_due_and_written(world: World) -> None:
    old = world.login()
    world.until_due()
    access = world.process().current()
    assert access.token != old.access_token
    assert world.stored().access == access
    assert world.stored().updated_at == world.clock.milliseconds
    assert world.issuer.refreshes == ["proactive_expiry"]


def test_many_processes_at_expiry_refresh_once(world: World) -> None:
    world.login()
    processes = [world.process() for _ in range(4)]
    for process in processes:
        process.current()
    world.until_ended()
    assert len({process.current() for process in processes}) == 1
    assert world.issuer.refreshes == ["proactive_expiry"]


def test_a_process_that_has_not_looked_for_long_adopts_inside_the_lock(world: World) -> None:
    world.login()
    first, second = world.process(look_every=1e9), world.process(look_every=1e9)
    assert first.current() == second.current()
    world.until_ended()
    assert first.current() == second.current() == world.stored().access
    assert world.issuer.asked == 1


def test_many_threads_of_one_process_refresh_once(world: World) -> None:
    world.login()
    world.until_ended()
    credentials = world.process()
    world.issuer.before = lambda: time.sleep(0.1)
    seen = in_threads(50, credentials.current)
    assert len(set(seen)) == 1
    assert world.issuer.asked == 1


def test_while_one_refreshes_the_others_carry_on_with_a_token_that_still_works(world: World) -> None:
    old = world.login()
    world.until_due()
    credentials = world.process()
    asked, answer = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        assert answer.wait(patient(10))

    world.issuer.before = slow
    refreshing = threading.Thread(target=credentials.current)
    refreshing.start()
    assert asked.wait(patient(10))
    began = time.monotonic()
    assert credentials.current() == old.access
    assert world.process().current() == old.access
    assert time.monotonic() - began < patient(2)
    answer.set()
    refreshing.join(patient(10))
    assert credentials.current() == world.stored().access != old.access
    assert world.issuer.asked == 1


def test_a_refresh_survives_the_request_that_began_it(world: World) -> None:
    """Nobody waits any more, and the pair is written all the same."""
    world.login()
    world.until_ended()
    credentials = world.process()
    release = threading.Event()
    world.issuer.before = lambda: release.wait(patient(10)) and None
    threading.Thread(target=credentials.current, daemon=True).start()
    release.set()
    assert wait_until(lambda: world.issuer.refreshes and credentials.settle(10))
    assert not world.stored().due(world.clock.milliseconds)


def test_missing_fields_of_the_answer_keep_the_old_values(world: World) -> None:
    old = world.login()
    world.until_due()
    access = make_jwt(exp=world.clock.now + TEN_DAYS, iat=world.clock.now)
    world.issuer.answers = [Grant(access_token=access)]
    assert world.process().current().token == access
    assert world.stored().refresh_token == old.refresh_token
    assert world.stored().id_token == old.id_token
    assert world.stored().account_id == old.account_id


def test_unknown_fields_of_the_file_survive_a_refresh(world: World) -> None:
    world.store.save(replace(world.issuer.login(), extra={"label": "home"}))
    world.until_due()
    world.process().current()
    assert json.loads(world.path.read_text())["label"] == "home"


@pytest.mark.parametrize(
    "answer", [Grant(), Grant(refresh_token="rt_next"), Grant(access_token=make_jwt(exp=1000, iat=1))]
)
def test_a_200_that_leaves_the_token_ended_is_a_failure_and_no_loop(world: World, answer: Grant) -> None:
    world.login()
    world.until_ended()
    world.issuer.answers = [answer] * 50
    credentials = world.process()
    for _ in range(50):
        with pytest.raises(UpstreamFailed):
            credentials.current()
    assert world.issuer.asked == 1
    if answer.refresh_token:
        assert world.stored().refresh_token == answer.refresh_token


def test_another_account_in_the_answer_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    old = world.login()
    world.until_ended()
    stranger = make_jwt(exp=world.clock.now + 1000, account="another")
    world.issuer.answers = [Grant(access_token=stranger, refresh_token="rt_x", id_token=stranger)]
    with pytest.raises(LoginExpired, match="another account"):
        world.process().current()
    assert world.stored().account_id == old.account_id
    assert world.stored().access_token == old.access_token


def test_a_login_copied_into_place_during_a_refresh_stays(world: World) -> None:
    world.login()
    credentials = world.process()
    mine = world.issuer.login("another-account")
    world.issuer.before = lambda: world.store.save(mine)
    assert credentials.refresh("forced") == mine.access
    assert world.stored() == mine
    assert credentials.current() == mine.access


def test_a_backup_copied_into_place_during_a_refresh_does_not(world: World) -> None:
    world.login()
    backup = replace(world.issuer.login(), updated_at=world.stored().updated_at - 1)
    credentials = world.process()
    world.issuer.before = lambda: world.store.save(backup)
    fresh = credentials.refresh("forced")
    assert fresh == world.stored().access != backup.access


def test_a_background_refresh_happens_before_it_is_due(world: World) -> None:
    old = world.login()
    credentials = world.process()
    assert credentials.refresh("scheduled") != old.access
    assert world.issuer.refreshes == ["scheduled"]


# -- nobody logged in, logged out, logged in anew -------------------------------------------------------------


def test_without_a_login_the_command_is_named(world: World) -> None:
    credentials = world.process(command="codexproxy login")
    attempts: list[Callable[[], object]] = [
        credentials.current,
        lambda: credentials.recover("x"),
        lambda: credentials.refresh("forced"),
    ]
    for attempt in attempts:
        with pytest.raises(NotLoggedIn, match="codexproxy login"):
            attempt()


def test_a_login_made_while_serving_is_picked_up(world: World) -> None:
    credentials = world.process()
    with pytest.raises(NotLoggedIn):
        credentials.current()
    tokens = world.login()
    world.clock.now += 1
    assert credentials.current() == tokens.access


def test_a_logout_is_noticed_and_nothing_writes_the_pair_back(world: World) -> None:
    world.login()
    credentials = world.process()
    credentials.current()
    world.until_ended()
    world.store.delete()
    with pytest.raises(NotLoggedIn):
        credentials.current()
    assert not world.path.exists()
    assert world.issuer.asked == 0


def test_a_login_as_somebody_else_is_adopted(world: World) -> None:
    world.login()
    credentials = world.process()
    credentials.current()
    world.store.save(world.issuer.login(account="another"))
    world.clock.now += 1
    assert credentials.current().account_id == "another"


# -- upstream said 401 ------------------------------------------------------------------------------------


def test_a_401_adopts_what_the_file_holds_without_a_refresh(world: World) -> None:
    old = world.login()
    credentials = world.process()
    credentials.current()
    newer = world.login()
    assert credentials.recover(old.access_token) == newer.access
    assert world.issuer.asked == 0


def test_a_401_with_nothing_better_in_the_file_refreshes_once(world: World) -> None:
    old = world.login()
    processes = [world.process() for _ in range(3)]
    for process in processes:
        process.current()
    seen = {process.recover(old.access_token) for process in processes for _ in range(5)}
    assert seen == {world.stored().access}
    assert world.issuer.refreshes == ["unauthorized_recovery"]


def test_fifty_401s_at_once_refresh_once(world: World) -> None:
    old = world.login()
    credentials = world.process()
    world.issuer.before = lambda: time.sleep(0.1)
    seen = in_threads(50, lambda: credentials.recover(old.access_token))
    assert set(seen) == {world.stored().access}
    assert world.issuer.asked == 1


def test_an_upstream_that_refuses_every_token_does_not_spend_one_per_request(world: World) -> None:
    world.login()
    credentials = world.process()
    refusals = 0
    for _ in range(100):
        try:
            credentials.recover(credentials.current().token)
        except LoginExpired as failure:
            assert "codexproxy login" in failure.message
            refusals += 1
        world.clock.now += 0.1
    assert world.issuer.asked <= 4
    assert refusals >= 96


def test_recovery_is_possible_again_after_a_quiet_while(world: World) -> None:
    world.login()
    credentials = world.process()
    for _ in range(3):
        credentials.recover(credentials.current().token)
        world.clock.now += 300
    assert world.issuer.asked == 3


def test_an_answer_without_a_new_access_token_is_no_recovery(world: World) -> None:
    old = world.login()
    world.issuer.answers = [Grant(refresh_token="rt_next")]
    with pytest.raises(LoginExpired, match="codexproxy login"):
        world.process().recover(old.access_token)


# -- the issuer refuses: docs/reference/sign-in.md#token-refresh --------------------------------------------


@pytest.mark.parametrize("code", [*TERMINAL, "refresh_refused"])
def test_a_dead_refresh_token_is_used_to_its_end_then_named_with_the_command(
    world: World, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = world.login()
    world.until_due()
    world.issuer.failures = [refused(code)]
    processes = [world.process() for _ in range(3)]
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            assert {process.current() for process in processes} == {old.access}
            world.clock.now += 1
    world.until_ended()
    for process in processes:
        for attempt in (process.current, lambda process=process: process.recover(old.access_token)):
            with pytest.raises(LoginExpired, match="codexproxy login") as caught:
                attempt()
            assert caught.value.status == 401
    assert world.issuer.asked == 1
    assert len(caplog.records) == 1
    assert "codexproxy login" in caplog.text
    assert world.stored().refresh_error == code


def test_a_new_login_ends_the_mourning(world: World) -> None:
    world.login()
    world.until_ended()
    world.issuer.failures = [refused("refresh_token_expired")]
    credentials = world.process()
    with pytest.raises(LoginExpired):
        credentials.current()
    tokens = world.login()
    world.clock.now += 1
    assert credentials.current() == tokens.access


def test_a_verdict_is_reviewed_after_an_hour(world: World) -> None:
    world.login()
    world.until_ended()
    world.issuer.failures = [refused("refresh_refused")]
    credentials = world.process()
    with pytest.raises(LoginExpired):
        credentials.current()
    world.clock.now += VERDICT_LASTS / 1000
    assert credentials.current() == world.stored().access
    assert world.stored().refresh_error == ""


def test_a_verdict_that_is_confirmed_is_not_logged_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.login()
    world.until_ended()
    world.issuer.failures = [refused("refresh_token_expired") for _ in range(2)]
    for _ in range(2):
        with pytest.raises(LoginExpired):
            world.process().current()
        world.clock.now += VERDICT_LASTS / 1000
    assert world.issuer.asked == 2
    assert len(caplog.records) == 1


def test_reused_reads_the_file_again_before_giving_up(world: World) -> None:
    """A program that does not know our lock was quicker."""
    world.login()
    world.until_ended()
    other = world.issuer.login()

    def meanwhile() -> None:
        world.store.save(other)

    world.issuer.before = meanwhile
    world.issuer.failures = [refused("refresh_token_reused")]
    assert world.process().current() == other.access
    assert world.stored() == other


def test_reused_waits_a_moment_for_the_quicker_program_to_write(world: World) -> None:
    world.login()
    world.until_ended()
    other = world.issuer.login()
    world.issuer.failures = [refused("refresh_token_reused")]

    def sleep(seconds: float) -> None:
        if seconds:
            world.store.save(other)

    assert world.process(sleep=sleep).current() == other.access


def test_a_login_without_a_refresh_token_is_used_to_its_end(world: World) -> None:
    world.store.save(replace(world.issuer.login(), refresh_token=""))
    world.until_due()
    credentials = world.process()
    assert credentials.current() == world.stored().access
    world.until_ended()
    with pytest.raises(LoginExpired, match="no refresh token"):
        credentials.current()
    assert world.issuer.asked == 0


# -- the issuer is away -----------------------------------------------------------------------------------


def test_a_passing_failure_keeps_the_token_that_still_works_and_asks_seldom(world: World) -> None:
    old = world.login()
    world.until_due()
    world.issuer.failures = [unreachable() for _ in range(1000)]
    credentials = world.process()
    for _ in range(600):
        assert credentials.current() == old.access
        world.clock.now += 0.1
    assert 4 <= world.issuer.asked <= 10
    assert world.stored() == old


def test_after_a_passing_failure_the_next_try_succeeds(world: World) -> None:
    old = world.login()
    world.until_due()
    world.issuer.failures = [unreachable()]
    credentials = world.process()
    assert credentials.current() == old.access
    world.clock.now += 2
    assert credentials.current() == world.stored().access != old.access


def test_an_ended_token_and_an_issuer_away_is_a_502_that_passes(world: World) -> None:
    world.login()
    world.until_ended()
    world.issuer.failures = [unreachable()]
    credentials = world.process()
    for _ in range(10):
        with pytest.raises(UpstreamFailed) as caught:
            credentials.current()
        assert caught.value.status == 502
    assert caught.value.retry_after is not None
    assert world.issuer.asked == 1
    world.clock.now += 2
    assert credentials.current() == world.stored().access


def test_those_who_waited_share_one_failure(world: World) -> None:
    world.login()
    world.until_ended()
    world.issuer.before = lambda: time.sleep(0.1)
    world.issuer.failures = [unreachable() for _ in range(50)]
    credentials = world.process()

    def attempt() -> type[ProxyError]:
        with pytest.raises(ProxyError) as caught:
            credentials.current()
        return caught.type

    assert set(in_threads(50, attempt)) == {RefreshFailed}
    assert world.issuer.asked == 1


def test_a_lock_that_somebody_keeps_is_a_typed_error_and_no_hang(world: World) -> None:
    old = world.login()
    credentials = world.process(lock_timeout=0.05)
    with world.store.lock(1):
        world.until_due()
        assert credentials.current() == old.access
        world.until_ended()
        with pytest.raises(ProxyError, match="Another process") as caught:
            credentials.current()
    assert caught.value.status == 504
    assert world.issuer.asked == 0


# -- the disk ---------------------------------------------------------------------------------------------


def test_a_pair_that_cannot_be_written_is_used_from_memory_and_written_when_it_can_be(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    old = world.login()
    world.until_ended()
    world.disk.refuses = True
    credentials = world.process()
    fresh = credentials.current()
    assert fresh != old.access
    assert "disk is full" in caplog.text
    world.clock.now += 5
    assert credentials.current() == fresh
    assert credentials.recover(old.access_token) == fresh
    assert world.stored() == old
    world.disk.refuses = False
    world.clock.now += 5
    assert credentials.current() == fresh
    assert world.stored().access == fresh
    assert world.issuer.asked == 1


@pytest.mark.parametrize("recovered", [True, False])
def test_a_pair_in_memory_is_written_before_the_process_ends(
    world: World, caplog: pytest.LogCaptureFixture, recovered: bool
) -> None:
    old = world.login()
    world.until_ended()
    world.disk.refuses = True
    credentials = world.process()
    fresh = credentials.current()
    world.disk.refuses = not recovered
    assert credentials.settle(1)
    assert world.stored().access == (fresh if recovered else old.access)
    assert ("waits in this host's memory" in caplog.text) is not recovered


def test_a_pair_that_no_other_process_can_find_is_lost_with_its_own(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.login()
    world.until_ended()
    world.disk.refuses = True
    credentials = world.process(refuge=Refuge(world.memory / "missing"))
    credentials.current()
    credentials.settle(1)
    assert "lost with this process" in caplog.text


def test_without_room_for_the_next_pair_a_token_that_works_is_not_renewed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    old = world.login()
    world.until_due()
    world.disk.refuses = True
    credentials = world.process()
    assert [credentials.current() for _ in range(3)] == [old.access] * 3
    assert world.issuer.asked == 0
    assert "disk is full" in caplog.text
    world.disk.refuses = False
    world.clock.now += 5
    fresh = credentials.current()
    assert fresh == world.stored().access != old.access


def test_a_disk_that_got_full_after_room_was_made_takes_pair_after_pair(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.disk = disk = FullDisk()  # type: ignore[assignment]
    world.login()
    first, second = world.process(), world.process()
    first.reserve()
    disk.full = True
    for renewals in range(1, 5):
        world.until_ended()
        fresh = first.current()
        assert (world.stored().access, second.current()) == (fresh, fresh)
        assert world.issuer.asked == renewals
        first, second = second, first
    assert sorted(path.name for path in tmp_path.glob(".tokens*")) == [".tokens.json.spare"]
    world.store.delete()
    assert not list(tmp_path.glob(".tokens*"))


def test_a_pair_that_cannot_be_written_is_found_by_every_process_and_spent_by_none_twice(world: World) -> None:
    old = world.login()
    world.until_ended()
    world.disk.refuses = True
    first, second = world.process(), world.process()
    fresh = first.current()
    assert second.current() == fresh
    assert world.process().current() == fresh
    assert second.recover(old.access_token) == fresh
    world.until_ended()
    world.clock.now += TEN_DAYS
    newest = second.current()
    assert first.current() == newest != fresh
    assert world.issuer.asked == 2
    world.disk.refuses = False
    world.clock.now += 5
    assert (second.current(), first.current(), world.stored().access) == (newest, newest, newest)
    assert not [path for path in world.memory.rglob("*") if path.is_file()]


def test_a_pair_that_cannot_be_written_outlives_its_process(world: World) -> None:
    world.login()
    world.until_ended()
    world.disk.refuses = True
    fresh = world.process().current()
    restarted = world.process()
    assert restarted.current() == fresh
    world.disk.refuses = False
    assert restarted.settle(1)
    assert world.stored().access == fresh


def test_a_folder_in_memory_that_others_may_read_is_not_used(world: World) -> None:
    world.login()
    world.until_ended()
    world.disk.refuses = True
    (world.memory / f"codexproxy-{os.geteuid()}").mkdir(mode=0o755)
    world.process().current()
    assert not [path for path in world.memory.rglob("*") if path.is_file()]


def test_a_verdict_on_the_spent_token_does_not_displace_the_pair_in_memory(world: World) -> None:
    old = world.login()
    world.until_ended()
    world.disk.refuses = True
    credentials = world.process()
    fresh = credentials.current()
    world.disk.refuses = False
    # Another program spent the old token again, and wrote down what it was told.
    world.store.save(old.buried("refresh_token_reused", int(world.clock.now * 1000)))
    world.clock.now += 5
    assert credentials.current() == fresh == world.stored().access
    assert world.stored().refresh_error == ""


def test_a_pair_in_memory_is_renewed_from_itself(world: World) -> None:
    old = world.login()
    world.until_ended()
    world.disk.refuses = True
    credentials = world.process()
    credentials.current()
    world.clock.now += TEN_DAYS
    newest = credentials.current()
    assert world.stored() == old
    world.disk.refuses = False
    world.clock.now += 5
    credentials.current()
    assert world.stored().access == newest
    assert world.issuer.refreshes == ["proactive_expiry"] * 2


def test_an_unwritten_pair_gives_way_to_a_new_login(world: World) -> None:
    world.login()
    world.until_ended()
    world.disk.refuses = True
    credentials = world.process()
    credentials.current()
    world.disk.refuses = False
    newer = world.login()
    world.clock.now += 5
    assert credentials.current() == newer.access
    assert world.stored() == newer


def test_an_unwritten_pair_does_not_survive_a_logout(world: World) -> None:
    world.login()
    world.until_ended()
    world.disk.refuses = True
    credentials = world.process()
    credentials.current()
    world.store.delete()
    world.disk.refuses = False
    world.clock.now += 5
    with pytest.raises(NotLoggedIn):
        credentials.current()
    assert not world.path.exists()


def test_a_file_that_breaks_while_serving_does_not_take_the_login_away(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = world.login()
    credentials = world.process()
    credentials.current()
    world.path.write_text("{ half")
    for _ in range(5):
        world.clock.now += 2
        assert credentials.current() == tokens.access
    assert len(caplog.records) == 1
    world.clock.now = tokens.ends_at / 1000
    assert credentials.current() == world.stored().access


def test_a_file_that_is_broken_from_the_start_says_so(world: World) -> None:
    world.path.write_text("{ half")
    credentials = world.process()
    for _ in range(3):
        with pytest.raises(NotLoggedIn, match=r"tokens\.json.*not valid JSON.*codexproxy login"):
            credentials.current()


# -- not ours to renew --------------------------------------------------------------------------------------


class BorrowedStore(FileTokenStore):
    """A login that another program renews."""

    refreshes = False


def test_a_borrowed_login_is_never_renewed_but_read_again(world: World) -> None:
    old = world.login()
    credentials = Credentials(BorrowedStore(world.path), world.issuer, clock=world.clock)
    world.until_due()
    assert credentials.current() == old.access
    world.until_ended()
    for attempt in (credentials.current, lambda: credentials.recover(old.access_token)):
        with pytest.raises(LoginExpired):
            attempt()
    newer = world.login()
    assert credentials.recover(old.access_token) == newer.access
    assert world.issuer.asked == 0


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """What ``work`` returns in each of ``count`` threads that start together."""
    results: list[Any] = []
    gate = threading.Barrier(count)

    def run() -> None:
        gate.wait(patient(30))
        results.append(work())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(30))
    assert len(results) == count
    return results


def wait_until(condition: Callable[[], Any], deadline: float = 10.0) -> bool:
    """Whether a condition comes true within ``deadline`` seconds."""
    end = time.monotonic() + patient(deadline)
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
