"""A ``.env`` in a folder that somebody else wrote runs no program and learns no login."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexproxy.cli import COMMANDS
from codexproxy.settings import Settings, SettingsError, load_settings
from codexproxy.settings.loading import NOT_FROM_DOTENV
from codexproxy.settings.rows import rows_of
from tests.patience import patient
from tests.service import ROOT

# What a `.env` may set; whoever adds a setting decides here.
HARMLESS = {
    "CODEX_CALLBACK_PORT",
    "CODEX_CLIENT_VERSION",
    "CODEX_CONNECT_TIMEOUT",
    "CODEX_FIRST_EVENT_TIMEOUT",
    "CODEX_IDLE_TIMEOUT",
    "CODEX_LOGIN_TIMEOUT",
    "CODEX_MAX_PARALLEL_REQUESTS",
    "CODEX_MAX_QUEUED_REQUESTS",
    "CODEX_MODE",
    "CODEX_MODEL",
    "CODEX_MODELS_REFRESH_SECONDS",
    "CODEX_MODELS_STRICT",
    "CODEX_MODEL_ALIASES",
    "CODEX_OAUTH_SCOPE",
    "CODEX_ORIGINATOR",
    "CODEX_PROVIDER",
    "CODEX_QUEUE_TIMEOUT_SECONDS",
    "CODEX_REASONING_COMPAT",
    "CODEX_REASONING_EFFORT",
    "CODEX_REASONING_SUMMARY",
    "CODEX_RESUME_GRACE_SECONDS",
    "CODEX_REVERSE_NAMES",
    "CODEX_STORE_MAX_AGE_DAYS",
    "CODEX_STORE_MAX_BYTES",
    "CODEX_STORE_RESPONSES",
    "CODEX_TEXT_VERBOSITY",
    "CODEX_TIMEOUT",
    "ENABLE_REQUEST_LOGGING",
    "HEARTBEAT_SECONDS",
    "SEND_TIMEOUT_SECONDS",
    "LOG_FORMAT",
    "LOG_KEEP_DAYS",
    "LOG_LEVEL",
    "LOG_MAX_BYTES",
    "MAX_BODY_BYTES",
    "PORT",
    "PROXY_API_KEY",
    "RATE_LIMIT_PER_MINUTE",
    "WEB_CONCURRENCY",
}
DAY = 86_400_000

# Each with words that make it do its work, and nothing that waits for a person.
CALLS = {
    "serve": ["--host", "0.0.0.0"],
    "demo": ["--help"],
    "login": ["--help"],
    "logout": [],
    "status": [],
    "models": [],
    "usage": [],
    "doctor": ["--deep"],
    "keys": ["list"],
    "prompts": ["sync"],
    "quota": [],
    "explain": [],
}


class Trap:
    """A listener that notes whether anybody connects; nobody should."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def caught(self) -> bytes | None:
        """The first bytes that were sent here; None when nobody came."""
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return None
        with connection:
            connection.settimeout(patient(5))
            return connection.recv(4096)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


@pytest.fixture(params=["codex", "codex-cli"])
def stranger(request: pytest.FixtureRequest, tmp_path: Path, trap: Trap) -> Path:
    """A folder whose ``.env`` wants a program run and the login sent away."""
    folder = tmp_path / "cloned"
    folder.mkdir()
    program = folder / "evil.sh"
    program.write_text(f"#!/bin/sh\necho run >> '{folder}/was-run'\n")
    program.chmod(0o755)
    lines = {
        "CODEX_BIN": "./evil.sh",
        "CODEX_PROVIDER": str(request.param),
        "CODEX_BACKEND_URL": trap.url,
        "CODEX_AUTH_ISSUER": trap.url,
        "CODEX_HOME": str(folder),
        "CONFIG_PATH": str(folder / "config.json"),
        "HTTPS_PROXY": trap.url,
        "HTTP_PROXY": trap.url,
        "ALLOW_UNAUTHENTICATED": "1",
    }
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    (folder / "config.json").write_text('{"cli": {"bin": "./evil.sh"}}')
    (folder / ".env").chmod(0o600)
    return folder


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    """A home folder with a login whose access token has ended, so that whoever is asked gets the refresh token."""
    home = tmp_path / "home"
    data = home / ".codexproxy" / "data"
    data.mkdir(parents=True, mode=0o700)
    now = int(time.time() * 1000)
    pair = {"access_token": "at", "refresh_token": "rt_of_the_owner", "account_id": "a"}
    (data / "tokens.json").write_text(json.dumps({**pair, "expires_at": now - DAY, "updated_at": now - 2 * DAY}))
    (data / "tokens.json").chmod(0o600)
    for folder in (home, home / ".codexproxy", data):
        folder.chmod(0o700)
    return home


def test_each_command_is_called_here() -> None:
    assert CALLS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", CALLS)
def test_no_command_runs_a_strangers_program_or_sends_the_login_to_them(
    command: str, stranger: Path, owner: Path, trap: Trap
) -> None:
    # Where the login really goes nobody listens, so that each command ends soon.
    nowhere = "http://127.0.0.1:1"
    (owner / ".codexproxy" / "config.json").write_text(
        json.dumps({"backend": {"url": nowhere}, "oauth": {"issuer": nowhere}})
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(owner), "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "codexproxy", command, *CALLS[command]],
        env=environ,
        cwd=stranger,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=patient(60),
        check=False,
    )
    assert not (stranger / "was-run").exists()
    assert trap.caught() is None


def test_serve_names_the_lines_of_a_dotenv_that_it_does_not_take(stranger: Path, owner: Path) -> None:
    done = subprocess.run(
        # A port that is taken ends the command before it serves.
        [sys.executable, "-m", "codexproxy", "serve", "--host", "0.0.0.0", "--port", "0"],
        env={"PATH": os.environ["PATH"], "HOME": str(owner), "PYTHONPATH": str(ROOT)},
        cwd=stranger,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    # ALLOW_UNAUTHENTICATED was not taken either: without a key nothing listens for others.
    assert done.returncode == 2
    assert "without a key" in done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("Not taken from .env: ")]
    for name in ("CODEX_BIN", "CODEX_BACKEND_URL", "CODEX_AUTH_ISSUER", "HTTPS_PROXY", "ALLOW_UNAUTHENTICATED"):
        assert name in said
    assert "evil" not in done.stderr


def test_a_dotenv_decides_over_no_place_program_or_permission(tmp_path: Path) -> None:
    rows = [row.env for row in rows_of(Settings) if row.env]
    assert set(rows) == HARMLESS | NOT_FROM_DOTENV
    assert HARMLESS.isdisjoint(NOT_FROM_DOTENV)
    dotenv = tmp_path / ".env"
    dotenv.write_text("".join(f"{name}=http://127.0.0.1:9\n" for name in sorted(NOT_FROM_DOTENV)))
    dotenv.chmod(0o600)
    plain = {"HOME": str(tmp_path)}
    assert load_settings(plain, dotenv=dotenv) == load_settings(plain)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o664, 0o666])
def test_a_dotenv_that_others_may_write_is_refused_with_the_way_to_mend_it(mode: int, tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PROXY_API_KEY=from-somebody\n")
    dotenv.chmod(mode)
    with pytest.raises(SettingsError) as caught:
        load_settings({"HOME": str(tmp_path)}, dotenv=dotenv)
    assert "chmod go-w .env" in str(caught.value)
    assert "from-somebody" not in str(caught.value)


def test_a_dotenv_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    dotenv = tmp_path / ".env"
    dotenv.write_text("PORT=4000\n")
    os.chown(dotenv, 12345, 12345)
    with pytest.raises(SettingsError, match="belongs to another user"):
        load_settings({"HOME": str(tmp_path)}, dotenv=dotenv)


@pytest.mark.parametrize("key", ["CODEX_BACKEND_URL", "CODEX_AUTH_ISSUER"])
@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://backend.example.com", False),
        ("http://10.0.0.5:8080/x", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1:9/x", True),
        ("http://localhost:9", True),
        ("http://[::1]:9", True),
        ("https://backend.example.com", True),
    ],
)
def test_a_login_is_sent_over_https_or_stays_on_this_machine(key: str, url: str, taken: bool, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), key: url}
    if taken:
        assert load_settings(environ)
        return
    with pytest.raises(SettingsError, match="https://"):
        load_settings(environ)


@pytest.mark.parametrize(
    ("more", "taken"), [({}, False), ({"apiKeyEnv": "RELAY_KEY"}, True), ({"providerType": "codex-cli"}, True)]
)
def test_a_provider_without_a_key_of_its_own_gets_the_login_over_https_only(
    more: dict[str, str], taken: bool, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"providers": [{"name": "lan", "url": "http://relay.lan/v1", **more}]}))
    environ = {"HOME": str(tmp_path), "CONFIG_PATH": str(config)}
    if taken:
        assert load_settings(environ).providers[0].url == "http://relay.lan/v1"
        return
    with pytest.raises(SettingsError, match="https://"):
        load_settings(environ)


def test_a_providers_key_may_stand_in_dotenv(tmp_path: Path, owner: Path) -> None:
    """The one use of ``.env`` beside settings: the config file names the variable, ``.env`` holds its value."""
    (owner / ".codexproxy" / "config.json").write_text(
        json.dumps({"providers": [{"name": "relay", "url": "http://127.0.0.1:1/v1", "apiKeyEnv": "RELAY_KEY"}]})
    )
    (tmp_path / ".env").write_text("RELAY_KEY=k\nOTHER=x\nPATH=/nowhere\n")
    (tmp_path / ".env").chmod(0o600)
    script = (
        "import os; from pathlib import Path; from codexproxy.settings import load_settings;"
        "from codexproxy.cli.serve import _DotenvKeys as Keys; Keys().export(Path('.env'), load_settings(os.environ));"
        "print(os.environ['RELAY_KEY'], os.environ.get('OTHER'), os.environ['PATH'] != '/nowhere')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "HOME": str(owner), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    assert done.stdout == "k None True\n"
