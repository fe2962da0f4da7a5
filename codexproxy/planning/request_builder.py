"""A turn on its way through the plan."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from codexproxy.planning.context import AS_SENT
from codexproxy.protocol.request import Turn


class Draft:
    """What the steps of a plan change; the turn itself stays as it came.

    Args:
        turn: The turn to be planned.

    Attributes:
        body: A body of its own; what the body holds belongs to the turn and is replaced, never changed.
        options: The turn's options, to be added to.
        cache_key: Identity of the conversation, once it is settled.
        tool_names: Name sent upstream -> the caller's own.
        as_sent: Whether nothing is added that the client did not ask for.
    """

    __slots__ = ("_adapted", "_ignored", "as_sent", "body", "cache_key", "caller", "options", "tool_names", "turn")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.caller = turn.caller
        self.body = dict(turn.body)
        self.options: dict[str, Any] = dict(turn.options)
        self.cache_key = turn.cache_key
        self.tool_names = turn.tool_names
        self.as_sent = bool(turn.options.get(AS_SENT))
        self._ignored = list(turn.ignored)
        self._adapted = list(turn.adapted)

    def ignore(self, names: Iterable[str]) -> None:
        """Notes fields that are not honoured."""
        self._ignored += names

    def adapt(self, *notes: str) -> None:
        """Notes what was changed."""
        self._adapted += notes

    def planned(self, model: str) -> Turn:
        """The turn as the steps left it; a note is kept once, in order.

        Args:
            model: The model's name as answers echo it.
        """
        return replace(
            self.turn,
            model=model,
            body=self.body,
            options=self.options,
            cache_key=self.cache_key,
            tool_names=self.tool_names,
            ignored=tuple(dict.fromkeys(self._ignored)),
            adapted=tuple(dict.fromkeys(self._adapted)),
        )
