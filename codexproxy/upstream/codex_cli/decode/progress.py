"""The course of one turn of the Codex CLI, alike for both transports: messages, reasoning, activities, its end. Pure.

A message of an agent is either said on the way (``commentary``) or its answer
(``final_answer``). Where the CLI does not say which, a message is held back until the
next one or the end shows it, but only if that matters: always when it comes whole,
since the end follows at once, and else where the answer is JSON.

Activities are text for callers who ask (``x_codex.include_activity``), in one form:
``codex exec`` writes ``command_execution`` and ``aggregated_output`` where the
app-server writes ``commandExecution`` and ``aggregatedOutput``.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.observability.redaction import Redactor
from codexproxy.protocol.events import Batch
from codexproxy.protocol.numbers import moment, whole
from codexproxy.upstream.codex_cli.decode.error_mapping import (
    OFFLINE_REPORTS,
    failure_of_exit,
    failure_of_text,
    is_offline,
)
from codexproxy.upstream.codex_cli.decode.event_builder import Composer, usage_object

Json = dict[str, Any]


class Progress:
    """Whether a turn has begun, completed or failed.

    Args:
        composer: Makes the events.
        redact: Takes secrets out of error messages.
        now: Epoch seconds.

    Attributes:
        finished: Whether the turn has completed.
        failure: Why the turn failed; whoever feeds the decoder raises it once the events before it are delivered.
    """

    def __init__(self, composer: Composer, redact: Redactor, now: Callable[[], float] = time.time) -> None:
        self._composer = composer
        self._now = now
        self._resets: tuple[float, ...] = ()
        self._redact = redact
        self._begun = False
        self._offline = 0
        self._last_error = ""
        self.finished = False
        self.failure: ProxyError | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing that is said now counts any more."""
        return self.finished or self.failure is not None

    def begin(self) -> Batch:
        """The events that open an answer, once."""
        if self._begun:
            return []
        self._begun = True
        return self._composer.begin()

    def windows(self, limits: Json) -> None:
        """Takes what the app-server says of the account's windows."""
        rows = [object_of(limits.get(name)).get("resetsAt") for name in ("primary", "secondary")]
        self._resets = tuple(told for told in map(moment, rows) if told is not None)

    def mention(self, message: str) -> None:
        """Takes an error that need not be the last word ("Reconnecting… 2/5"); too many such are one."""
        self._last_error = message
        self._offline += is_offline(message)
        if self._offline >= OFFLINE_REPORTS:
            self.fail(message)

    def fail(self, message: str, kind: Any = None) -> None:
        """Takes the word that the turn failed; the last error mentioned stands in for a message that is missing.

        Args:
            message: What the CLI said.
            kind: Its ``codexErrorInfo``, where it gave one.
        """
        text = message or self._last_error
        self.failure = failure_of_text(text, self._redact, kind, now=self._now(), resets=self._resets)

    def ended(self, status: int | None, stderr: str) -> ProxyError | None:
        """What it means that the CLI says nothing more; None when all is well.

        Args:
            status: Its exit status; None while it still runs.
            stderr: The end of what it complained about.
        """
        if not self.is_over and self._last_error:
            self.fail(self._last_error)
        return self.failure if self.is_over else failure_of_exit(status, stderr, self._redact)


def usage_of(counts: Json, names: Sequence[str]) -> Json:
    """The CLI's token counts in the form of the terminal event.

    Args:
        counts: What it counted.
        names: Its names for input, cached input, cache writes, output and reasoning.
    """
    return usage_object(*(whole(counts.get(name)) for name in names))


def object_of(value: Any) -> Json:
    """An object of a message; empty where the CLI wrote something else."""
    return value if isinstance(value, dict) else {}


# Most characters of a command's output that are shown.
OUTPUT_SHOWN = 4000

_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def activity_of(item: Json) -> Json | None:
    """The item in its plain form, when it reports an activity."""
    plain = _plain(item)
    return plain if plain.get("type") in _WORDS else None


def began(activity: Json) -> str:
    """The text that is shown when it begins."""
    return _WORDS[activity["type"]][0](activity)


def ended(activity: Json) -> str:
    """The text that is shown when it has ended."""
    return _WORDS[activity["type"]][1](activity)


def _plain(item: Json) -> Json:
    plain = {_snake(key): value for key, value in item.items()}
    return {**plain, "type": _snake(str(item.get("type", "")))}


def _snake(name: str) -> str:
    return _CAPITAL.sub(lambda found: "_" + found[1].lower(), name)


def _command(item: Json) -> str:
    return f"$ {_text(item.get('command'))}\n"


def _command_end(item: Json) -> str:
    output, status = _text(item.get("aggregated_output")), item.get("exit_code")
    shown = output[-OUTPUT_SHOWN:]
    dropped = f"[{len(output) - len(shown)} characters left out]\n" if len(output) > len(shown) else ""
    newline = "" if not shown or shown.endswith("\n") else "\n"
    ending = f"[exit {status}]" if status is not None else _status(item)
    return f"{dropped}{shown}{newline}{ending}"


def _changes(item: Json) -> str:
    changes = item.get("changes")
    lines = [_change(change) for change in changes if isinstance(change, dict)] if isinstance(changes, list) else []
    return "".join(f"{line}\n" for line in lines)


def _change(change: Json) -> str:
    # The app-server says {"kind": {"type": "add"}}.
    kind = change.get("kind")
    word = kind.get("type") if isinstance(kind, dict) else kind
    return f"{_text(word)} {_text(change.get('path'))}"


def _status(item: Json) -> str:
    return f"[{_text(item.get('status')) or 'done'}]"


def _tool(item: Json) -> str:
    return f"tool {_text(item.get('server'))}.{_text(item.get('tool'))}\n"


def _search(item: Json) -> str:
    return f"web search: {_text(item.get('query'))}\n"


def _todo(item: Json) -> str:
    entries = item.get("items")
    steps = [step for step in entries if isinstance(step, dict)] if isinstance(entries, list) else []
    return "".join(f"[{'x' if step.get('completed') else ' '}] {_text(step.get('text'))}\n" for step in steps)


def _nothing(item: Json) -> str:
    return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


# Type of an item -> what is shown when it begins and what is added at its end.
_WORDS: dict[str, tuple[Callable[[Json], str], Callable[[Json], str]]] = {
    "command_execution": (_command, _command_end),
    "file_change": (_changes, _status),
    "mcp_tool_call": (_tool, _status),
    "collab_tool_call": (_tool, _status),
    "collab_agent_tool_call": (_tool, _status),
    "web_search": (_nothing, _search),
    "todo_list": (_nothing, _todo),
}


COMMENTARY = "commentary"
FINAL = "final_answer"


class Reporter:
    """Tells a composer what happened.

    Args:
        composer: Makes the events.
        json_answer: Whether nothing but the answer may be told as a message.
        include_activity: Whether commands and file changes are shown.
    """

    def __init__(self, composer: Composer, *, json_answer: bool = False, include_activity: bool = False) -> None:
        self._composer = composer
        self._json_answer = json_answer
        self._include_activity = include_activity
        self._begun: set[str] = set()
        self._held: tuple[str, str] | None = None

    def hold(self, key: str, text: str) -> Batch:
        """A whole message of which nobody knows yet whether it is the answer."""
        events = self.release(COMMENTARY)
        self._held = (key, text)
        return events

    def release(self, phase: str) -> Batch:
        """The message that was held back, now that its phase is known."""
        if self._held is None:
            return []
        (key, text), self._held = self._held, None
        return self.message(key, text, phase)

    def delta(self, key: str, text: str, phase: str | None) -> Batch:
        """Further text of a message whose phase is known, or does not matter."""
        if self._json_answer and phase != FINAL:
            return []
        return self.release(COMMENTARY) + self._composer.message_delta(key, text, phase)

    def message(self, key: str, text: str, phase: str | None) -> Batch:
        """A message at its end."""
        if self._json_answer and phase == COMMENTARY:
            return []
        return self.release(COMMENTARY) + self._composer.message_done(key, text, phase)

    def knows_better(self, phase: str | None) -> bool:
        """Whether a finished message has to be held back."""
        return self._json_answer and phase is None

    def activity(self, item: Json, *, finished: bool) -> Batch:
        """A command, a file change and the like: told as reasoning, so that no client takes it for a call."""
        activity = activity_of(item) if self._include_activity else None
        if activity is None:
            return []
        key = f"activity:{activity.get('id')}"
        events: Batch = []
        if key not in self._begun:
            self._begun.add(key)
            events += self._composer.reasoning_delta(key, 0, began(activity))
        if not finished:
            return events
        self._begun.discard(key)
        events += self._composer.reasoning_delta(key, 0, ended(activity))
        return events + self._composer.reasoning_done(key, [], activity)

    def complete(self, usage: Json | None) -> Batch:
        """The end of the answer."""
        return self.release(FINAL) + self._composer.complete(usage)
