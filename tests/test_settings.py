"""Settings come from three sources, in order, and every mistake is told at once."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.settings import Settings, SettingsError, load_settings
from codexproxy.settings.docs_generator import render
from codexproxy.settings.rows import rows_of

ROOT = Path(__file__).resolve().parent.parent

# The file that users of the plan already have, as issue 2 quotes it.
SAMPLE = """{"server":{"port":3000,"host":"0.0.0.0"},"oauth":{"clientId":"app_EMoamEEZ73f0CkXaXp7hrann",
"redirectUri":"http://localhost:1455/auth/callback","localServerPort":1455},"backend":{"url":
"https://chatgpt.com/backend-api","timeout":120000},"logging":{"level":"info","dir":"logs","enableRequestLogging":false},
"codex":{"mode":true,"defaultReasoningEffort":"medium","defaultTextVerbosity":"medium"}}"""


class Home:
    """A home folder with or without a config file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / ".codexproxy" / "config.json"

    def write(self, content: str | bytes | dict[str, Any]) -> None:
        self.config.parent.mkdir(exist_ok=True)
        text = json.dumps(content) if isinstance(content, dict) else content
        self.config.write_bytes(text.encode() if isinstance(text, str) else text)

    def load(self, dotenv: Path | None = None, **environ: str) -> Settings:
        return load_settings({"HOME": str(self.folder), **environ}, dotenv=dotenv)

    def problems(self, dotenv: Path | None = None, **environ: str) -> dict[str, str]:
        with pytest.raises(SettingsError) as caught:
            self.load(dotenv, **environ)
        return {problem.key: problem.message for problem in caught.value.problems}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_file_and_environment_the_defaults_of_the_contract_hold(home: Home) -> None:
    settings = home.load()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 3000, 1)
    assert settings.data_dir == home.folder / ".codexproxy" / "data"
    assert settings.cli_home == home.folder / ".codex"
    assert (settings.turn_timeout, settings.connect_timeout) == (600, 10)
    assert (settings.first_event_timeout, settings.idle_timeout) == (120, 300)
    assert settings.max_body_bytes == 64 * 1024 * 1024
    assert (settings.codex_mode, settings.text_verbosity, settings.reasoning_effort) == ("auto", "medium", None)
    assert [(provider.name, provider.type) for provider in settings.providers] == [("default", "codex")]
    assert not settings.has_keys


def test_the_file_beats_defaults_and_the_environment_beats_the_file(home: Home) -> None:
    home.write({"server": {"port": 4000, "heartbeatSeconds": 7}})
    settings = home.load(PORT="5000")
    assert (settings.port, settings.heartbeat_seconds) == (5000, 7)


def test_the_file_that_users_of_the_plan_have_loads_unchanged(home: Home) -> None:
    home.write(SAMPLE)
    settings = home.load()
    assert (settings.host, settings.port, settings.turn_timeout) == ("0.0.0.0", 3000, 120)
    assert (settings.codex_mode, settings.reasoning_effort, settings.log_dir) == ("true", "medium", Path("logs"))


def test_all_problems_are_told_at_once_each_with_its_key(home: Home) -> None:
    home.write({"server": {"port": "many"}, "codex": {"mode": "sometimes"}, "providers": [{"priority": -1}]})
    problems = home.problems(HEARTBEAT_SECONDS="soon", CORS_ALLOW_ORIGINS="example.com/path")
    assert set(problems) == {
        "server.port",
        "codex.mode",
        "providers[0].priority",
        "providers[0].name",
        "HEARTBEAT_SECONDS",
        "CORS_ALLOW_ORIGINS",
    }
    assert problems["codex.mode"] == "must be one of auto, true, false."


@pytest.mark.parametrize(
    ("content", "key", "meant"),
    [
        ({"server": {"prot": 1}}, "server.prot", "server.port"),
        ({"server": {"corsalloworigins": []}}, "server.corsalloworigins", "server.corsAllowOrigins"),
        ({"sever": {"port": 1}}, "sever", "server?"),
        ({"port": 1}, "port", "server.port"),
        ({"user": []}, "user", "users"),
        ({"users": [{"name": "ann", "apiKey": "x"}]}, "users[0].apiKey", "apiKeyHash"),
        ({"providers": [{"name": "a", "prio": 1}]}, "providers[0].prio", "priority"),
        ({"guard": {"codexcli": {}}}, "guard.codexcli", "codexCli"),
        ({"guard": {"codexCli": {"useragents": []}}}, "guard.codexCli.useragents", "userAgents"),
        ({"q": 1}, "q", "remove it"),
        ({"backend": {"zzz": 1}}, "backend.zzz", "backend."),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(home: Home, content: dict[str, Any], key: str, meant: str) -> None:
    home.write(content)
    assert meant in home.problems()[key]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"server": {\n  "port": 3000,\n}}', "line 3, column 1"),
        (b"[1]", "one JSON object"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b"[" * 100_000, "deep"),
    ],
)
def test_a_file_that_is_no_config_says_where_it_breaks(home: Home, content: bytes, words: str) -> None:
    home.write(content)
    assert words in home.problems()[str(home.config)]


def test_a_section_that_is_no_object_and_a_key_given_twice_are_problems(home: Home) -> None:
    home.write('{"server": 3000, "codex": {"mode": "auto", "mode": true}}')
    assert set(home.problems()) == {"server", "mode"}


def test_a_byte_order_mark_an_empty_file_and_nulls_do_no_harm(home: Home) -> None:
    home.write(b"\xef\xbb\xbf" + b'{"server": null, "auth": {"apiKey": null}, "users": null}')
    assert home.load().port == 3000
    home.write(b"")
    assert home.load().port == 3000


def test_a_missing_file_is_fine_unless_it_was_asked_for(home: Home) -> None:
    elsewhere = home.folder / "elsewhere.json"
    assert str(elsewhere) in home.problems(CONFIG_PATH=str(elsewhere))["CONFIG_PATH"]
    elsewhere.write_text('{"server": {"port": 77}}')
    assert home.load(CONFIG_PATH="~/elsewhere.json").port == 77


def test_a_config_path_that_is_a_folder_is_a_problem(home: Home) -> None:
    assert "cannot be read" in home.problems(CONFIG_PATH=str(home.folder))[str(home.folder)]


def test_time_limits_are_milliseconds_in_the_file_and_seconds_in_the_environment(home: Home) -> None:
    home.write({"backend": {"timeout": 1500, "idleTimeout": 0, "connectTimeout": 2000}})
    settings = home.load(CODEX_CONNECT_TIMEOUT="2.5", CODEX_FIRST_EVENT_TIMEOUT="0")
    assert (settings.turn_timeout, settings.idle_timeout) == (1.5, None)
    assert (settings.connect_timeout, settings.first_event_timeout) == (2.5, None)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("127.0.0.2:81", "127.0.0.2", 81), ("[::1]:82", "::1", 82), ("box.local:83", "box.local", 83)],
)
def test_one_address_beats_host_and_port(home: Home, address: str, host: str, port: int) -> None:
    settings = home.load(CODEX_OPENAI_PROXY_ADDR=address, HOST="0.0.0.0", PORT="1")
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize("address", ["3000", ":3000", "::1:3000", "127.0.0.1:", "a b:1", "host:99999", "http://h:1"])
def test_an_address_without_host_or_port_is_a_problem(home: Home, address: str) -> None:
    assert "host:port" in home.problems(CODEX_OPENAI_PROXY_ADDR=address)["CODEX_OPENAI_PROXY_ADDR"]


@pytest.mark.parametrize(
    ("word", "meaning"), [("1", True), ("TRUE", True), (" yes ", True), ("on", True), ("0", False), ("No", False)]
)
def test_booleans_are_read_as_people_write_them(home: Home, word: str, meaning: bool) -> None:
    assert home.load(CODEX_MODELS_STRICT=word).models_strict is meaning


@pytest.mark.parametrize(("value", "mode"), [(True, "true"), (False, "false"), ("auto", "auto"), ("TRUE", "true")])
def test_the_mode_may_be_a_boolean_or_a_word(home: Home, value: object, mode: str) -> None:
    home.write({"codex": {"mode": value}})
    assert home.load().codex_mode == mode


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "3000.5"),
        ("PORT", "-1"),
        ("PORT", "nan"),
        ("WEB_CONCURRENCY", "0"),
        ("HEARTBEAT_SECONDS", "inf"),
        ("CODEX_LOGIN_TIMEOUT", "59"),
        ("MAX_BODY_BYTES", "64MB"),
        ("CODEX_BACKEND_URL", "chatgpt.com"),
        ("CODEX_BACKEND_URL", "ftp://chatgpt.com"),
        ("CODEX_BACKEND_URL", "https://me:pw@chatgpt.com"),
        ("CODEX_BACKEND_URL", "https://host:notaport/"),
        ("HOST", "127.0.0.1:3000"),
        ("LOG_LEVEL", "loud"),
        ("CODEX_MODEL_ALIASES", "{"),
        ("CODEX_MODEL_ALIASES", '{"a": 1}'),
        ("CODEX_TOKENS_JSON", "[]"),
        ("CODEX_PROVIDER", "relay"),
        ("CODEX_SANDBOX_MODE", "none"),
        ("PROXY_API_KEY", "two words"),
        ("PROXY_API_KEY", "schlüssel"),
    ],
)
def test_a_value_out_of_range_is_a_problem_of_its_variable(home: Home, name: str, value: str) -> None:
    assert home.problems(**{name: value})[name].startswith("must")


def test_every_variable_that_can_be_wrong_is_reported_by_its_own_name(home: Home) -> None:
    rows = [row for row in rows_of(Settings) if row.env and row.env != "CONFIG_PATH"]
    problems = home.problems(**{row.env: "\x00" for row in rows if row.env})
    assert set(problems) == {row.env for row in rows}


def test_an_empty_variable_counts_as_unset(home: Home) -> None:
    home.write({"auth": {"apiKey": "from-file"}})
    assert home.load(PROXY_API_KEY="", PORT=" ").api_key == "from-file"


def test_providers_users_and_guard_become_typed_values(home: Home) -> None:
    home.write(
        {
            "providers": [
                {"name": "main", "providerType": "codex", "groupTag": "default", "priority": 0, "weight": 1},
                {
                    "name": "relay",
                    "groupTag": "2apiCodex",
                    "url": "https://relay.example/v1/",
                    "apiKeyEnv": "RELAY_KEY",
                },
                {"name": "local", "providerType": "codex-cli", "priority": 1, "isEnabled": False},
            ],
            "users": [
                {
                    "name": "ann",
                    "apiKeyHash": f"sha256:aa:{0:064x}",
                    "allowedClients": ["codex-cli"],
                    "providerGroup": "default",
                    "models": ["*"],
                    "ratePerMinute": 60,
                    "tokensPerDay": 2000000,
                    "maxParallel": 4,
                    "reserveWeeklyPercent": 20,
                    "isEnabled": True,
                }
            ],
            "guard": {"claudeCli": {"userAgents": ["claude-cli", "claude code"], "group": "other"}},
        }
    )
    settings = home.load(CODEX_PROVIDER="codex-cli")
    main, relay, local = settings.providers
    assert (main.type, relay.group, relay.url, relay.api_key_env) == (
        "codex",
        "2apiCodex",
        "https://relay.example/v1",
        "RELAY_KEY",
    )
    assert (local.type, local.priority, local.enabled) == ("codex-cli", 1, False)
    (ann,) = settings.users
    assert (ann.allowed_clients, ann.tokens_per_day, ann.reserve_weekly_percent) == (("codex-cli",), 2000000, 20)
    assert settings.has_keys
    codex, claude = settings.guard
    assert (codex.client, codex.group, codex.complete) == ("codex-cli", "2apiCodex", True)
    assert (claude.client, claude.user_agents, claude.group) == ("claude-cli", ("claude-cli", "claude code"), "other")


def test_two_entries_of_one_name_are_a_problem(home: Home) -> None:
    home.write({"users": [{"name": "ann"}, {"name": "ann"}], "providers": {"name": "x"}})
    assert set(home.problems()) == {"users[1].name", "providers"}


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ({"name": "default"}, "users[0].name"),
        ({"name": " anonymous "}, "users[0].name"),
        ({"name": "ann", "apiKeyHash": "cpx_the-key-itself"}, "users[0].apiKeyHash"),
        ({"name": "ann", "apiKeyHash": "sha256:aa:bb"}, "users[0].apiKeyHash"),
        ({"name": "ann", "apiKeyHash": f"sha256::{0:064x}"}, "users[0].apiKeyHash"),
        ({"name": "ann", "apiKeyHash": f"sha256:a:{0:064x}"}, "users[0].apiKeyHash"),
    ],
)
def test_a_user_nobody_can_be_is_told_before_the_service_starts(home: Home, user: dict[str, str], key: str) -> None:
    home.write({"users": [user]})
    problems = home.problems()
    assert list(problems) == [key]
    assert "cpx_" not in problems[key]


def test_the_type_of_the_one_default_provider_comes_from_the_environment(home: Home) -> None:
    assert [provider.type for provider in home.load(CODEX_PROVIDER="codex-cli").providers] == ["codex-cli"]


def test_a_dotenv_file_stands_between_file_and_environment(home: Home) -> None:
    home.write({"server": {"port": 1, "workers": 2, "host": "127.0.0.9"}})
    dotenv = home.folder / ".env"
    dotenv.write_text("# mine\nexport PORT=4 # four\nWEB_CONCURRENCY='3'\nPROXY_API_KEY=\"a$HOME#b\"\n\nEMPTY=\n")
    settings = home.load(dotenv, PORT="5")
    assert (settings.host, settings.workers, settings.port) == ("127.0.0.9", 3, 5)
    assert settings.api_key == "a$HOME#b"


def test_a_dotenv_line_that_is_none_is_a_problem_with_its_number(home: Home) -> None:
    dotenv = home.folder / ".env"
    dotenv.write_text("PORT=1\nPROXY_API_KEY: secret-thing\n")
    (key, message), *others = home.problems(dotenv).items()
    assert (key, message, others) == (f"{dotenv}, line 2", "must look like NAME=value.", [])


def test_a_missing_dotenv_file_is_fine(home: Home) -> None:
    assert home.load(home.folder / ".env").port == 3000


def test_secrets_show_in_no_representation_and_no_problem(home: Home) -> None:
    home.write({"users": [{"name": "ann", "apiKeyHash": f"sha256:aa:{'5ec7e7' + 58 * '0'}"}]})
    settings = home.load(PROXY_API_KEY="hidden-key", CODEX_TOKENS_JSON='{"access_token": "hidden-token"}')
    assert "hidden" not in repr(settings) and "5ec7e7" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        home.load(PROXY_API_KEY="hidden key", CODEX_TOKENS_JSON="hidden-token", PORT="hidden-port")
    assert "hidden" not in f"{caught.value} {caught.value!r}"


def test_the_error_reads_as_a_list_for_people(home: Home) -> None:
    with pytest.raises(SettingsError) as caught:
        home.load(PORT="x")
    assert str(caught.value) == ("One setting needs your attention:\n  PORT: must be a whole number from 0 to 65535.")


@pytest.mark.parametrize("key", ["DATA_DIR", "LOG_DIR"])
@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_where_a_folder_belongs_is_refused(home: Home, key: str, below: str) -> None:
    file = home.folder / "notes.txt"
    file.write_text("mine")
    problem = home.problems(**{key: str(file / below)})[key]
    assert f"because {file} is a file" in problem
    assert file.read_text() == "mine"


def test_the_settings_page_is_the_generated_one() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == render(), "run `make docs`"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["server", "port", "users", "name", "models", "providers", "x"]), inner, max_size=3
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_file_loads_or_is_refused_with_keys(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        load_settings({"HOME": "/nowhere", "CONFIG_PATH": str(path)})
    except SettingsError as error:
        assert error.problems
        assert all(problem.key and problem.message[-1] in ".?" for problem in error.problems)
