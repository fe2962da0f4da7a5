import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from codexproxy.errors import NotLoggedIn
from codexproxy.login.credentials import Credentials
from codexproxy.login.logout import log_out
from codexproxy.login.tokens.external_store import READ_ONLY, SHARE, Link, LinkedTokenStore
from codexproxy.login.tokens.file_store import TokenStore
from codexproxy.login.tokens.tokens import BrokenLogin
from tests.contracts.token_stores import TokenStoreContract, a_login
from tests.fakes.issuer import FakeClock, FakeIssuer
from tests.fakes.jwt import make_jwt


class TestLinkedTokenStore(TokenStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> TokenStore:
        return LinkedTokenStore.in_folder(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> LinkedTokenStore:
    return LinkedTokenStore.in_folder(tmp_path / "data")


@pytest.fixture
def cli_file(tmp_path: Path) -> Path:
    path = tmp_path / "codex" / "auth.json"
    path.parent.mkdir()
    tokens = {"access_token": make_jwt(exp=1_900_000_000), "refresh_token": "rt_cli", "id_token": make_jwt()}
    path.write_text(json.dumps({"tokens": tokens}))
    return path


@pytest.mark.parametrize(("mode", "refreshes"), [(SHARE, True), (READ_ONLY, False)])
def test_a_link_is_followed_by_every_process_from_then_on(
    store: LinkedTokenStore, cli_file: Path, mode: str, refreshes: bool
) -> None:
    store.save(a_login())
    other = LinkedTokenStore.in_folder(cli_file.parent.parent / "data")
    assert other.load() == a_login()
    version = other.version()
    assert store.link(Link(cli_file, mode)).refresh_token == "rt_cli"
    loaded = other.load()
    assert loaded is not None
    assert loaded.refresh_token == "rt_cli"
    assert other.version() != version
    assert other.refreshes is refreshes
    assert "Codex CLI" in other.name
    assert other.linked() == Link(cli_file, mode)


def test_a_shared_pair_is_renewed_where_it_is(store: LinkedTokenStore, cli_file: Path) -> None:
    store.link(Link(cli_file, SHARE))
    store.save(a_login())
    assert json.loads(cli_file.read_text())["tokens"]["refresh_token"] == "rt_1"


def test_a_new_login_of_our_own_ends_the_link_and_leaves_the_clis_file(store: LinkedTokenStore, cli_file: Path) -> None:
    before = cli_file.read_bytes()
    store.link(Link(cli_file, SHARE))
    store.replace(a_login())
    assert store.linked() is None
    assert store.load() == a_login()
    assert cli_file.read_bytes() == before


def test_a_logout_of_a_linked_login_leaves_the_clis_file(store: LinkedTokenStore, cli_file: Path) -> None:
    before = cli_file.read_bytes()
    store.save(a_login())
    store.link(Link(cli_file, READ_ONLY))
    store.delete()
    assert store.load() is None
    assert cli_file.read_bytes() == before


def test_a_file_without_a_login_is_not_linked(store: LinkedTokenStore, cli_file: Path) -> None:
    cli_file.write_text('{"OPENAI_API_KEY": "sk-planted"}')
    with pytest.raises(BrokenLogin, match="an API key is none"):
        store.link(Link(cli_file, SHARE))
    with pytest.raises(BrokenLogin):
        store.link(Link(cli_file.with_name("absent.json"), SHARE))
    assert store.linked() is None


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"path": "/x", "mode": "steal"}', '{"path": 5, "mode": "share"}']
)
def test_a_broken_link_is_a_clear_error_and_can_be_logged_over(
    store: LinkedTokenStore, tmp_path: Path, content: str
) -> None:
    store.save(a_login())
    (tmp_path / "data" / "login.json").write_text(content)
    clock = FakeClock()
    with pytest.raises(NotLoggedIn, match=r"login\.json.*codexproxy login"):
        Credentials(store, FakeIssuer(clock), clock=clock).current()
    store.replace(a_login(2))
    assert store.load() == a_login(2)


class Meanwhile:
    """A change of the login that somebody begins while the issuer is asked for a new pair."""

    def __init__(self, change: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=change)

    def __call__(self) -> None:
        self._thread.start()
        self._thread.join(0.3)

    def finish(self) -> None:
        self._thread.join()


def test_a_pair_renewed_while_the_clis_login_is_linked_does_not_reach_the_clis_file(
    store: LinkedTokenStore, cli_file: Path
) -> None:
    clock = FakeClock()
    issuer = FakeIssuer(clock)
    store.save(issuer.login())
    before = cli_file.read_bytes()
    other = LinkedTokenStore.in_folder(cli_file.parent.parent / "data")
    issuer.before = linking = Meanwhile(lambda: other.link(Link(cli_file, SHARE)))
    Credentials(store, issuer, clock=clock).refresh("forced")
    linking.finish()
    assert cli_file.read_bytes() == before
    assert other.linked() is not None


def test_a_pair_renewed_in_the_clis_file_does_not_take_the_place_of_a_login_made_meanwhile(
    store: LinkedTokenStore, cli_file: Path
) -> None:
    clock = FakeClock()
    issuer = FakeIssuer(clock)
    store.link(Link(cli_file, SHARE))
    store.save(issuer.login())
    mine = issuer.login()
    other = LinkedTokenStore.in_folder(cli_file.parent.parent / "data")
    issuer.before = logging_in = Meanwhile(lambda: other.replace(mine))
    renewed = Credentials(store, issuer, clock=clock).refresh("forced")
    logging_in.finish()
    assert store.load() == mine
    assert json.loads(cli_file.read_text())["tokens"]["access_token"] == renewed.token


def test_a_broken_link_can_be_logged_out_of(store: LinkedTokenStore, cli_file: Path) -> None:
    store.link(Link(cli_file, SHARE))
    (cli_file.parent.parent / "data" / "login.json").write_text("{")
    assert log_out(store, FakeIssuer(FakeClock()), revoke=False).was_logged_in  # type: ignore[arg-type]
    assert store.linked() is None


def test_a_running_service_follows_the_link(store: LinkedTokenStore, cli_file: Path) -> None:
    clock = FakeClock()
    issuer = FakeIssuer(clock)
    store.save(issuer.login())
    credentials = Credentials(store, issuer, clock=clock)
    own = credentials.current()
    LinkedTokenStore.in_folder(cli_file.parent.parent / "data").link(Link(cli_file, READ_ONLY))
    clock.now += 1
    assert credentials.current() != own
    log_out(LinkedTokenStore.in_folder(cli_file.parent.parent / "data"), FakeRevoker(), revoke=False)
    clock.now += 1
    with pytest.raises(NotLoggedIn):
        credentials.current()


class FakeRevoker:
    """Must not be asked."""

    def revoke(self, refresh_token: str, access_token: str) -> None:
        raise AssertionError("another program's login was revoked")
