import os
import signal
import time
from pathlib import Path

from codexproxy.storage.files.locks import Leadership
from tests.patience import patient
from tests.storage.test_lock import python

CANDIDATE = """
    import sys, time
    from pathlib import Path
    from codexproxy.storage.files.locks import Leadership
    office = Leadership(Path(sys.argv[1]))
    print(office.is_leader(), flush=True)
    sys.stdin.read()
"""


def test_one_of_many_processes_leads_and_its_death_frees_the_office(tmp_path: Path) -> None:
    path = tmp_path / "refresh.leader"
    candidates = [python(CANDIDATE, path) for _ in range(3)]
    try:
        answers = [candidate.stdout.readline().strip() for candidate in candidates]  # type: ignore[union-attr]
        assert sorted(answers) == ["False", "False", "True"]
        office = Leadership(path)
        assert not office.is_leader()
        os.kill(candidates[answers.index("True")].pid, signal.SIGKILL)
        deadline = time.monotonic() + patient(10)
        while not office.is_leader():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        for candidate in candidates:
            candidate.kill()
            candidate.communicate()


def test_a_leader_stays_leader_until_it_resigns(tmp_path: Path) -> None:
    first, second = Leadership(tmp_path / "office"), Leadership(tmp_path / "office")
    assert first.is_leader()
    assert first.is_leader()
    assert not second.is_leader()
    first.resign()
    first.resign()
    assert second.is_leader()


def test_a_leaders_child_does_not_lead_and_does_not_unseat_its_parent(tmp_path: Path) -> None:
    office = Leadership(tmp_path / "office")
    assert office.is_leader()
    pid = os.fork()
    if pid == 0:
        os._exit(int(office.is_leader()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not Leadership(tmp_path / "office").is_leader()


def test_who_cannot_open_the_file_does_not_lead(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Leadership(tmp_path / "file" / "office").is_leader()
