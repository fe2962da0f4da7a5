"""What workers counted survives them, in one file per kind, whoever reads or dies meanwhile."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from codexproxy.observability.metrics_compaction import Counted
from tests.patience import patient

# A worker that counts, and one that is killed half-way through a fold.
WORKER = """
import sys
from prometheus_client import Counter, Gauge, Histogram
Counter("turns", "Turns.", ["model"]).labels(sys.argv[1]).inc(int(sys.argv[2]))
Histogram("seconds", "Seconds.", buckets=(1, 2)).observe(1.5)
Gauge("running", "Now.", multiprocess_mode="livesum").set(1)
"""


def work(folder: Path, model: str = "a", times: int = 1) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    subprocess.run([sys.executable, "-c", WORKER, model, str(times)], env=environ, check=True)


def page(counted: Counted) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(counted)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def databases(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.db") if not path.name.startswith("gauge"))


def test_the_sums_are_the_same_before_and_after_however_often_it_is_folded(tmp_path: Path) -> None:
    counted = Counted(tmp_path)
    for round in range(3):
        for model, times in (("a", 2), ("b", 5)):
            work(tmp_path, model, times)
        before = page(counted)
        assert counted.sweep() == 4
        assert page(counted) == before
        assert databases(tmp_path) == ["counter_folded.db", "histogram_folded.db"]
        assert before['turns_total{model="a"}'] == 2 * (round + 1)
        assert before['seconds_bucket{le="2.0"}'] == before["seconds_count"] == 2 * (round + 1)
        assert before['seconds_bucket{le="1.0"}'] == 0
    assert counted.sweep() == 0


def test_the_living_keep_their_files(tmp_path: Path) -> None:
    work(tmp_path)
    counted = Counted(tmp_path, lives=lambda pid: True)
    assert counted.sweep() == 0
    assert len(databases(tmp_path)) == 2
    assert Counted(tmp_path).sweep() == 2


def test_an_empty_folder_is_an_empty_page(tmp_path: Path) -> None:
    assert Counted(tmp_path).sweep() == 0
    assert page(Counted(tmp_path)) == {}


def test_a_file_that_its_worker_has_just_made_is_read_past(tmp_path: Path) -> None:
    work(tmp_path)
    before = page(Counted(tmp_path))
    for name in (f"counter_{os.getpid()}.db", f"histogram_{2**22 + 1}.db"):
        (tmp_path / name).touch()
    assert page(Counted(tmp_path)) == before
    assert Counted(tmp_path).sweep() == 3
    assert page(Counted(tmp_path)) == before


class Stopped(BaseException):
    """The end of the process."""


class Killed(Counted):
    """One whose process is killed when it begins to remove what a fold replaced."""

    def __init__(self, folder: Path, removed: int) -> None:
        super().__init__(folder)
        self._left = removed

    def _remove(self, fold: Path | None) -> None:
        if fold is None:
            return
        for name in sorted((fold / "replaced").read_text().split("\n"))[: self._left]:
            (self._folder / name).unlink()
        raise Stopped


@pytest.mark.parametrize("removed", [0, 1, 3, 4])
def test_a_fold_that_is_killed_half_way_counts_nothing_twice(tmp_path: Path, removed: int) -> None:
    work(tmp_path, "a", 2)
    work(tmp_path, "b", 3)
    before = page(Counted(tmp_path))
    with pytest.raises(Stopped):
        Killed(tmp_path, removed).sweep()
    assert page(Counted(tmp_path)) == before
    assert Counted(tmp_path).sweep() == 0
    assert page(Counted(tmp_path)) == before
    assert len(databases(tmp_path)) == 2


def test_a_draft_that_was_never_finished_is_none(tmp_path: Path) -> None:
    work(tmp_path)
    before = page(Counted(tmp_path))
    draft = tmp_path / "fold-1.draft"
    draft.mkdir()
    (draft / "counter_folded.db").write_bytes(b"garbage")
    assert page(Counted(tmp_path)) == before
    assert Counted(tmp_path).sweep() == 2
    assert page(Counted(tmp_path)) == before


def test_whoever_reads_while_others_fold_always_sees_everything(tmp_path: Path) -> None:
    counted = Counted(tmp_path)
    for _ in range(4):
        work(tmp_path)
    before = page(counted)
    templates = {path.name: path.read_bytes() for path in tmp_path.glob("*.db")}
    seen: list[float] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.append(page(counted)['turns_total{model="a"}'])

    def fold(files: Iterable[str]) -> None:
        for name in files:
            # A worker ends: its file appears whole under a new number.
            draft = tmp_path / "draft"
            draft.write_bytes(templates[name])
            draft.rename(tmp_path / name)
        assert counted.sweep()

    reader = threading.Thread(target=read)
    reader.start()
    counters = [name for name in templates if name.startswith("counter")]
    for _ in range(60):
        fold(counters[:1])
    over.set()
    reader.join(patient(30))
    # Each end adds one; nobody ever sees less than before.
    assert seen == sorted(seen)
    assert page(counted)['turns_total{model="a"}'] == before['turns_total{model="a"}'] + 59
