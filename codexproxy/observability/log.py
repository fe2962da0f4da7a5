"""Log lines: ``[2025-01-06 10:30:00] [INFO] [req-id] message``, or one JSON object each.

Code logs with the standard library (``logging.getLogger(__name__)``); further
values of a line go through `fields`. Secrets are taken out of the finished
line, tracebacks included, so that no caller has to think of it.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import orjson

from codexproxy.observability.bodies import allow_bodies
from codexproxy.observability.daily_files import KEEP_DAYS, MAX_BYTES, DailyFiles
from codexproxy.observability.log_context import current_request_id
from codexproxy.observability.redaction import Redactor

LEVELS = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}

_NAMES = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}
_FIELDS = "codexproxy_fields"

# ECMA-48 §8.3.117: red, yellow, green, faint.
_COLOURS = {"ERROR": 31, "WARN": 33, "INFO": 32, "DEBUG": 2}

# One message is one line, also when it quotes what a client sent: C0 and C1 controls (ECMA-48), line separators,
# and what turns the direction of a text (Unicode UAX #9).
_CONTROL = (
    {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
    | {10: "\\n", 13: "\\r", 9: "\\t"}
    | {
        code: f"\\u{code:04x}"
        for code in (0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
    }
)
# A value that holds one of these could pass for the next field.
_AMBIGUOUS = re.compile(r'[\s="]')


def fields(**values: object) -> dict[str, Mapping[str, object]]:
    """Further values of a log line: ``log.info("request end", extra=fields(status=200))``.

    A value of None is left out.
    """
    return {_FIELDS: {name: value for name, value in values.items() if value is not None}}


class _Formatter(logging.Formatter):
    """What both forms share: the moment, the level, the request and the redaction."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self.redact = redact

    def values(self, record: logging.LogRecord) -> Mapping[str, Any]:
        return getattr(record, _FIELDS, {})

    def traceback(self, record: logging.LogRecord) -> str:
        if not (record.exc_info or record.stack_info):
            return ""
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        parts += [self.formatStack(record.stack_info)] if record.stack_info else []
        return self.redact("\n".join(parts))


class TextFormatter(_Formatter):
    """``[time] [LEVEL] [request-id] message name=value``, local time.

    Args:
        redact: Takes secrets out.
        coloured: Whether the level is coloured, for a terminal.
    """

    def __init__(self, redact: Redactor, coloured: bool = False) -> None:
        super().__init__(redact)
        self._colours = _COLOURS if coloured else {}

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        values = "".join(f" {name}={_quoted(str(value))}" for name, value in self.values(record).items())
        message = self.redact(record.getMessage() + values).translate(_CONTROL)
        level = level_name(record)
        colour = self._colours.get(level)
        shown = f"\x1b[{colour}m{level}\x1b[0m" if colour else level
        line = f"[{moment}] [{shown}] [{current_request_id()}] {message}"
        trace = self.traceback(record)
        return f"{line}\n{trace}" if trace else line


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if _AMBIGUOUS.search(value) else value


class JsonFormatter(_Formatter):
    """One JSON object per line: ``time`` (UTC), ``level``, ``request_id``, ``logger``, ``message``, further values."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{_utc(int(record.created))}.{int(record.msecs):03d}Z",
            "level": level_name(record).lower(),
            "request_id": current_request_id(),
            "logger": record.name,
            "message": self.redact(record.getMessage()),
        }
        for name, value in self.values(record).items():
            line.setdefault(name, self._plain(value))
        if trace := self.traceback(record):
            line["traceback"] = trace
        return _one_line(line)

    def _plain(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.redact(str(name)): self._plain(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(inner) for inner in value]
        return self.redact(str(value))


@lru_cache(maxsize=2)
def _utc(second: int) -> str:
    # Many lines fall into one second.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _one_line(values: dict[str, object]) -> str:
    # The quick way; where it would not be plain ASCII, which every console takes, the careful one.
    try:
        line = orjson.dumps(values)
    except TypeError:
        return json.dumps(values)
    return line.decode() if line.isascii() else json.dumps(values)


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream; a line that cannot be written never shows its content."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        complain(record)


def complain(record: logging.LogRecord) -> None:
    """Says that a log line was lost, and where it came from, but not what was in it."""
    kind = sys.exc_info()[0]
    reason = kind.__name__ if kind else "unknown"
    try:
        sys.__stderr__ and sys.__stderr__.write(f"A log line of {record.pathname}:{record.lineno} was lost: {reason}\n")
    except OSError:
        return  # nobody is left to tell


def level_name(record: logging.LogRecord) -> str:
    """``ERROR``, ``WARN``, ``INFO`` or ``DEBUG``."""
    return _NAMES.get(record.levelno, record.levelname)


def configure_logging(
    level: str = "info",
    format: str | None = None,
    *,
    directory: Path | None = None,
    keep_days: int = KEEP_DAYS,
    max_bytes: int = MAX_BYTES,
    bodies: bool = False,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Sets up logging for this process; calling it again replaces the earlier set-up.

    Args:
        level: ``error``, ``warn``, ``info`` or ``debug``, for the lines of codexproxy;
            of libraries only warnings and worse are shown.
        format: ``text`` or ``json``; None means text on a terminal and JSON elsewhere.
        directory: Where to write ``{date}-{level}.log`` files too; they hold text lines
            unless ``format`` is ``json``.
        keep_days: Days after which those files are removed.
        max_bytes: Bytes of all those files; the oldest are removed.
        bodies: Whether bodies of requests are logged at debug.
        secrets: Values that must not appear in any line.
        stream: Where console lines go, standard error by default.
    """
    # No line tells its thread or process, and a greenlet that is asked for its thread has to make one up first.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    redact = Redactor(secrets)
    target = stream or sys.stderr
    console = ConsoleHandler(target)
    form = format or ("text" if target.isatty() else "json")
    console.setFormatter(_formatter(form, redact, coloured=target.isatty()))
    handlers: list[logging.Handler] = [console]
    if directory is not None:
        files = DailyFiles(directory, on_error=complain, keep_days=keep_days, max_bytes=max_bytes)
        files.setFormatter(_formatter(format or "text", redact))
        handlers.append(files)
    _install(handlers, LEVELS[level])
    allow_bodies(bodies)


def _formatter(format: str, redact: Redactor, coloured: bool = False) -> logging.Formatter:
    return JsonFormatter(redact) if format == "json" else TextFormatter(redact, coloured)


def _install(handlers: list[logging.Handler], level: int) -> None:
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, ConsoleHandler | DailyFiles)]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("codexproxy").setLevel(level)
