"""What both transports tell in the same way: messages, reasoning, activities, the end.

A message of an agent is either said on the way (``commentary``) or its answer
(``final_answer``). Where the CLI does not tell which, a message is held back
until the next one or the end shows it, but only if that matters: always when it
comes whole, since the end follows at once, and else where the answer is JSON.
"""

from typing import Any

from codexproxy.protocol.events import Batch
from codexproxy.upstream.codex_cli.decode.activity import activity_of, began, ended
from codexproxy.upstream.codex_cli.decode.event_builder import Composer

Json = dict[str, Any]

COMMENTARY = "commentary"
FINAL = "final_answer"


class Reporter:
    """Tells a composer what happened.

    Args:
        composer: Makes the events.
        json_answer: Whether nothing but the answer may be told as a message.
        include_activity: Whether commands and file changes are told.
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
