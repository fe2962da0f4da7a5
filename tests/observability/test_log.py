"""Log lines have the promised form, know their request and never hold a secret."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from codexproxy.observability.bodies import SHOWN, log_body
from codexproxy.observability.log import configure_logging, fields
from codexproxy.observability.log_context import NO_REQUEST, bind_request_id
from tests.patience import patient

log = logging.getLogger("codexproxy.tests")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was before the test, and no request that an earlier one served in this process."""
    bind_request_id(NO_REQUEST)
    root, ours = logging.getLogger(), logging.getLogger("codexproxy")
    before = (root.handlers[:], root.level, ours.level)
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def written(form: str | None, **options: object) -> io.StringIO:
    stream = io.StringIO()
    configure_logging("debug", form, stream=stream, **options)  # type: ignore[arg-type]
    return stream


def test_a_text_line_holds_time_level_request_and_message() -> None:
    stream = written("text")

    def serve() -> None:
        bind_request_id("req-7")
        log.warning("upstream is %s", "slow", extra=fields(status=200, model=None))

    copy_context().run(serve)
    assert re.fullmatch(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \[WARN\] \[req-7\] upstream is slow status=200\n", stream.getvalue()
    )


def test_outside_of_a_request_the_id_is_a_dash() -> None:
    stream = written("text")
    log.info("started")
    assert "[INFO] [-] started" in stream.getvalue()


def test_a_json_line_is_one_object() -> None:
    stream = written("json")
    log.error("request end", extra=fields(status=502, ms=1.5, model="gpt-5.2"))
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "error",
        "request_id": "-",
        "logger": "codexproxy.tests",
        "message": "request end",
        "status": 502,
        "ms": 1.5,
        "model": "gpt-5.2",
    }


def test_without_a_chosen_form_a_terminal_gets_text_and_a_pipe_json() -> None:
    for stream, first in ((Terminal(), "["), (io.StringIO(), "{")):
        configure_logging("info", None, stream=stream)
        log.info("hello")
        assert stream.getvalue().startswith(first)


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_vanish_from_messages_values_and_tracebacks(form: str) -> None:
    stream = written(form, secrets=["our-own-key"])
    try:
        raise RuntimeError("Bearer abcdef.ghijkl with our-own-key")
    except RuntimeError:
        log.exception("failed with %s", "rt_secretsecret", extra=fields(header="eyJhbGciOi.abc.def"))
    shown = stream.getvalue()
    assert "RuntimeError" in shown
    assert not re.search("ghijkl|our-own-key|secretsecret|abc.def", shown)


def test_a_message_cannot_forge_a_second_line() -> None:
    stream = written("text")
    log.info("model %s", "x\n[2025-01-06 10:30:00] [ERROR] [-] forged\r\x1b[31m")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


# What turns a terminal, or a reader's eye: C1 controls, line separators, marks of direction.
TRICKS = "\x9b31m\x85\u2028\u2029\u202e\u2066\u200f\ufeff\x7f"


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_byte_of_a_callers_steers_the_terminal(form: str) -> None:
    stream = written(form)
    log.info("GET %s", f"/a{TRICKS}", extra=fields(path=f"/b{TRICKS}"))
    line = stream.getvalue().removesuffix("\n")
    assert line.isprintable()
    assert not set(TRICKS) & set(line) - {"3", "1", "m"}


def test_a_value_cannot_pass_for_another_field() -> None:
    stream = written("text")
    log.info("request end", extra=fields(path='/x" status=200', code="a=b", status=404))
    assert stream.getvalue().endswith(r'request end path="/x\" status=200" code="a=b" status=404' + "\n")


def test_a_line_that_cannot_be_formatted_is_reported_without_its_content() -> None:
    program = """
import logging
from codexproxy.observability.log import configure_logging
configure_logging("info", "text")
logging.getLogger("codexproxy.x").info("two %s %s", "hidden-thing")
"""
    # A process of its own: the test runner's handlers would raise instead.
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=patient(60)
    )
    assert "was lost: TypeError" in done.stderr
    assert "hidden-thing" not in done.stderr


def test_libraries_are_heard_from_warnings_on_only() -> None:
    stream = written("text")
    logging.getLogger("urllib3").info("noise")
    logging.getLogger("urllib3").warning("signal")
    assert "noise" not in stream.getvalue()
    assert "signal" in stream.getvalue()


def test_setting_up_twice_writes_each_line_once() -> None:
    written("text")
    stream = written("text")
    log.info("once")
    assert stream.getvalue().count("once") == 1


def test_files_part_the_lines_by_level_and_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    written("text", directory=folder)
    log.info("for info")
    log.error("for error")
    files = {path.name[11:]: path for path in folder.iterdir()}
    assert set(files) == {"info.log", "error.log"}
    assert "[INFO] [-] for info" in files["info.log"].read_text()
    assert all(path.stat().st_mode & 0o077 == 0 for path in files.values())


def test_files_hold_the_bracket_form_unless_json_was_chosen(tmp_path: Path) -> None:
    for form, first in ((None, "["), ("json", "{")):
        folder = tmp_path / str(form)
        written(form, directory=folder)
        log.info("hello")
        assert next(folder.iterdir()).read_text().startswith(first)


def test_a_folder_that_cannot_be_written_costs_no_console_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    stream = written("text", directory=blocked)
    log.info("still here")
    assert "still here" in stream.getvalue()


def _write_many(folder: Path, name: str) -> None:
    configure_logging("info", "text", directory=folder, stream=io.StringIO())
    for number in range(300):
        log.info("%s %d %s", name, number, "x" * 500)


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    context = get_context("spawn")
    processes = [context.Process(target=_write_many, args=(tmp_path, f"p{number}")) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(patient(60))
    lines = next(tmp_path.iterdir()).read_text().splitlines()
    assert len(lines) == 900
    assert all(re.fullmatch(r"\[.{19}\] \[INFO\] \[-\] p\d \d+ x{500}", line) for line in lines)


def test_a_terminal_gets_the_level_in_colour_and_a_file_never(tmp_path: Path) -> None:
    terminal = Terminal()
    configure_logging("info", None, stream=terminal, directory=tmp_path)
    log.error("broken")
    assert "[\x1b[31mERROR\x1b[0m] [-] broken" in terminal.getvalue()
    assert "[ERROR] [-] broken" in next(tmp_path.iterdir()).read_text()


def test_files_older_than_they_are_kept_are_removed_and_no_others(tmp_path: Path) -> None:
    days = [(date.today() - timedelta(days=ago)).isoformat() for ago in range(5)]
    for day in days:
        (tmp_path / f"{day}-info.log").touch()
    for other in ("2001-01-01-info.log.gz", "notes.txt", "2001-01-01.log"):
        (tmp_path / other).touch()
    written("text", directory=tmp_path, keep_days=3)
    log.info("a new day")
    kept = {f"{day}-info.log" for day in days[:3]}
    assert {path.name for path in tmp_path.iterdir()} == kept | {
        "2001-01-01-info.log.gz",
        "notes.txt",
        "2001-01-01.log",
    }


def test_bodies_are_logged_only_when_asked_for_redacted_and_cut() -> None:
    body = {"api_key": "sk-abcdefghijklmnop", "input": "x" * 3 * SHOWN}
    stream = written("text")
    log_body("request body", body)
    assert stream.getvalue() == ""
    stream = written("text", bodies=True)
    log_body("request body", body)
    log_body("upstream error body", b'{"detail": "no \xff"}')
    first, second = stream.getvalue().splitlines()
    assert "[DEBUG] [-] request body: {" in first
    assert "sk-abc" not in first
    assert SHOWN < len(first) < SHOWN + 200
    assert first.endswith("bytes more")
    assert "upstream error body" in second


def test_a_folder_that_takes_no_log_files_is_complained_of_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    program = f"""
import logging, os
from pathlib import Path
from codexproxy.observability.log import configure_logging
folder = Path({str(folder)!r})
folder.write_text("a file is in the way")
configure_logging("info", "text", directory=folder)
for _ in range(50):
    logging.getLogger("codexproxy.x").info("a line")
folder.unlink()
logging.getLogger("codexproxy.x").info("at last")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=patient(60)
    )
    assert done.stderr.count("was lost") == 1
    assert done.stderr.count("a line") == 50
    assert ["at last" in path.read_text() for path in folder.iterdir()] == [True]
