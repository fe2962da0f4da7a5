import errno
import fcntl
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import LoginExpired
from codexproxy.login.credentials import Credentials
from codexproxy.login.tokens.codex_auth_file import LOCK_NAMES, CodexCliStore, NotOurs, ReadOnlyStore
from codexproxy.login.tokens.file_store import StorageFailed, TokenStore
from codexproxy.login.tokens.tokens import BrokenLogin
from codexproxy.storage.files.locks import LockTimeout
from tests.contracts.token_stores import TokenStoreContract, a_login
from tests.fakes.disk import RefusingDisk
from tests.fakes.issuer import FakeClock, FakeIssuer
from tests.fakes.jwt import ACCOUNT, make_jwt


class TestCodexCliStore(TokenStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> TokenStore:
        return CodexCliStore(tmp_path / "auth.json")

    def test_what_was_saved_is_loaded(self, store: TokenStore) -> None:
        """The CLI's format has no place for ``expires_at``; the token says it itself."""
        store.save(a_login())
        loaded = store.load()
        assert loaded is not None
        assert (loaded.access, loaded.refresh_token, loaded.id_token) == (a_login().access, "rt_1", a_login().id_token)
        assert (loaded.ends_at, loaded.updated_at) == (a_login().ends_at, a_login().updated_at)


def written_by_the_cli(access: str, refresh: str = "rt_cli") -> dict[str, Any]:
    """As 0.169.0 writes it (docs/reference/sign-in.md#the-file-authjson), with a field nobody has heard of."""
    return {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": {
            "id_token": make_jwt(email="ann@example.com"),
            "access_token": access,
            "refresh_token": refresh,
            "oauth_provenance": {"issuer": "https://auth.openai.com", "client_id": "app_EMoamEEZ73f0CkXaXp7hrann"},
            "login_owner_id": "FeuARhi4E593",
            "account_id": ACCOUNT,
        },
        "last_refresh": "2026-11-21T03:23:23.225364706Z",
        "future": {"kept": True},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(written_by_the_cli(make_jwt(exp=1_900_000_000, iat=1_800_000_000))))
    return path


def test_the_clis_file_is_read(path: Path) -> None:
    tokens = CodexCliStore(path).load()
    assert tokens is not None
    assert (tokens.refresh_token, tokens.account_id, tokens.identity.email) == ("rt_cli", ACCOUNT, "ann@example.com")
    assert tokens.ends_at == 1_900_000_000_000
    assert tokens.updated_at == 1_795_231_403_225


def test_a_rewrite_changes_the_tokens_and_nothing_else(path: Path) -> None:
    before = json.loads(path.read_text())
    CodexCliStore(path).save(a_login())
    after = json.loads(path.read_text())
    assert after["tokens"].pop("refresh_token") == "rt_1"
    assert after["tokens"].pop("access_token") == a_login().access_token
    assert after["tokens"].pop("id_token") == a_login().id_token
    assert after.pop("last_refresh") == "2027-01-15T08:00:00.000000000Z"
    for name in ("refresh_token", "access_token", "id_token"):
        before["tokens"].pop(name)
    before.pop("last_refresh")
    assert after == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("{\n  ")


def test_chatmocks_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    tokens = {"id_token": make_jwt(), "access_token": "a", "refresh_token": "r", "account_id": ACCOUNT}
    path.write_text(json.dumps({"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "2026-01-01T00:00:00Z"}))
    loaded = CodexCliStore(path).load()
    assert loaded is not None
    assert (loaded.refresh_token, loaded.updated_at) == ("r", 1_767_225_600_000)


@pytest.mark.parametrize("last_refresh", [None, "", "yesterday", 5, "0001-01-01T00:00:00+23:59", [1]])
def test_an_odd_last_refresh_is_no_obstacle(path: Path, last_refresh: object) -> None:
    path.write_text(json.dumps({**written_by_the_cli("a"), "last_refresh": last_refresh}))
    tokens = CodexCliStore(path).load()
    assert tokens is not None
    assert tokens.updated_at == 0


@pytest.mark.parametrize("content", [{"OPENAI_API_KEY": "sk-planted"}, {"tokens": None}])
def test_an_api_key_is_no_login(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content))
    assert CodexCliStore(path).load() is None


@pytest.mark.parametrize("content", ['{"tokens": []}', '{"tokens": {}}', "{", '{"tokens": {"access_token": 5}}'])
def test_a_broken_file_is_a_clear_error(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(BrokenLogin, match=r"Codex CLI's auth\.json"):
        CodexCliStore(path).load()


def test_a_full_disk_loses_nothing(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(StorageFailed):
        CodexCliStore(path, disk=RefusingDisk("write", errno.ENOSPC)).save(a_login())
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", LOCK_NAMES)
def test_each_of_the_clis_locks_is_honoured(path: Path, name: str) -> None:
    descriptor = os.open(path.with_name(name), os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    store = CodexCliStore(path)
    with pytest.raises(LockTimeout), store.lock(0.05):
        pass
    os.close(descriptor)
    with store.lock(1):
        for held in LOCK_NAMES:
            other = os.open(path.with_name(held), os.O_RDWR)
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(other)


def test_waiting_for_one_lock_does_not_keep_the_other(path: Path) -> None:
    second = os.open(path.with_name(LOCK_NAMES[1]), os.O_RDWR | os.O_CREAT)
    fcntl.flock(second, fcntl.LOCK_EX)
    free: list[bool] = []

    def look(seconds: float) -> None:
        first = os.open(path.with_name(LOCK_NAMES[0]), os.O_RDWR)
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free.append(True)
        os.close(first)
        time.sleep(seconds)

    with pytest.raises(LockTimeout), CodexCliStore(path, sleep=look).lock(0.05):
        pass
    os.close(second)
    assert free


# -- as the login of the service ------------------------------------------------------------------------------


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer(clock: FakeClock) -> FakeIssuer:
    return FakeIssuer(clock)


def cli_logs_in(path: Path, issuer: FakeIssuer) -> None:
    tokens = issuer.login()
    path.write_text(json.dumps(written_by_the_cli(tokens.access_token, tokens.refresh_token)))


def test_a_shared_login_is_renewed_in_the_clis_file(path: Path, clock: FakeClock, issuer: FakeIssuer) -> None:
    cli_logs_in(path, issuer)
    credentials = Credentials(CodexCliStore(path), issuer, clock=clock)
    clock.now += issuer.lifetime
    access = credentials.current()
    document = json.loads(path.read_text())
    assert document["tokens"]["access_token"] == access.token
    assert document["tokens"]["login_owner_id"] == "FeuARhi4E593"
    assert document["future"] == {"kept": True}
    assert issuer.asked == 1


def test_a_shared_login_that_the_cli_renewed_is_adopted(path: Path, clock: FakeClock, issuer: FakeIssuer) -> None:
    cli_logs_in(path, issuer)
    credentials = Credentials(CodexCliStore(path), issuer, clock=clock)
    old = credentials.current()
    cli_logs_in(path, issuer)
    assert credentials.recover(old.token) != old
    assert issuer.asked == 0


def test_a_dead_shared_token_is_asked_about_once_though_the_file_has_no_place_for_it(
    path: Path, clock: FakeClock, issuer: FakeIssuer
) -> None:
    path.write_text(json.dumps(written_by_the_cli(make_jwt(exp=clock.now, iat=1), "rt_spent")))
    credentials = Credentials(CodexCliStore(path), issuer, clock=clock, sleep=clock.sleep)
    for _ in range(10):
        for attempt in (credentials.current, lambda: credentials.recover(make_jwt(exp=clock.now, iat=1))):
            with pytest.raises(LoginExpired):
                attempt()
        clock.now += 2
    assert issuer.asked == 1
    assert "refresh_error" not in path.read_text()


def test_a_read_only_login_is_never_changed(path: Path, clock: FakeClock, issuer: FakeIssuer) -> None:
    cli_logs_in(path, issuer)
    before = path.read_bytes()
    store = ReadOnlyStore(CodexCliStore(path))
    credentials = Credentials(store, issuer, clock=clock)
    old = credentials.current()
    clock.now += issuer.lifetime
    with pytest.raises(LoginExpired, match="`codex`"):
        credentials.current()
    assert path.read_bytes() == before
    cli_logs_in(path, issuer)
    clock.now += 1
    assert credentials.current() != old
    assert issuer.asked == 0
    assert {file.name for file in path.parent.iterdir()} == {"auth.json"}
    for change in (store.delete, lambda: store.save(a_login())):
        with pytest.raises(NotOurs):
            change()
