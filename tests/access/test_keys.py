"""Keys: who is let in, by which header, and what is stored of a key."""

from dataclasses import dataclass, replace

import pytest

from codexproxy.access.key_file import FileUser
from codexproxy.access.keys import KeyRing, hash_key, is_well_formed, matches, new_key, parse_hash, presented_key
from codexproxy.errors import AuthenticationFailed, ProxyError

KEY = "cpx_0123456789"
ANN = FileUser(name="ann", api_key_hash=hash_key("ann-key"), models=("gpt-5.2",), rate_per_minute=3)


@dataclass
class Roll:
    """A user source whose users a test changes."""

    people: tuple[FileUser, ...] = ()

    def users(self) -> tuple[FileUser, ...]:
        return self.people


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer abc"}, "abc"),
        ({"authorization": "bearer  abc "}, "abc"),
        ({"x-api-key": "abc"}, "abc"),
        ({"api-key": " abc "}, "abc"),
        ({"authorization": "Basic dXNlcg==", "x-api-key": "abc"}, "abc"),
        ({"authorization": "Bearer", "api-key": "abc"}, "abc"),
        ({"authorization": "Bearer first", "x-api-key": "second"}, "first"),
        ({"authorization": "abc"}, None),
        ({"x-api-key": "  "}, None),
        ({}, None),
        ({"x-api-key": "schlüssel".encode().decode("latin-1")}, "schlüssel"),
    ],
)
def test_the_presented_key_is_found_in_any_of_three_headers(headers: dict[str, str], key: str | None) -> None:
    assert presented_key(headers) == key


@pytest.mark.parametrize("presented", [None, "", "anything"])
def test_without_any_key_everybody_is_anonymous_whatever_they_present(presented: str | None) -> None:
    identity = KeyRing().identify(presented)
    assert (identity.name, identity.keyed) == ("anonymous", False)


def test_the_one_key_identifies_its_holder() -> None:
    identity = KeyRing(api_key=KEY).identify(KEY)
    assert identity.keyed
    assert identity.allowed_clients == ()
    assert identity.may_use("any model")


@pytest.mark.parametrize("presented", [None, "", "wrong", KEY + "x", KEY[:-1], KEY.upper(), "ключ", "\udc80"])
def test_a_missing_or_wrong_key_is_refused_with_a_next_step(presented: str | None) -> None:
    with pytest.raises(AuthenticationFailed) as refusal:
        KeyRing(api_key=KEY).identify(presented)
    assert (refusal.value.status, refusal.value.code) == (401, "invalid_api_key")
    assert "key" in refusal.value.message.lower()
    assert KEY not in refusal.value.message


def test_a_named_user_brings_limits_and_models() -> None:
    identity = KeyRing(users=[ANN]).identify("ann-key")
    assert identity.name == "ann"
    assert identity.limits.rate_per_minute == 3
    assert identity.may_use("gpt-5.2")
    assert not identity.may_use("gpt-5.1")


def test_the_one_key_and_named_users_work_side_by_side() -> None:
    ring = KeyRing(api_key=KEY, users=[ANN])
    assert [ring.identify(key).name for key in (KEY, "ann-key")] == ["default", "ann"]


def test_a_disabled_user_is_refused_and_does_not_open_the_service() -> None:
    ring = KeyRing(users=[replace(ANN, enabled=False)])
    assert ring.configured
    for presented in ("ann-key", None):
        with pytest.raises(AuthenticationFailed):
            ring.identify(presented)


def test_a_user_without_a_hash_has_no_key_that_could_match() -> None:
    @dataclass(frozen=True)
    class Keyless(FileUser):
        api_key_hash: str | None = None  # type: ignore[assignment]

    ring = KeyRing(users=[Keyless(name="bob")])
    for presented in (None, "", "None"):
        with pytest.raises(AuthenticationFailed):
            ring.identify(presented)


@pytest.mark.parametrize(("presented", "name"), [(None, "anonymous"), ("wrong", "anonymous"), ("ann-key", "ann")])
def test_allow_unauthenticated_takes_any_key_and_still_knows_the_valid_ones(presented: str | None, name: str) -> None:
    assert KeyRing(users=[ANN], allow_unauthenticated=True).identify(presented).name == name


def test_users_of_a_source_come_and_go_while_the_ring_lives() -> None:
    roll = Roll()
    ring = KeyRing(source=roll)
    assert not ring.configured
    roll.people = (ANN,)
    assert ring.identify("ann-key").name == "ann"
    roll.people = (replace(ANN, api_key_hash=hash_key("newer")),)
    with pytest.raises(AuthenticationFailed):
        ring.identify("ann-key")


def test_removing_the_last_key_does_not_open_a_public_service() -> None:
    roll = Roll((ANN,))
    ring = KeyRing(source=roll, is_public=True)
    assert ring.configured
    roll.people = ()
    with pytest.raises(AuthenticationFailed):
        ring.identify(None)


def test_a_worker_that_starts_after_the_last_key_is_gone_opens_no_public_service() -> None:
    ring = KeyRing(source=Roll(), is_public=True)
    with pytest.raises(AuthenticationFailed):
        ring.identify(None)
    assert not KeyRing(source=Roll(), is_public=True, allow_unauthenticated=True).configured
    ring.is_public = False  # as is known once it listens
    assert not ring.configured


def test_removing_the_last_key_leaves_a_private_service_as_it_was_before() -> None:
    roll = Roll((ANN,))
    ring = KeyRing(source=roll)
    assert ring.configured
    roll.people = ()
    assert ring.identify("ann-key").name == "anonymous"
    assert not ring.configured
    roll.people = (replace(ANN, enabled=False),)
    with pytest.raises(AuthenticationFailed):
        ring.identify("ann-key")


@pytest.mark.parametrize("role", ["", "root", "Admin", "admin "])
def test_a_role_that_does_not_exist_is_an_error_at_the_start(role: str) -> None:
    with pytest.raises(ValueError, match="user, metrics, admin"):
        KeyRing(users=[replace(ANN, role=role)])


@pytest.mark.parametrize("name", ["", " ", "default", "anonymous"])
def test_a_user_cannot_have_a_name_under_which_others_are_counted(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        KeyRing(users=[replace(ANN, name=name)])


def test_two_users_are_told_apart_by_their_keys_alone() -> None:
    users = [replace(ANN, name=f"user {n}", api_key_hash=hash_key(f"key {n}")) for n in range(20)]
    ring = KeyRing(users=users)
    assert [ring.identify(f"key {n}").name for n in range(20)] == [user.name for user in users]


def test_new_keys_differ_and_carry_a_checksum_that_scanners_can_check() -> None:
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    assert all(key.startswith("cpx_") and is_well_formed(key) for key in keys)
    changed = next(iter(keys))[:-1] + "!"
    assert not is_well_formed(changed)
    assert not is_well_formed("cpx_short")


def test_a_stored_hash_is_salted_and_does_not_hold_the_key() -> None:
    stored = hash_key(KEY)
    assert stored != hash_key(KEY)
    assert KEY not in stored
    assert matches(KEY, stored)
    assert not matches(KEY + " ", stored)


@pytest.mark.parametrize("stored", ["", "abc", "md5:00:11", "sha256::" + "0" * 64, "sha256:zz:" + "0" * 64, KEY])
def test_a_hash_of_another_form_is_an_error_at_the_start(stored: str) -> None:
    with pytest.raises(ValueError):
        parse_hash(stored)
    if stored:
        with pytest.raises(ValueError):
            KeyRing(users=[replace(ANN, api_key_hash=stored)])


class UnreadableSource:
    """A key file that was never readable."""

    def users(self) -> tuple[FileUser, ...]:
        raise ValueError("keys.json is not valid JSON")


def test_while_the_keys_cannot_be_read_nobody_is_let_in() -> None:
    ring = KeyRing(source=UnreadableSource())
    for presented in (None, "any"):
        with pytest.raises(ProxyError, match="cannot be read") as caught:
            ring.identify(presented)
        assert "keys.json" not in caught.value.message
    with pytest.raises(ProxyError):
        assert ring.configured
