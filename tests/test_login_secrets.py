"""Secrets of the login are planted in every field and looked for everywhere else: logs, answers, processes, files."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from codexproxy.app.logins import make_landing, make_login
from codexproxy.login.oauth.callback import Callback
from codexproxy.login.oauth.device_flow import Approval, DeviceCode
from codexproxy.login.tokens.tokens import Grant, Tokens
from codexproxy.server.login.callback_app import Ended
from codexproxy.server.login.callback_server import CallbackServer
from codexproxy.settings import load_settings
from codexproxy.simulator.client import SimulatorClient
from tests.cli.home import Home
from tests.service import Answer, Service, free_port, wait_until
from tests.visitor import authorized, query_of, visit

KEY = "pl4nted-proxy-key"
CHAT = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]}
NAMES = ("access_token", "refresh_token", "id_token")


@dataclass
class Watch:
    """Remembers secrets, and everything that anybody could read."""

    service: Service
    folder: Path
    secrets: set[str] = field(default_factory=set)
    shown: list[str] = field(default_factory=list)

    def plant(self, *secrets: str) -> None:
        self.secrets |= {secret for secret in secrets if secret}

    def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> Answer:
        answer = self.service.request(method, path, body, {"authorization": f"Bearer {key}"})
        self.shown.append(answer.body.decode() + json.dumps(answer.headers))
        return answer

    def leaks(self) -> list[str]:
        """Where a secret was found; each is named by its beginning."""
        logs = [path.read_text(errors="replace") for path in (self.folder / "logs").rglob("*") if path.is_file()]
        places = {"the log": self.service.log, "log files": "".join(logs), "answers": "".join(self.shown)}
        places["processes"] = self.service_processes()
        return [
            f"{secret[:12]}… in {name}" for name, text in places.items() for secret in self.secrets if secret in text
        ]

    def service_processes(self) -> str:
        """What ``ps`` shows of the service's processes."""
        assert self.service.process is not None
        pids, lines = [self.service.process.pid], []
        while pids:
            pid = pids.pop()
            try:
                lines.append(Path(f"/proc/{pid}/cmdline").read_text())
                pids += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            except OSError:  # it has just ended
                continue
        return "".join(lines)


@pytest.fixture
def watch(serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path) -> Watch:
    sim.rules(auto_approve=True)
    sim.settings(device_interval="0.1")
    service = serve(
        login=False,
        PROXY_API_KEY=KEY,
        LOG_LEVEL="debug",
        LOG_FORMAT="json",
        LOG_DIR=str(tmp_path / "logs"),
        ENABLE_REQUEST_LOGGING="1",
        CODEX_CALLBACK_PORT=str(free_port()),
    )
    watch = Watch(service, tmp_path)
    watch.plant(KEY)
    return watch


def stored(watch: Watch) -> dict[str, Any]:
    tokens: dict[str, Any] = json.loads((watch.service.data_dir / "tokens.json").read_text())
    watch.plant(*(tokens[name] for name in NAMES))
    return tokens


def in_use(watch: Watch, sim: SimulatorClient) -> str:
    """The access token that a turn takes upstream now: a worker looks once a second whether it changed."""
    assert watch.ask("POST", "/v1/chat/completions", CHAT).status == 200
    return str(sim.last_turn()["headers"]["authorization"]).removeprefix("Bearer ")


def open_files(folder: Path) -> Iterator[str]:
    """Files that others than their owner may read or write."""
    for path in folder.rglob("*"):
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield f"{path.name}: {stat.S_IMODE(path.stat().st_mode):o}"


def test_a_life_of_logins_leaves_no_secret_anywhere(watch: Watch, sim: SimulatorClient) -> None:
    # By browser, with a forged and a failed try before.
    begun = watch.ask("POST", "/auth/login", {}).json
    address = authorized(begun["authorization_url"])
    code = query_of(address)["code"]
    watch.plant(code)
    callback = address.partition("?")[0]
    watch.shown.append(visit(f"{callback}?code={code}&state=forged").text)
    watch.shown.append(visit(address).text)
    stored(watch)
    assert watch.ask("POST", "/v1/chat/completions", CHAT).status == 200
    # By paste, and with a login service that quotes what it was sent.
    for quoting in (False, True):
        pasted = authorized(watch.ask("POST", "/auth/login", {}).json["authorization_url"])
        code = query_of(pasted)["code"]
        watch.plant(code)
        if quoting:
            refusal = {"error": "invalid_grant", "error_description": f"the code {code} is bad"}
            sim.script({"status": 400, "json": refusal}, endpoint="token")
        assert (watch.ask("POST", "/auth/callback", {"url": pasted}).status == 400) is quoting
    by_paste = stored(watch)
    # By device code.
    watch.ask("POST", "/auth/device", {})
    sim.approve_device()
    wait_until(lambda: stored(watch)["refresh_token"] != by_paste["refresh_token"], "the login by device code")
    wait_until(lambda: in_use(watch, sim) == stored(watch)["access_token"], "a turn with that login")
    # Refused by upstream, renewed, refused again, revoked.
    sim.expire(stored(watch)["access_token"])
    assert watch.ask("POST", "/v1/chat/completions", CHAT).status == 200
    last = stored(watch)
    sim.revoke(last["refresh_token"])
    assert watch.ask("POST", "/v1/chat/completions", CHAT).status == 401
    for method, path in (("GET", "/auth/status"), ("GET", "/ready"), ("GET", "/v1/quota"), ("POST", "/auth/logout")):
        watch.ask(method, path)
    watch.ask("GET", "/auth/status", key="wr0ng-planted-key")
    watch.plant("wr0ng-planted-key")
    assert watch.leaks() == []
    assert list(open_files(watch.service.data_dir)) == []
    assert len(watch.secrets) >= 12
    assert '"level":"debug"' in watch.service.log and "codexproxy.bodies" in watch.service.log
    watch.plant("gpt-5.2")  # the search does find what is there
    assert len(watch.leaks()) >= 2


@pytest.mark.parametrize("broken", [False, True])
def test_tokens_of_no_known_shape_do_not_show_either(watch: Watch, sim: SimulatorClient, broken: bool) -> None:
    planted = {name: f"Zq8-{name}-planted-0123456789" for name in (*NAMES, "something_else")}
    tokens = {**planted, "account_id": "acc", "expires_at": 2**41, "updated_at": 1}
    text = json.dumps(tokens)[: -20 if broken else None]
    path = watch.service.data_dir / "tokens.json"
    path.touch(0o600)
    path.write_text(text)
    watch.plant(*planted.values())
    wait_until(lambda: watch.ask("POST", "/v1/chat/completions", CHAT).code != "nothing", "an answer")
    for method, route in (
        ("GET", "/auth/status"),
        ("GET", "/ready"),
        ("POST", "/auth/callback"),
        ("POST", "/auth/logout"),
    ):
        watch.ask(method, route, {})
    assert watch.leaks() == []


def test_a_seed_shows_nowhere(serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path) -> None:
    tokens = sim.login()
    service = serve(login=False, LOG_LEVEL="debug", CODEX_TOKENS_JSON=json.dumps(tokens))
    watch = Watch(service, tmp_path)
    watch.plant(*(tokens[name] for name in NAMES))
    watch.ask("POST", "/v1/chat/completions", CHAT)
    for path in ("/auth/status", "/ready"):
        watch.ask("GET", path)
    assert watch.leaks() == []
    assert list(open_files(service.data_dir)) == []


def test_commands_print_no_token_but_the_one_that_was_asked_to(tmp_path: Path, sim: SimulatorClient) -> None:
    home = Home(tmp_path, sim)
    tokens = home.login()
    shown = ""
    for arguments in (
        ["status"],
        ["status", "--json"],
        ["login", "--from-codex", "x", "--share"],
        ["logout", "--json"],
    ):
        done = home.run(*arguments, LOG_LEVEL="debug", CODEX_TOKENS_JSON=json.dumps(tokens))
        shown += done.stdout + done.stderr
    assert not any(tokens[name] in shown for name in NAMES)
    assert "dev@example.com" in shown


def test_no_representation_holds_a_secret(tmp_path: Path, sim: SimulatorClient) -> None:
    tokens = sim.login()
    seed = json.dumps(tokens)
    settings = load_settings({"HOME": str(tmp_path), "CODEX_TOKENS_JSON": seed, "PROXY_API_KEY": KEY})
    login = make_login(settings)
    login.store.replace(Tokens.from_json(tokens))
    attempt = login.flow.begin()
    server = CallbackServer(make_landing(settings), login.flow, 60)
    code = "ac_planted-code"
    things = [
        settings,
        login,
        login.store,
        login.store.load(),
        login.credentials,
        login.credentials.current(),
        login.status(),
        attempt,
        server,
        Ended(login.store.load()),
        Grant(tokens["access_token"], tokens["refresh_token"], tokens["id_token"]),
        Callback(code=code, state=attempt.state),
        DeviceCode("ABCD", "http://x", code, 5, 0),
        Approval(code, attempt.verifier),
    ]
    shown = " ".join(f"{thing!r} {thing}" for thing in things)
    for secret in (*(tokens[name] for name in NAMES), attempt.state, attempt.verifier, code, KEY):
        assert secret not in shown
    login.attempts.close()
    assert list(open_files(tmp_path)) == []
    assert stat.S_IMODE(os.stat(settings.data_dir).st_mode) == 0o700
