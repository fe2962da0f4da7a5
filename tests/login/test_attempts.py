import subprocess
import sys
import threading
from pathlib import Path

import pytest

from codexproxy.login.oauth.pending_logins import Attempt, Attempts
from tests.fakes.issuer import FakeClock
from tests.patience import patient


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def attempts(tmp_path: Path, clock: FakeClock):
    attempts = Attempts(tmp_path / "logins.db", clock)
    yield attempts
    attempts.close()


def attempt(state: str, clock: FakeClock, lasts: float = 300) -> Attempt:
    return Attempt(
        state, f"verifier of {state}", "http://localhost:1455/auth/callback", "url", int((clock.now + lasts) * 1000)
    )


def test_an_attempt_is_claimed_once(attempts: Attempts, clock: FakeClock) -> None:
    attempts.add(attempt("one", clock))
    assert attempts.claim("one") == attempt("one", clock)
    assert attempts.claim("one") is None


def test_a_wrong_state_ends_no_attempt(attempts: Attempts, clock: FakeClock) -> None:
    attempts.add(attempt("one", clock))
    for forged in ("", "two", "ONE", "one ", "on", "oneé"):
        assert attempts.claim(forged) is None
    assert attempts.pending() == 1
    assert attempts.claim("one")


def test_an_attempt_ends_with_its_time(attempts: Attempts, clock: FakeClock) -> None:
    attempts.add(attempt("one", clock, lasts=10))
    clock.now += 9.999
    assert attempts.pending() == 1
    clock.now += 0.001
    assert attempts.pending() == 0
    assert attempts.claim("one") is None


def test_without_a_state_the_newest_is_meant(attempts: Attempts, clock: FakeClock) -> None:
    attempts.add(attempt("old", clock))
    attempts.add(attempt("new", clock))
    claimed = attempts.claim(None)
    assert claimed is not None
    assert claimed.state == "new"
    assert attempts.claim("old")
    assert attempts.claim(None) is None


def test_an_attempt_of_one_process_is_claimed_in_another(attempts: Attempts, clock: FakeClock, tmp_path: Path) -> None:
    attempts.add(attempt("one", clock))
    code = (
        "import sys; from pathlib import Path; from codexproxy.login.oauth.pending_logins import Attempts;"
        "print(Attempts(Path(sys.argv[1]), lambda: float(sys.argv[2])).claim('one').verifier)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "logins.db"), str(clock.now)]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=patient(30)).stdout
        == "verifier of one\n"
    )
    assert attempts.claim("one") is None


def test_of_many_who_claim_one_attempt_at_once_one_gets_it(attempts: Attempts, clock: FakeClock) -> None:
    attempts.add(attempt("one", clock))
    claimed: list[Attempt | None] = []
    threads = [threading.Thread(target=lambda: claimed.append(attempts.claim("one"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(30))
    assert sum(one is not None for one in claimed) == 1
    assert len(claimed) == 10


def test_repr_shows_no_secret(clock: FakeClock) -> None:
    assert "one" not in repr(attempt("one", clock))
