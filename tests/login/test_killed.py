"""``kill -9`` at every moment of a refresh leaves the newest pair that was written, and it can be read."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Tokens
from tests.fakes.issuer import FakeIssuer
from tests.patience import patient

# A process that refreshes once, and dies at the moment that was named.
REFRESHER = """
import os, signal, sys
from pathlib import Path
from codexproxy.login.credentials import Credentials
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Grant
from tests.fakes.disk import FatalDisk

path, moment, access = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def die(here):
    if here == moment:
        os.kill(os.getpid(), signal.SIGKILL)

class Issuer:
    def refresh(self, refresh_token, reason):
        die("before the call")
        answer = Grant(access_token=access, refresh_token="rt_new")
        die("after the answer")
        return answer

Credentials(FileTokenStore(path, disk=FatalDisk(moment)), Issuer()).current()
die("at the end")
"""

BEFORE_THE_RENAME = ["before the call", "after the answer", "before write", "in write", "before flush", "before rename"]
AFTER_THE_RENAME = ["after rename", "after flush_folder", "at the end"]


def ended_login(path: Path) -> tuple[Tokens, Tokens]:
    """A stored pair that has ended, and the one that follows it."""
    issuer = FakeIssuer(time.time, lifetime=-1.0)
    old = issuer.login()
    FileTokenStore(path).save(old)
    # As a running service has done before; the moments are those of the renewal.
    FileTokenStore(path).reserve()
    issuer.lifetime = 1000.0
    return old, issuer.login()


@pytest.mark.parametrize("moment", BEFORE_THE_RENAME + AFTER_THE_RENAME)
def test_a_kill_at_any_moment_leaves_the_newest_pair_that_was_written(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "tokens.json"
    old, new = ended_login(path)
    command = [sys.executable, "-c", REFRESHER, str(path), moment, new.access_token]
    assert subprocess.run(command, timeout=patient(60), check=False).returncode == -signal.SIGKILL
    stored = FileTokenStore(path).load()
    assert stored is not None
    written = new if moment in AFTER_THE_RENAME else old
    assert stored.access_token == written.access_token
    # The lock went with the process, and what it left behind stops nobody.
    assert subprocess.run([*command[:-2], "never", new.access_token], timeout=patient(60), check=False).returncode == 0
    stored = FileTokenStore(path).load()
    assert stored is not None and stored.access_token == new.access_token


WRITER = """
import itertools, sys
from pathlib import Path
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Tokens
store = FileTokenStore(Path(sys.argv[1]))
for serial in itertools.count(int(sys.argv[2])):
    with store.lock(10):
        store.save(Tokens(access_token="a" * (serial % 5000 + 1), refresh_token=str(serial)))
    print(serial, flush=True)
"""


def test_a_kill_at_random_moments_never_loses_a_pair_that_was_written(tmp_path: Path) -> None:
    path, written, chance = tmp_path / "tokens.json", 0, random.Random(7)
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(written + 1)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        written = int(rest[-1]) if rest else written + 1
        serial = int(json.loads(path.read_text())["refresh_token"])
        # At most the one pair between its write and our hearing of it is newer.
        assert written <= serial <= written + 1
        written = serial


GREENLET = """
from gevent import monkey; monkey.patch_all()
import sys, gevent, time
from gevent.event import Event
from pathlib import Path
from codexproxy.login.credentials import Credentials
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Grant

asked, answer = Event(), Event()

class Issuer:
    def refresh(self, refresh_token, reason):
        asked.set()
        answer.wait()
        return Grant(access_token=sys.argv[2], refresh_token="rt_new")

store = FileTokenStore(Path(sys.argv[1]))
credentials = Credentials(store, Issuer())
request = gevent.spawn(credentials.current)
asked.wait()
request.kill()
answer.set()
assert credentials.settle(10)
print(store.load().refresh_token)
"""


def test_a_request_killed_while_it_refreshes_does_not_lose_the_pair(tmp_path: Path) -> None:
    """The client went away; the issuer has rotated all the same."""
    path = tmp_path / "tokens.json"
    _, new = ended_login(path)
    command = [sys.executable, "-c", GREENLET, str(path), new.access_token]
    assert subprocess.run(command, capture_output=True, text=True, timeout=patient(60), check=True).stdout == "rt_new\n"
