import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from codexproxy.storage.files.locks import HostLock, LockTimeout
from tests.patience import patient


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Another process of this interpreter."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


HOLDER = """
    import sys
    from pathlib import Path
    from codexproxy.storage.files.locks import HostLock
    with HostLock(Path(sys.argv[1])).held(5):
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = python(HOLDER, tmp_path / "a.lock")
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lock_held_by_another_process_times_out_and_says_which(holder, tmp_path: Path) -> None:
    with pytest.raises(LockTimeout, match=r"a\.lock"), HostLock(tmp_path / "a.lock").held(0.05):
        pass


def test_zero_seconds_tries_once_without_sleeping(holder, tmp_path: Path) -> None:
    slept: list[float] = []
    with pytest.raises(LockTimeout), HostLock(tmp_path / "a.lock", sleep=slept.append).held(0):
        pass
    assert slept == []


def test_a_killed_holder_gives_the_lock_back(holder, tmp_path: Path) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    with HostLock(tmp_path / "a.lock").held(10):
        pass


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    with HostLock(tmp_path / "a.lock").held(1), pytest.raises(LockTimeout), HostLock(tmp_path / "a.lock").held(0.02):
        pass


def test_one_lock_excludes_threads_and_serves_them_one_after_the_other(tmp_path: Path) -> None:
    lock = HostLock(tmp_path / "a.lock")
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with lock.held(30):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(60))
    assert (inside, most) == (0, 1)


def test_opening_and_closing_the_file_elsewhere_does_not_drop_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with HostLock(path).held(1):
        path.open("rb").close()
        with pytest.raises(LockTimeout), HostLock(path).held(0.02):
            pass


def test_it_is_free_in_a_child_forked_while_it_was_held(tmp_path: Path) -> None:
    lock = HostLock(tmp_path / "a.lock")
    with lock.held(1):
        pid = os.fork()
        if pid == 0:
            try:
                with lock.held(30):
                    os._exit(0)
            finally:
                os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_folder_that_takes_no_file_can_still_be_locked(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    # Root may write everywhere, so the child stops being root; its paths are
    # relative because the folders above are closed to it then.
    child = python(
        """
        import os, sys
        from pathlib import Path
        from codexproxy.storage.files.locks import HostLock, LockTimeout
        os.chdir(sys.argv[1])
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            with HostLock(Path("a.lock")).held(1), HostLock(Path("a.lock")).held(0):
                pass
        except LockTimeout:
            print("excluded", os.listdir())
        """,
        tmp_path,
    )
    assert child.communicate(timeout=patient(30))[0] == "excluded []\n"


def test_a_waiting_greenlet_lets_the_others_of_its_process_run(holder, tmp_path: Path) -> None:
    # A process of its own, since patching cannot be undone.
    waiter = python(
        """
        from gevent import monkey; monkey.patch_all()
        import sys, gevent
        from pathlib import Path
        from codexproxy.storage.files.locks import HostLock, LockTimeout
        lock, ticks = HostLock(Path(sys.argv[1])), 0
        def wait():
            try:
                with lock.held(0.5): pass
            except LockTimeout:
                return "timeout"
        def tick():
            global ticks
            while True:
                gevent.sleep(0.01)
                ticks += 1
        waiting = [gevent.spawn(wait) for _ in range(3)]
        gevent.spawn(tick)
        gevent.joinall(waiting)
        print([w.value for w in waiting].count("timeout"), ticks > 15)
        """,
        tmp_path / "a.lock",
    )
    assert waiter.communicate(timeout=patient(30))[0] == "3 True\n"
