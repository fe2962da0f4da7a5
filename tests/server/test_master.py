"""What gunicorn's master may not do."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

import pytest

from bench.process import tree
from tests.service import ROOT, Service

# Modules that must be imported after gevent's patches, or after the folder of the metrics is made.
LATE = ("urllib3", "requests", "flask", "prometheus_client", "codexproxy.app")


def test_the_master_imports_nothing_that_has_to_come_later() -> None:
    script = f"import codexproxy.gunicorn.config, sys; print([name for name in {LATE!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def few_open_files() -> Iterator[None]:
    """A limit as a shell has it, for processes started meanwhile."""
    before = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
    yield
    setrlimit(RLIMIT_NOFILE, before)


def test_the_workers_may_open_as_many_files_as_the_system_permits(
    few_open_files: None, serve: Callable[..., Service]
) -> None:
    service = serve()
    assert service.process is not None
    most = str(getrlimit(RLIMIT_NOFILE)[1])
    for pid in tree(service.process.pid):
        limits = Path(f"/proc/{pid}/limits").read_text()
        (line,) = [line.split() for line in limits.splitlines() if line.startswith("Max open files")]
        assert line[3:5] == [most, most]
