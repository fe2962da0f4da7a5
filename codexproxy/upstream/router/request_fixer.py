"""Applies what was learned of upstream's refusals, and learns more."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from codexproxy.errors import ProxyError
from codexproxy.planning.model_catalog import ModelSpec
from codexproxy.protocol.request import Turn
from codexproxy.upstream.router.fix_store import Lesson, RemedyBook
from codexproxy.upstream.router.lessons import is_lesson, kind_of
from codexproxy.upstream.router.request_fixes import Remedy, change, remedy_for


@dataclass(frozen=True, slots=True)
class _Course:
    # The turn before anything was changed, and what each provider's refusals asked for.
    origin: Turn
    tried: tuple[tuple[str, Remedy], ...] = ()


class Healing:
    """Changes turns so that upstream takes them.

    Args:
        book: What is known already.
        official: A model's slug -> its official instructions, the best there are.
        spec_of: A model's slug -> what the catalogue knows of it.
    """

    def __init__(
        self,
        book: RemedyBook,
        official: Callable[[str], str],
        spec_of: Callable[[str], ModelSpec | None] = lambda slug: None,
    ) -> None:
        self._book = book
        self._official = official
        self._spec_of = spec_of

    def prepare(self, turn: Turn, provider: str) -> Turn:
        """The turn with all that this provider is known to want of such turns."""
        origin = _course_of(turn).origin
        for remedy, kind in self._book.known(provider, origin.body["model"]):
            if kind == kind_of(origin, remedy):
                turn = change(turn, remedy, self._official) or turn
        return turn

    def heal(self, turn: Turn, error: ProxyError, provider: str) -> Turn | None:
        """A refused turn, changed by exactly what the refusal names; None when that is not possible."""
        remedy = remedy_for(error)
        healed = change(turn, remedy, self._official) if remedy else None
        if remedy is None or healed is None:
            return None
        before = _course_of(turn)
        course = replace(before, tried=(*before.tried, (provider, remedy)))
        return replace(healed, execution=replace(healed.execution, fixes=course))

    def learn(self, turn: Turn, provider: str) -> None:
        """Remembers what made a provider take a turn; what did not help is not worth keeping."""
        course = _course_of(turn)
        for refused_by, remedy in course.tried:
            model = course.origin.body["model"]
            if refused_by == provider and is_lesson(remedy, course.origin, self._spec_of(model)):
                self._book.learn(Lesson(provider, model, kind_of(course.origin, remedy), remedy))


def _course_of(turn: Turn) -> _Course:
    course = turn.execution.fixes
    return course if isinstance(course, _Course) else _Course(turn)
