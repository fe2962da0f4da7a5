"""What every place that keeps a login promises; each store runs this suite."""

import threading

import pytest

from codexproxy.login.tokens.file_store import TokenStore
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.storage.files.locks import LockTimeout
from tests.fakes.jwt import make_jwt
from tests.patience import patient


def a_login(serial: int = 1) -> Tokens:
    """A login that survives a round trip through any format."""
    access = make_jwt(exp=1_900_000_000, iat=1_800_000_000, jti=serial)
    return Tokens.from_json(
        {
            "access_token": access,
            "refresh_token": f"rt_{serial}",
            "id_token": make_jwt(),
            "expires_at": 1_900_000_000_000,
            "updated_at": 1_800_000_000_000,
        }
    )


class TokenStoreContract:
    """Subclasses provide the fixture ``store``: an empty one."""

    def test_an_empty_store_holds_none_and_has_no_version(self, store: TokenStore) -> None:
        assert store.load() is None
        assert store.version() is None

    def test_what_was_saved_is_loaded(self, store: TokenStore) -> None:
        store.save(a_login())
        assert store.load() == a_login()

    def test_the_version_changes_with_every_save_and_only_then(self, store: TokenStore) -> None:
        seen = []
        for serial in range(5):
            store.save(a_login(serial))
            seen.append(store.version())
            assert store.version() == seen[-1]
        assert len(set(seen)) == 5

    def test_delete_forgets_and_may_be_called_twice(self, store: TokenStore) -> None:
        store.save(a_login())
        store.delete()
        store.delete()
        assert store.load() is None
        assert store.version() is None

    def test_the_lock_keeps_others_out_until_it_is_given_back(self, store: TokenStore) -> None:
        outcome: list[str] = []

        def intrude() -> None:
            try:
                with store.lock(0):
                    outcome.append("entered")
            except LockTimeout:
                outcome.append("refused")

        with store.lock(1):
            thread = threading.Thread(target=intrude)
            thread.start()
            thread.join(patient(10))
        with store.lock(1):
            pass
        assert outcome == ["refused"]

    def test_the_lock_is_given_back_after_a_failure(self, store: TokenStore) -> None:
        with pytest.raises(ValueError), store.lock(1):
            raise ValueError
        with store.lock(0):
            pass

    def test_it_says_what_it_is_called_and_whether_its_token_is_ours_to_spend(self, store: TokenStore) -> None:
        assert store.name
        assert isinstance(store.refreshes, bool)
