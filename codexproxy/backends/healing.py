"""Applies what was learned of upstream's refusals, and learns more."""

from collections.abc import Callable
from dataclasses import replace

from codexproxy.backends.remedybook import RemedyBook
from codexproxy.errors import ProxyError
from codexproxy.turns.remedies import change, remedy_for
from codexproxy.turns.turn import Turn

# Where a turn keeps the remedies that it was changed by on its way.
_TRIED = "remedies"


class Healing:
    """Changes turns so that upstream takes them.

    Args:
        book: What is known already.
        official: A model's slug -> its official instructions, the best there are.
    """

    def __init__(self, book: RemedyBook, official: Callable[[str], str]) -> None:
        self._book = book
        self._official = official

    def prepare(self, turn: Turn) -> Turn:
        """The turn with all that its model is known to need."""
        for remedy in self._book.known(turn.body["model"]):
            turn = change(turn, remedy, self._official) or turn
        return turn

    def heal(self, turn: Turn, error: ProxyError) -> Turn | None:
        """A refused turn, changed by exactly what the refusal names; None when that is not possible."""
        remedy = remedy_for(error)
        healed = change(turn, remedy, self._official) if remedy else None
        if healed is None:
            return None
        return replace(healed, options={**healed.options, _TRIED: (*healed.options.get(_TRIED, ()), remedy)})

    def learn(self, turn: Turn) -> None:
        """Remembers what made upstream take a turn; what did not help is not worth keeping."""
        for remedy in turn.options.get(_TRIED, ()):
            if remedy.lasting:
                self._book.learn(turn.body["model"], remedy)
