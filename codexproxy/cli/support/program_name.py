"""How the person at this terminal calls this program."""

import re
import shutil
import sys
from pathlib import Path

NAME = "codexproxy"
_UNSAFE = re.compile(r"[^\w@%+=:,./-]")
_MENTION = re.compile(rf"`{NAME} (?=\w)")


def program(prefix: str = sys.prefix, path: str | None = None, folder: Path | None = None) -> str:
    """The shortest way to call it that works here.

    Args:
        prefix: The environment it is installed in.
        path: Where the shell looks for programs; the environment's when omitted.
        folder: Where the person stands.
    """
    script = Path(prefix) / "bin" / NAME
    found = shutil.which(NAME, path=path)
    if found is not None and (not script.exists() or Path(found).samefile(script)):
        return NAME
    if not script.exists():
        return f"{_escaped(sys.executable)} -m {NAME}"
    here = folder or Path.cwd()
    # A checkout keeps its environment in .venv.
    return _escaped(str(script.relative_to(here) if script.is_relative_to(here) else script))


def _escaped(path: str) -> str:
    # Not in quotation marks, which would part the program's name from its command.
    return _UNSAFE.sub(r"\\\g<0>", path)


def as_typed(text: str) -> str:
    """A text of ours, with the commands it mentions as they can be typed here."""
    spelled = program()
    return text if spelled == NAME else _MENTION.sub(lambda mention: f"`{spelled} ", text)
