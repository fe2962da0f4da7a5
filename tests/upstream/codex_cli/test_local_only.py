"""Nothing is sent to another machine once the owner said so."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from codexproxy.errors import InvalidRequest, UpstreamFailed
from codexproxy.upstream.codex_cli.security.config_file import ConfigFile, config_of
from codexproxy.upstream.codex_cli.security.landlock import can_restrict, landlocked
from codexproxy.upstream.codex_cli.security.local_only import (
    NOWHERE,
    local_pins,
    local_ports,
    require_local,
    require_silent_dotenv,
    walled_in,
)
from tests.patience import patient

OLLAMA = '[model_providers.mine]\nname = "mine"\nbase_url = "http://localhost:11434/v1"\n'
REMOTE = '[model_providers.far]\nname = "far"\nbase_url = "https://api.example.com/v1"\n'

# config.toml -> whether it may run, and why.
CONFIGS = [
    ("no file at all means the built-in provider", "", False),
    ("the built-in provider by name", 'model_provider = "openai"', False),
    ("the built-in provider moved to this machine", 'openai_base_url = "http://127.0.0.1:1/v1"\n'
     'chatgpt_base_url = "http://127.0.0.1:1/backend-api"', True),
    ("the built-in provider moved half the way", 'openai_base_url = "http://127.0.0.1:1/v1"', False),
    ("the built-in provider moved the other half", 'chatgpt_base_url = "http://localhost:1"', False),
    ("the built-in provider moved elsewhere", 'openai_base_url = "https://e.com/v1"\nchatgpt_base_url = "http://localhost"', False),
    ("an entry of the built-in provider's name is not read", 'model_provider = "openai"\n[model_providers.openai]\n'
     'base_url = "http://localhost/v1"', False),
    ("a local provider", f'model_provider = "mine"\n{OLLAMA}', True),
    ("a local provider that is not chosen", OLLAMA, False),
    ("a remote provider", f'model_provider = "far"\n{REMOTE}', False),
    ("a remote provider that is not chosen", f'model_provider = "mine"\n{OLLAMA}{REMOTE}', True),
    ("a provider that is nowhere described", 'model_provider = "mine"', False),
    ("a provider without an address", 'model_provider = "mine"\n[model_providers.mine]\nname = "mine"', False),
    ("an address that is no text", 'model_provider = "mine"\n[model_providers.mine]\nbase_url = 8080', False),
    ("an empty address", 'model_provider = "mine"\n[model_providers.mine]\nbase_url = ""', False),
    ("an address that only looks local", 'model_provider = "m"\n[model_providers.m]\nbase_url = "http://localhost.e.com"', False),
    ("an address with userinfo that hides the host", 'model_provider = "m"\n[model_providers.m]\nbase_url = "http://localhost@e.com"', False),
    ("a decimal address", 'model_provider = "m"\n[model_providers.m]\nbase_url = "http://2130706433:8000/v1"', True),
    ("a second address that is remote", 'model_provider = "m"\n[model_providers.m]\nbase_url = "http://localhost/v1"\n'
     'websocket_url = "wss://e.com"', False),
    ("a second address that is local", 'model_provider = "m"\n[model_providers.m]\nbase_url = "http://localhost/v1"\n'
     'websocket_url = "ws://127.0.0.1:1"', True),
    ("a provider whose name cannot be pinned", 'model_provider = "a.b"\n[model_providers."a.b"]\nbase_url = "http://localhost/v1"', False),
    ("the built-in provider of open models", 'model_provider = "ollama"', True),
    ("another one", 'model_provider = "lmstudio"', True),
    ("a built-in provider that is remote", 'model_provider = "amazon-bedrock"', False),
    ("a provider that is no text", "model_provider = 3", False),
    ("a profile that chooses a local one", f'profile = "home"\nmodel_provider = "far"\n[profiles.home]\nmodel_provider = "mine"\n{OLLAMA}{REMOTE}', True),
    ("a profile that chooses a remote one", f'profile = "work"\nmodel_provider = "mine"\n[profiles.work]\nmodel_provider = "far"\n{OLLAMA}{REMOTE}', False),
    ("a profile that is not chosen", f'model_provider = "mine"\n[profiles.work]\nmodel_provider = "far"\n{OLLAMA}{REMOTE}', True),
    ("a profile that is nowhere described", f'profile = "gone"\nmodel_provider = "mine"\n{OLLAMA}', True),
    ("a profile that moves the built-in provider", 'profile = "p"\nopenai_base_url = "http://localhost"\nchatgpt_base_url = "http://localhost"\n'
     '[profiles.p]\nchatgpt_base_url = "https://e.com"', False),
    ("providers that are no table", 'model_provider = "mine"\nmodel_providers = 1', False),
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(("text", "allowed"), [row[1:] for row in CONFIGS], ids=[row[0] for row in CONFIGS])
def test_this_configuration_is_decided(home: Path, text: str, allowed: bool) -> None:
    if text:
        (home / "config.toml").write_text(text)
    config = ConfigFile(home).read()
    if allowed:
        assert require_local(config)
        return
    with pytest.raises(InvalidRequest) as refusal:
        require_local(config)
    assert (refusal.value.status, refusal.value.code) == (400, "local_only")
    assert "config.toml" in refusal.value.message


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(home: Path) -> None:
    file = ConfigFile(home)
    (home / "config.toml").write_text(f'model_provider = "mine"\n{OLLAMA}')
    first = file.read()
    assert file.read() is first
    (home / "config.toml").write_text(f'model_provider = "far"\n{REMOTE}')
    assert file.read().provider == "far"
    stamp = file.stamp()
    os.utime(home / "config.toml", ns=(1, 1))
    assert file.stamp() != stamp
    (home / "config.toml").unlink()
    assert (file.read().provider, file.stamp()) == ("openai", None)


def test_a_file_that_is_no_toml_is_refused_without_a_word_of_it(home: Path) -> None:
    (home / "config.toml").write_text('key = "sk-secret-value\n')
    with pytest.raises(UpstreamFailed) as failure:
        ConfigFile(home).read()
    assert failure.value.code == "codex_cli_failed"
    assert "secret" not in failure.value.message


def test_names_of_keys_are_found_in_all_providers() -> None:
    config = config_of(
        {
            "model_providers": {
                "a": {"env_key": "A_KEY", "env_http_headers": {"x-one": "HEADER_VALUE", "x-two": 3}},
                "b": {"env_key": "B_KEY"},
                "c": {"env_key": ""},
                "d": "no table",
            }
        }
    )
    assert config.secret_names == ("A_KEY", "HEADER_VALUE", "B_KEY")


def test_what_was_inspected_is_pinned() -> None:
    mine = config_of({"model_provider": "m", "model_providers": {"m": {"base_url": "http://localhost/v1"}}})
    assert local_pins(mine)["model_provider"] == "m"
    assert local_pins(mine)["model_providers.m.base_url"] == "http://localhost/v1"
    assert local_pins(mine)["web_search"] == "disabled"
    built_in = local_pins(config_of({"model_provider": "ollama"}))
    assert built_in["model_provider"] == "ollama" and not any(key.startswith("model_providers") for key in built_in)


def test_every_other_host_is_behind_a_dead_proxy() -> None:
    environment = walled_in({"HTTPS_PROXY": "http://proxy.example:3128", "PATH": "/bin"}, ("127.0.0.5", "[::1]"))
    proxies = {name: value for name, value in environment.items() if name.lower().endswith("_proxy")}
    assert {value for name, value in proxies.items() if name.lower() != "no_proxy"} == {NOWHERE}
    assert {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} <= set(proxies)
    assert environment["NO_PROXY"].split(",")[:3] == ["127.0.0.5", "::1", "localhost"]
    assert environment["PATH"] == "/bin"


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://localhost:11434/v1", 11434),
        ("http://localhost/v1", 80),
        ("http://127.0.0.1:/v1", 80),
        ("https://localhost/v1", 443),
        ("ws://localhost/v1", 80),
        ("WSS://localhost:9000/v1", 9000),
    ],
)
def test_the_ports_of_the_local_server_are_known(url: str, port: int) -> None:
    config = config_of({"model_provider": "m", "model_providers": {"m": {"base_url": url}}})
    assert local_ports(config) == (port,)
    assert local_ports(config_of({"model_provider": "ollama"})) == (11434,)


CONNECT = """
import socket, sys
for port in sys.argv[1:]:
    try:
        socket.create_connection(("127.0.0.1", int(port))).close()
        print("connected")
    except PermissionError:
        print("refused")
"""


def test_a_command_reaches_the_permitted_ports_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [listener.getsockname()[1] for listener in (one, other)]
        command = landlocked([sys.executable, "-c", CONNECT, *map(str, ports)], ports[:1])
        done = subprocess.run(command, capture_output=True, text=True, timeout=patient(30), check=True)
    assert done.stdout.split() == ["connected", "refused" if can_restrict() else "connected"]


def test_a_command_that_is_missing_is_told_by_name() -> None:
    done = subprocess.run(landlocked(["/nowhere/codex"], [80]), capture_output=True, text=True, timeout=patient(30))
    assert done.returncode != 0 and "/nowhere/codex: No such file" in done.stderr


def test_a_dotenv_that_names_a_proxy_would_take_the_wall_down(home: Path) -> None:
    require_silent_dotenv(ConfigFile(home).dotenv())
    (home / ".env").write_text("MINE=1\nexport https_proxy=http://proxy.example\n")
    with pytest.raises(InvalidRequest, match=r"\.env") as refusal:
        require_silent_dotenv(ConfigFile(home).dotenv())
    assert refusal.value.code == "local_only"


def test_what_speaks_of_a_turn_is_switched_off() -> None:
    servers = {"web": {"url": "http://e.com"}, "my program": {"command": "send"}}
    pins = local_pins(config_of({"model_provider": "ollama", "mcp_servers": servers, "notify": ["send"]}))
    assert pins["mcp_servers"] == {"web": {"enabled": False}, "my program": {"enabled": False}}
    assert (pins["notify"], pins["analytics.enabled"], pins["features.hooks"]) == ([], False, False)
    assert {pins[f"otel.{name}"] for name in ("exporter", "trace_exporter", "metrics_exporter")} == {"none"}
