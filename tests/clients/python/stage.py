"""Plays scenes for tests: one JSON object a line in, one out; see ``tests/clients/player.py``."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

Scene = Callable[..., Any]


def told_of(error: Exception) -> dict[str, Any]:
    """What a user of the client can read from its exception."""
    fields = {name: getattr(error, name, None) for name in ("status_code", "code", "param", "type")}
    return {**fields, "kind": fields["type"], "type": type(error).__name__, "message": str(error)}


def perform(scenes: dict[str, Scene]) -> None:
    """Plays what is asked for until there is nothing more; nothing else reaches the standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"result": scenes[asked["scene"]](**asked["args"])}
        # Whatever a client raises is what the test wants to know.
        except Exception as error:
            traceback.print_exc()
            answer = {"raised": told_of(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
