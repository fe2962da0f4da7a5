"""Nobody serves the world without a key by accident."""

import os
from pathlib import Path

import pytest

from codexproxy.settings import dangers, is_loopback_host, load_settings, refuse_public_bind

# A home without a config file.
EMPTY = {"HOME": "/nowhere"}

PRIVATE = [
    "127.0.0.1:3000",
    "127.8.9.1:3000",
    "localhost:3000",
    "LOCALHOST.:3000",
    "me.localhost:1",
    "[::1]:3000",
    "::1",
    "[::ffff:127.0.0.1]:3000",
    "tcp://127.0.0.1:3000",
    "unix:/run/codexproxy.sock",
    "unix:///run/codexproxy.sock",
]
PUBLIC = [
    "0.0.0.0:3000",
    "0:3000",
    ":3000",
    "",
    "[::]:3000",
    "::",
    "[::ffff:10.0.0.1]:3000",
    "192.168.1.7:3000",
    "tcp://0.0.0.0:3000",
    "localhost.example.com:3000",
    "box:3000",
    "fd://3",
]


@pytest.mark.parametrize("bind", PRIVATE)
def test_an_address_of_this_machine_only_needs_no_key(bind: str) -> None:
    assert refuse_public_bind(load_settings(EMPTY), [bind]) is None


@pytest.mark.parametrize("bind", PUBLIC)
def test_an_address_others_can_reach_is_refused_in_one_sentence(bind: str) -> None:
    sentence = refuse_public_bind(load_settings(EMPTY), ["127.0.0.1:1", bind])
    assert sentence is not None
    assert "PROXY_API_KEY" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("environ", [{"PROXY_API_KEY": "sixteen-letters!"}, {"ALLOW_UNAUTHENTICATED": "1"}])
def test_a_key_or_a_clear_word_opens_it(environ: dict[str, str]) -> None:
    assert refuse_public_bind(load_settings(EMPTY | environ), ["0.0.0.0:3000"]) is None


def test_a_user_counts_as_a_key_only_when_enabled_and_hashed(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("config") / "config.json"
    for users, refused in (
        ('[{"name": "ann", "apiKeyHash": "sha256:aa:%064d"}]', False),
        ('[{"name": "ann", "apiKeyHash": "sha256:aa:%064d", "isEnabled": false}]', True),
        ('[{"name": "ann"}]', True),
        ("[]", True),
    ):
        path.write_text(f'{{"users": {users}}}'.replace("%064d", "0" * 64))
        settings = load_settings(EMPTY | {"CONFIG_PATH": str(path)})
        assert (refuse_public_bind(settings, ["0.0.0.0:1"]) is not None) is refused


def test_names_and_numbers_that_only_look_like_loopback_do_not_count() -> None:
    assert not any(map(is_loopback_host, ["127.0.0.1.example.com", "1270.0.0.1", "2130706432", "", "localhostx"]))


@pytest.mark.parametrize(
    ("content", "is_a_key"),
    [
        ('{"users": [{"name": "ann", "apiKeyHash": "sha256:aa:bb", "isEnabled": true}]}', True),
        ('{"users": [{"name": "ann", "apiKeyHash": "sha256:aa:bb"}]}', True),
        ('{"users": [{"name": "ann", "apiKeyHash": "sha256:aa:bb", "isEnabled": false}]}', False),
        ('{"users": [{"name": "ann"}]}', False),
        ('{"users": []}', False),
        ('{"users": {"ann": 1}}', False),
        ('{"users": [1]}', False),
        ("[]", False),
        ("{", False),
        (None, False),
    ],
)
def test_a_key_of_the_key_file_counts_while_it_is_accepted(tmp_path: Path, content: str | None, is_a_key: bool) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_text(content)
    refusal = refuse_public_bind(load_settings({**EMPTY, "DATA_DIR": str(tmp_path)}), ["0.0.0.0:3000"])
    assert (refusal is None) is is_a_key
    assert is_a_key or "codexproxy keys add" in str(refusal)


def test_a_pipe_in_the_key_files_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "keys.json")
    settings = load_settings({**EMPTY, "DATA_DIR": str(tmp_path)})
    assert refuse_public_bind(settings, ["0.0.0.0:3000"])


@pytest.mark.parametrize("more", [{}, {"ALLOW_UNAUTHENTICATED": "1"}])
@pytest.mark.parametrize("key", ["0123", "fifteen-letters"])
def test_a_key_that_can_be_guessed_is_refused_where_others_can_reach_it(key: str, more: dict[str, str]) -> None:
    settings = load_settings({**EMPTY, **more, "PROXY_API_KEY": key})
    refusal = refuse_public_bind(settings, ["127.0.0.1:1", "0.0.0.0:3000"])
    assert refusal is not None
    assert "0.0.0.0:3000" in refusal and "16 characters" in refusal and "openssl rand" in refusal
    assert key not in refusal.split() and "\n" not in refusal
    assert refuse_public_bind(settings, ["127.0.0.1:3000", "unix:/run/x.sock"]) is None
    assert any("PROXY_API_KEY has fewer than 16" in danger for danger in dangers(settings))


def test_what_lets_others_in_is_named_and_nothing_else(tmp_path: Path) -> None:
    def words(**environ: str) -> list[str]:
        return [danger.split()[0] for danger in dangers(load_settings({**EMPTY, "DATA_DIR": str(tmp_path), **environ}))]

    long = "a-long-random-text"
    assert words() == words(PROXY_API_KEY=long) == words(PROXY_API_KEY=long, CORS_ALLOW_ORIGINS="*") == []
    assert words(CORS_ALLOW_ORIGINS="https://page.example") == []
    assert words(CORS_ALLOW_ORIGINS="*") == ["CORS_ALLOW_ORIGINS"]
    assert words(ALLOW_UNAUTHENTICATED="1", PROXY_API_KEY="k") == ["ALLOW_UNAUTHENTICATED", "PROXY_API_KEY"]
    (tmp_path / "keys.json").write_text('{"users": [{"name": "ann", "apiKeyHash": "sha256:aa:bb"}]}')
    assert words(CORS_ALLOW_ORIGINS="*") == []
