"""The key file: added, rotated, disabled and removed keys take effect at once and survive anything."""

import json
import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codexproxy.access.key_file import KeyFile
from codexproxy.access.keys import KeyRing, is_well_formed
from codexproxy.errors import AuthenticationFailed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


def test_an_absent_file_has_no_users(path: Path) -> None:
    assert list(KeyFile(path).users()) == []
    assert not path.parent.exists()


def test_an_added_key_opens_the_service_of_another_process_at_once(path: Path) -> None:
    ring = KeyRing(source=KeyFile(path))
    assert not ring.configured
    key = KeyFile(path).add("ann", ratePerMinute=5, models=["gpt-5.2"], allowedClients=["codex-cli"])
    identity = ring.identify(key)
    assert is_well_formed(key)
    assert (identity.name, identity.limits.rate_per_minute) == ("ann", 5)
    assert (identity.models, identity.allowed_clients) == (("gpt-5.2",), ("codex-cli",))


def test_the_file_is_private_and_holds_no_key(path: Path) -> None:
    key = KeyFile(path).add("ann")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert "apiKeyHash" not in json.dumps(KeyFile(path).records())


def test_rotating_ends_the_old_key_and_keeps_the_rest(path: Path) -> None:
    file = KeyFile(path)
    ring = KeyRing(source=file)
    old = file.add("ann", tokensPerDay=7)
    new = file.rotate("ann")
    assert ring.identify(new).limits.tokens_per_day == 7
    with pytest.raises(AuthenticationFailed):
        ring.identify(old)


def test_a_disabled_key_is_refused_until_it_is_enabled_again(path: Path) -> None:
    file = KeyFile(path)
    ring = KeyRing(source=file)
    key = file.add("ann")
    file.disable("ann")
    with pytest.raises(AuthenticationFailed):
        ring.identify(key)
    file.disable("ann", disabled=False)
    assert ring.identify(key).name == "ann"


def test_a_removed_key_is_refused(path: Path) -> None:
    file = KeyFile(path)
    ring = KeyRing(source=file, is_public=True)
    key = file.add("ann")
    assert ring.identify(key).keyed
    file.remove("ann")
    with pytest.raises(AuthenticationFailed):
        ring.identify(key)


@pytest.mark.parametrize("name", ["ann", "", "  ", "default", "anonymous"])
def test_a_name_must_be_new_and_nobody_elses(path: Path, name: str) -> None:
    file = KeyFile(path)
    file.add("ann")
    with pytest.raises(ValueError, match="name"):
        file.add(name)
    assert [user.name for user in file.users()] == ["ann"]


@pytest.mark.parametrize("change", [KeyFile.rotate, KeyFile.disable, KeyFile.remove])
def test_an_unknown_name_is_told(path: Path, change: object) -> None:
    with pytest.raises(KeyError, match="nobody"):
        change(KeyFile(path), "nobody")  # type: ignore[operator]


def test_a_field_of_the_wrong_type_is_refused_before_it_is_written(path: Path) -> None:
    with pytest.raises(ValueError, match="ratePerMinute"):
        KeyFile(path).add("ann", ratePerMinute=True)
    assert not path.exists()


def test_unknown_fields_survive_a_change(path: Path) -> None:
    file = KeyFile(path)
    file.add("ann", note="for the editor")
    file.rotate("ann")
    assert json.loads(path.read_text())["users"][0]["note"] == "for the editor"


@pytest.mark.parametrize(
    "change",
    [{"name": "default"}, {"name": " "}, {"ratePerMinute": 0}, {"tokensPerDay": -1}, {"maxParallel": 0}],
)
def test_an_edit_that_would_give_more_than_was_meant_is_not_taken(path: Path, change: dict[str, object]) -> None:
    KeyFile(path).add("ann", ratePerMinute=5, tokensPerDay=5, maxParallel=5)
    document = json.loads(path.read_text())
    document["users"][0].update(change)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=next(iter(change)).removesuffix("PerMinute")):
        KeyFile(path).users()


def test_a_file_saved_with_a_byte_order_mark_is_read(path: Path) -> None:
    KeyFile(path).add("ann")
    path.write_text(path.read_text(), "utf-8-sig")
    assert [user.name for user in KeyFile(path).users()] == ["ann"]


@pytest.mark.parametrize("garbage", ["", "{", "[]", '{"users": 3}', '{"users": [{"name": "x"}]}', '{"users": [1]}'])
def test_a_file_that_breaks_keeps_the_keys_known_before(path: Path, garbage: str) -> None:
    file = KeyFile(path)
    ring = KeyRing(source=file)
    key = file.add("ann")
    assert ring.identify(key).keyed
    path.write_text(garbage)
    assert ring.identify(key).keyed
    with pytest.raises(AuthenticationFailed):
        ring.identify(None)


def test_a_key_that_was_removed_while_no_file_could_be_opened_ends_with_the_next_request(path: Path) -> None:
    file, ring = KeyFile(path), KeyRing(source=KeyFile(path))
    kept, removed = file.add("ann"), file.add("bob")
    assert ring.identify(removed).name == "bob"
    file.remove("bob")
    with no_descriptors_left():
        assert ring.identify(kept).keyed
    with pytest.raises(AuthenticationFailed):
        ring.identify(removed)


@pytest.mark.parametrize(
    "name", ["ann\nbob   enabled", "\x1b[2Kann", "an\u200bn", "\u202enna", " ann", "ann ", "a" * 101]
)
def test_a_name_that_nobody_could_tell_from_another_is_refused(path: Path, name: str) -> None:
    file = KeyFile(path)
    file.add("Änne's notebook")
    with pytest.raises(ValueError, match="at most 100 characters that can be seen"):
        file.add(name)
    assert [record["name"] for record in file.records()] == ["Änne's notebook"]


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """As in a worker that holds as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_was_never_readable_is_an_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ValueError, match=r"keys\.json"):
        KeyFile(path).users()


def test_a_pipe_in_the_files_place_is_an_error_and_no_wait(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(OSError, match="it is a pipe, not a file"):
        KeyFile(path).users()


def test_keys_added_at_the_same_time_are_all_kept(path: Path) -> None:
    threads = [threading.Thread(target=lambda n=n: KeyFile(path).add(f"user {n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {user.name for user in KeyFile(path).users()} == {f"user {n}" for n in range(8)}
