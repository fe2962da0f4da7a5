"""``codexproxy login --from-codex``: the login of the Codex CLI, shared or only read."""

import fcntl
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.cli.home import Home
from tests.fakes.codex_auth import write_auth_json
from tests.service import Service, wait_until

HELLO = {"model": "gpt-5.2", "input": "hi"}


@pytest.fixture
def auth(home: Home) -> Path:
    """The Codex CLI's file, with a login in it."""
    path = home.folder / ".codex" / "auth.json"
    write_auth_json(path, home.sim.login(email="cli@example.com"))
    return path


def test_at_a_terminal_the_two_ways_are_explained_and_asked(home: Home, auth: Path) -> None:
    before = auth.read_bytes()
    terminal = home.at_terminal("login", "--from-codex")
    terminal.expect("Copying it is not one of them")
    terminal.expect("share  .*Whoever renews")
    terminal.expect(r"Which \(share, read-only\)")
    terminal.type("copy")
    terminal.expect("is not one of")
    terminal.type("read-only")
    terminal.expect(r"Signed in as cli@example\.com")
    assert terminal.end() == 0
    assert auth.read_bytes() == before
    assert not home.tokens.exists()
    assert stat.S_IMODE((home.data / "login.json").stat().st_mode) == 0o600
    assert "Codex CLI" in home.run("status").stdout


def test_without_a_terminal_the_way_has_to_be_named(home: Home, auth: Path) -> None:
    done = home.run("login", "--from-codex")
    assert done.returncode == 2
    assert "--share or --read-only" in done.stderr
    assert "Copying it is not one of them" in done.stderr
    assert home.run("login", "--from-codex", "--share").returncode == 0


@pytest.mark.parametrize("given", ["file", "folder", "home", "environment"])
def test_the_file_is_found(home: Home, auth: Path, given: str) -> None:
    arguments = {"file": [str(auth)], "folder": [str(auth.parent)], "home": ["~/.codex/auth.json"]}.get(given, [])
    elsewhere = {"CODEX_HOME": str(auth.parent)} if given == "environment" else {}
    done = home.run("login", "--from-codex", *arguments, "--read-only", "--json", **elsewhere)
    assert json.loads(done.stdout)["email"] == "cli@example.com"


def test_chatmocks_file_is_accepted_too(home: Home) -> None:
    tokens = home.sim.login(email="mock@example.com")
    names = ("id_token", "access_token", "refresh_token", "account_id")
    path = home.folder / ".chatgpt-local" / "auth.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps({"OPENAI_API_KEY": None, "tokens": {name: tokens[name] for name in names}, "last_refresh": None})
    )
    assert json.loads(home.run("login", "--from-codex", "--share", "--json").stdout)["email"] == "mock@example.com"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no login at"),
        ("{", "not valid JSON"),
        ('{"OPENAI_API_KEY": "sk-secret-key", "tokens": null}', "an API key is none"),
        ('{"tokens": {"access_token": ""}}', "neither an access_token nor a refresh_token"),
    ],
)
def test_a_file_without_a_login_is_refused_and_nothing_changes(home: Home, content: str | None, words: str) -> None:
    home.login()
    if content is not None:
        (home.folder / "auth.json").write_text(content)
    done = home.run("login", "--from-codex", str(home.folder / "auth.json"), "--share")
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr and "sk-secret-key" not in done.stderr
    assert json.loads(home.run("status", "--json").stdout)["email"] == "dev@example.com"


def test_a_login_of_another_program_is_not_exported(home: Home, auth: Path) -> None:
    home.run("login", "--from-codex", "--share")
    done = home.run("login", "--export")
    assert (done.returncode, done.stdout) == (1, "")
    assert "belongs to the Codex CLI" in done.stderr


def test_logging_out_lets_the_file_go_and_leaves_the_cli_signed_in(home: Home, auth: Path) -> None:
    before = auth.read_bytes()
    home.run("login", "--from-codex", "--share")
    assert home.run("logout").stdout == "Signed out here. The Codex CLI is still signed in.\n"
    assert auth.read_bytes() == before
    assert home.sim.counters()["revocations"] == 0
    assert home.run("status").returncode == 1


def test_a_login_of_our_own_ends_the_sharing(home: Home, auth: Path) -> None:
    before = auth.read_bytes()
    home.run("login", "--from-codex", "--share")
    terminal = home.at_terminal("login", "--device")
    home.sim.approve_device(terminal.expect(r"Enter  ([A-Z0-9]{4}-[A-Z0-9]{5})")[1])
    terminal.expect(r"Signed in as dev@example\.com")
    assert terminal.end() == 0
    assert auth.read_bytes() == before
    assert home.stored()["account_id"]


class Cli:
    """The Codex CLI, as far as it renews its login."""

    def __init__(self, path: Path, sim: SimulatorClient) -> None:
        self.path = path
        self.sim = sim

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.path.read_text())
        return document

    def write(self, tokens: dict[str, Any]) -> None:
        """Replaces the pair, under the lock that it keeps beside the file."""
        with self.path.with_name("auth.json.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fresh = self.path.with_suffix(".new")
            write_auth_json(fresh, tokens)
            fresh.rename(self.path)


@pytest.fixture
def cli(home: Home, auth: Path) -> Cli:
    return Cli(auth, home.sim)


def used(service: Service) -> str:
    """The access token of the newest turn."""
    assert service.post("/v1/responses", HELLO).status == 200
    header: str = service.sim.last_turn()["headers"]["authorization"]
    return header.removeprefix("Bearer ")


def linked(home: Home, serve: Callable[..., Service], mode: str) -> Service:
    """A service that uses the CLI's login."""
    service = serve(login=False, WEB_CONCURRENCY="2")
    done = home.run("login", "--from-codex", str(home.folder / ".codex"), mode, DATA_DIR=str(service.data_dir))
    assert done.returncode == 0, done.stderr
    return service


def test_shared_either_program_renews_and_the_other_takes_it_over(
    home: Home, cli: Cli, serve: Callable[..., Service]
) -> None:
    account = cli.document["tokens"]["account_id"]
    service = linked(home, serve, "--share")
    assert service.post("/v1/responses", HELLO).status == 200
    # Ours: the token ends, we renew it in the CLI's own file and format.
    cli.write(home.sim.login(lifetime=-1, account_id=account))
    before = cli.document
    after = wait_until(
        lambda: service.post("/v1/responses", HELLO).status == 200 and (now := cli.document) != before and now,
        "our renewal of the file",
    )
    assert home.sim.counters()["refreshes"] == 1
    assert after["tokens"]["refresh_token"] != before["tokens"]["refresh_token"]
    assert after["last_refresh"] > before["last_refresh"]
    for name in ("auth_mode", "OPENAI_API_KEY", "something_new"):
        assert after[name] == before[name]
    for name in ("oauth_provenance", "login_owner_id", "account_id"):
        assert after["tokens"][name] == before["tokens"][name]
    assert stat.S_IMODE(cli.path.stat().st_mode) == 0o600
    # Theirs: we take it over and spend nothing.
    renewed = home.sim.login(account_id=account)
    cli.write(renewed)
    for old in (before["tokens"], after["tokens"]):
        home.sim.expire(old["access_token"])
    assert [service.post("/v1/responses", HELLO).status for _ in range(4)] == [200] * 4
    wait_until(lambda: used(service) == renewed["access_token"], "the use of their pair by every worker")
    assert home.sim.counters()["refreshes"] == 1
    assert home.sim.counters()["reuse_detections"] == 0


def test_only_read_nothing_is_ever_written_and_a_renewal_of_the_cli_is_taken_up(
    home: Home, cli: Cli, serve: Callable[..., Service]
) -> None:
    service = linked(home, serve, "--read-only")
    assert service.post("/v1/responses", HELLO).status == 200
    old = home.sim.login(lifetime=-1, account_id=cli.document["tokens"]["account_id"])
    cli.write(old)
    before = cli.path.read_bytes()
    answer = wait_until(lambda: (got := service.post("/v1/responses", HELLO)).status == 401 and got, "the end", 10)
    assert answer.code == "login_expired"
    assert "only read here" in answer.json["error"]["message"]
    assert cli.path.read_bytes() == before
    assert home.sim.counters()["refreshes"] == 0
    cli.write(home.sim.login(account_id=cli.document["tokens"]["account_id"]))
    assert service.post("/v1/responses", HELLO).status == 200
