"""Keys are made, listed and ended by command, shown once, and known to a running service at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import is_well_formed
from tests.service import Service, wait_until
from tests.terminal import Done, run

HELLO = {"model": "gpt-5.2", "input": "hi"}


class Keys:
    """The command ``codexproxy keys`` with a data folder of its own."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.environ = {"DATA_DIR": str(home / "data"), **environ}

    def run(self, *arguments: str) -> Done:
        return run(self.home, "keys", *arguments, **self.environ)

    def add(self, name: str, *options: str) -> str:
        done = self.run("add", name, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def listed(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.run("list", "--json").stdout)["keys"]
        return rows


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_a_key_is_shown_once_and_only_its_hash_is_kept(keys: Keys) -> None:
    key = keys.add("ann")
    assert is_well_formed(key)
    path = keys.home / "data" / "keys.json"
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    shown = keys.run("list").stdout + keys.run("list", "--json").stdout
    assert "ann" in shown
    assert key not in shown and "sha256" not in shown


def test_what_a_key_may_do_is_kept_and_listed(keys: Keys) -> None:
    keys.add("ann", "--client", "codex-cli", "--group", "team", "--model", "gpt-5*", "--rate", "60", "--reserve", "20")
    (row,) = keys.listed()
    assert row == {
        "name": "ann",
        "role": "user",
        "cli": "none",
        "isEnabled": True,
        "allowedClients": ["codex-cli"],
        "providerGroup": "team",
        "models": ["gpt-5*"],
        "ratePerMinute": 60,
        "reserveWeeklyPercent": 20.0,
        "from": "keys.json",
    }
    line = keys.run("list").stdout
    for words in ("group team", "only codex-cli", "models gpt-5*", "60 a minute", "leaves 20.0 % of the week"):
        assert words in line


def test_a_client_nobody_is_called_is_told_at_once(keys: Keys) -> None:
    done = keys.run("add", "ann", "--client", "codex_cli", "--client", "cursor")
    assert done.returncode == 0
    assert "did you mean codex-cli?" in done.stderr and "'cursor'" not in done.stderr


def test_users_of_the_configuration_are_listed_too(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"users": [{"name": "bob", "maxParallel": 2, "isEnabled": False}]}))
    keys = Keys(tmp_path, CONFIG_PATH=str(config), PROXY_API_KEY="the-one-key")
    rows = {row["name"]: row for row in keys.listed()}
    assert rows["bob"]["from"] == "config file"
    assert rows["bob"]["isEnabled"] is False
    assert rows["default"]["from"] == "PROXY_API_KEY"
    assert "the-one-key" not in keys.run("list").stdout
    assert keys.run("add", "bob").returncode == 1


@pytest.mark.parametrize("name", ["ann", "", "  ", "default", "anonymous"])
def test_a_name_that_is_taken_or_empty_is_refused(keys: Keys, name: str) -> None:
    keys.add("ann")
    done = keys.run("add", name)
    assert done.returncode == 1
    assert "another one for the key" in done.stderr
    assert len(keys.listed()) == 1


@pytest.mark.parametrize("command", ["rotate", "disable", "enable", "remove"])
def test_an_unknown_name_is_told_plainly(keys: Keys, command: str) -> None:
    done = keys.run(command, "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("There is no key named 'nobody'")


def test_a_key_file_that_is_none_is_told_plainly_and_kept(keys: Keys) -> None:
    keys.add("ann")
    path = keys.home / "data" / "keys.json"
    path.write_text("{")
    for arguments in (["list"], ["add", "bob"], ["remove", "ann"]):
        done = keys.run(*arguments)
        assert done.returncode == 1
        assert "keys.json is not valid JSON" in done.stderr
    assert path.read_text() == "{"


@pytest.fixture
def running(serve: Callable[..., Service]) -> tuple[Service, Keys]:
    """A service of two workers and the command on its data folder."""
    service = serve(WEB_CONCURRENCY="2")
    return service, Keys(service.data_dir.parent)


def statuses(service: Service, key: str | None) -> set[int]:
    """What several requests are answered with; connections go to both workers."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return {service.post("/v1/responses", HELLO, headers).status for _ in range(6)}


def test_a_running_service_takes_up_every_change(running: tuple[Service, Keys]) -> None:
    service, keys = running
    assert statuses(service, None) == {200}
    first, other = keys.add("ann"), keys.add("the other one")
    assert statuses(service, None) == {401}
    assert statuses(service, first) == statuses(service, other) == {200}
    assert keys.run("disable", "ann").returncode == 0
    assert statuses(service, first) == {401}
    assert keys.run("enable", "ann").returncode == 0
    assert statuses(service, first) == {200}
    second = keys.run("rotate", "ann").stdout.strip()
    assert statuses(service, first) == {401}
    assert statuses(service, second) == {200}
    assert keys.run("remove", "ann").returncode == 0
    assert keys.run("remove", "the other one").returncode == 0
    # The last key is gone, and this machine is served as before there was one.
    assert statuses(service, second) == statuses(service, None) == {200}


def test_a_key_file_that_breaks_leaves_the_known_keys_in_force(running: tuple[Service, Keys]) -> None:
    service, keys = running
    key = keys.add("ann")
    assert statuses(service, key) == {200}
    (service.data_dir / "keys.json").write_text("{")
    assert statuses(service, key) == {200}
    assert statuses(service, "wrong") == {401}
    wait_until(lambda: "key file cannot be read" in service.log, "a line about the key file")


def test_a_role_is_given_listed_and_in_force_at_once(running: tuple[Service, Keys]) -> None:
    service, keys = running
    key = {role: keys.add(role, "--role", role) for role in ("user", "metrics", "admin")}
    assert {row["name"]: row["role"] for row in keys.listed()} == {role: role for role in key}
    lines = keys.run("list").stdout
    assert (keys.run().stdout, keys.run("--json").stdout) == (lines, keys.run("list", "--json").stdout)
    assert "role metrics" in lines and "role admin" in lines and "role user" not in lines

    def statuses(role: str) -> list[int]:
        headers = {"authorization": f"Bearer {key[role]}"}
        return [service.get(path, headers).status for path in ("/v1/models", "/metrics", "/auth/status")]

    assert {role: statuses(role) for role in key} == {
        "user": [200, 403, 403],
        "metrics": [403, 200, 403],
        "admin": [200, 200, 200],
    }


def test_a_role_that_does_not_exist_is_refused_and_never_an_owner(running: tuple[Service, Keys]) -> None:
    service, keys = running
    assert keys.run("add", "ann", "--role", "root").returncode == 2
    key = keys.add("ann")
    path = service.data_dir / "keys.json"
    path.write_text(path.read_text().replace('"isEnabled"', '"role": "Admin", "isEnabled"'))
    assert service.get("/auth/status", {"authorization": f"Bearer {key}"}).status in (401, 403, 500)
    done = keys.run("list")
    assert done.returncode == 1
    assert "user, metrics, admin" in done.stderr


def test_what_a_key_may_do_with_the_local_cli_is_kept_and_listed(keys: Keys) -> None:
    keys.add("ann", "--cli", "write", "--cli-network")
    keys.add("bob", "--cli", "read")
    keys.add("eve")
    assert [(row["cli"], row.get("cliNetwork", False)) for row in keys.listed()] == [
        ("write", True),
        ("read", False),
        ("none", False),
    ]
    ann, bob, eve = keys.run("list").stdout.splitlines()
    assert "local CLI write, with network" in ann and "local CLI read" in bob and "CLI" not in eve
    assert keys.run("add", "zoe", "--cli", "all").returncode == 2
    path = keys.home / "data" / "keys.json"
    path.write_text(path.read_text().replace('"read"', '"everything"'))
    assert "must be one of none, read, write" in keys.run("list").stderr


def test_a_key_that_nobody_would_answer_is_told_at_once(tmp_path: Path) -> None:
    keys = Keys(tmp_path, CODEX_PROVIDER="codex-cli")
    assert "'--cli read' or '--cli write' permits it" in keys.run("add", "ann").stderr
    assert "--cli" not in keys.run("add", "bob", "--cli", "read").stderr
    assert "--cli" not in Keys(tmp_path).run("add", "eve").stderr


def test_what_a_key_may_do_is_changed_and_the_key_stays(keys: Keys, serve: Callable[..., Service]) -> None:
    service = serve()
    here = Keys(keys.home, DATA_DIR=str(service.data_dir))
    key = here.add("ann", "--rate", "60", "--tokens", "1000")
    kept = json.loads((service.data_dir / "keys.json").read_text())["users"][0]
    assert service.get("/metrics", {"x-api-key": key}).status == 403
    assert here.run("change", "ann", "--role", "admin", "--no-limit", "rate", "--cli-network").returncode == 0
    # In force at once.
    assert service.get("/metrics", {"x-api-key": key}).status == 200
    (row,) = here.listed()
    assert (row["role"], row.get("ratePerMinute"), row["tokensPerDay"], row["cliNetwork"]) == (
        "admin",
        None,
        1000,
        True,
    )
    after = json.loads((service.data_dir / "keys.json").read_text())["users"][0]
    assert (after["id"], after["apiKeyHash"]) == (kept["id"], kept["apiKeyHash"])


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["ann"], 2, "Say what to change"),
        (["zed", "--rate", "5"], 1, "no key named"),
        (["ann", "--rate", "0"], 2, "--rate"),
        (["ann", "--no-limit", "models"], 2, "--no-limit"),
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing(
    keys: Keys, arguments: list[str], status: int, words: str
) -> None:
    keys.add("ann", "--rate", "60")
    before = keys.listed()
    done = keys.run("change", *arguments)
    assert (done.returncode, words in done.stderr) == (status, True)
    assert keys.listed() == before
