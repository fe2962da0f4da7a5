"""Log files stay within their bytes, whoever writes them, and lose nothing that fits."""

import logging
import re
from collections.abc import Callable
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path

from codexproxy.observability.daily_files import DailyFiles
from tests.patience import patient

LIMIT = 160_000


def lost(record: logging.LogRecord) -> None:
    raise AssertionError(f"a line was lost: {record.getMessage()}")


def write(folder: Path, lines: int, max_bytes: int, name: str = "", watch: Callable[[], None] = lambda: None) -> None:
    files = DailyFiles(folder, lost, max_bytes=max_bytes)
    for number in range(lines):
        level = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)[number % 4]
        files.handle(logging.LogRecord("x", level, __file__, 1, f"{name}{number:06d}{'.' * 90}", None, None))
        watch()
    files.close()


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_all_files_together_never_have_more_than_they_may(tmp_path: Path) -> None:
    largest = 0

    def watch() -> None:
        nonlocal largest
        largest = max(largest, size(tmp_path))

    write(tmp_path, 5_000, LIMIT, watch=watch)
    # Each of the four files may be one line over its share.
    assert LIMIT * 0.7 < largest <= LIMIT + 400
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\d-(error|warn|info|debug)(\.\d+)?\.log", p.name) for p in tmp_path.iterdir()
    )


def test_what_is_forgotten_is_the_oldest(tmp_path: Path) -> None:
    days = [(date.today() - timedelta(days=ago)).isoformat() for ago in (1, 2, 3)]
    for day in days:
        (tmp_path / f"{day}-info.log").write_bytes(b"x" * (LIMIT // 3))
    write(tmp_path, 4, LIMIT)
    kept = {path.name[:10] for path in tmp_path.iterdir()}
    assert kept == {date.today().isoformat(), *days[:2]}
    write(tmp_path, 5_000, LIMIT)
    numbers = sorted(int(line[:6]) for path in tmp_path.iterdir() for line in path.read_text().splitlines())
    assert numbers[-800:] == list(range(4_200, 5_000))


def test_several_processes_part_their_files_without_losing_or_mixing_a_line(tmp_path: Path) -> None:
    context = get_context("spawn")
    processes = [context.Process(target=write, args=(tmp_path, 2_000, 2**20, f"p{n} ")) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(patient(60))
        assert process.exitcode == 0
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert len(list(tmp_path.iterdir())) > 8
    assert sorted(line[:9] for line in lines) == [f"p{n} {i:06d}" for n in range(3) for i in range(2_000)]
    assert all(re.fullmatch(r"p\d \d{6}\.{90}", line) for line in lines)
    # Others go on in a file that has its share while whoever renames it is interrupted.
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 2 * 2**20 // 16


def test_a_file_that_somebody_removed_is_begun_anew(tmp_path: Path) -> None:
    files = DailyFiles(tmp_path, lost, max_bytes=16 * 300)
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "y" * 200, None, None)
    files.handle(record)
    files.handle(record)
    next(tmp_path.iterdir()).unlink()
    files.handle(record)
    assert next(tmp_path.iterdir()).read_text() == "y" * 200 + "\n"
    files.close()
