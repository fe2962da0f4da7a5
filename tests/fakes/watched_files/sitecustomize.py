"""A host that notes who opens SQLite's files: Python finds this at its start when the folder is in ``PYTHONPATH``.

Opening is what Python code does; SQLite opens its files by itself, which no audit event tells. The
file that ``WATCHED_FILES`` names gets a line for each such opening.
"""

import os
import re
import sys
import traceback
from typing import Any

_DATABASE = re.compile(r"[^/]\.(?:sqlite3|sqlite|db)(?:-wal|-shm|-journal)?$")
_NOTES = os.environ.get("WATCHED_FILES", "")
_FOLDER = os.environ.get("DATA_DIR", "")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    path = os.fsdecode(arguments[0])
    # What prometheus-client counts in is below another folder, and no database.
    if not path.startswith(_FOLDER) or not _DATABASE.search(path):
        return
    caller = traceback.extract_stack(limit=4)[0]
    with open(_NOTES, "a") as notes:
        notes.write(f"{path} by {caller.filename}:{caller.lineno}\n")


if _NOTES and _FOLDER:
    sys.addaudithook(_watch)
