"""Which texts are official instructions.

Compared without outer white space and with every line end as LF, because
clients and stores change those; what is sent keeps its exact bytes. The real
client leaves single lines out, those about tools that it does not offer in a
turn (seen in 0.169.0); nothing may be added.
"""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Protocol

# No known text is a tenth of this; longer ones are not worth hashing.
MAX_LENGTH = 1_000_000
_OPENING = re.compile(r"\S[^\r\n]*")
# Part of a text, by its length, that must be left of it.
LEAST_KEPT = 0.95


def plain(text: str) -> str:
    """What two texts share when they differ only in line ends and outer white space."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def fingerprint(text: str) -> str:
    """A short name for all texts with the same ``plain`` form."""
    return sha256(plain(text).encode("utf-8", "surrogatepass")).hexdigest()


def opening(text: str) -> str:
    """The first line with anything in it, by which nearly all other texts are told apart at once."""
    found = _OPENING.search(text)
    return found[0].rstrip() if found else ""


def is_shortened(lines: Sequence[str], official: Sequence[str]) -> bool:
    """Whether lines are official ones in their order, of which hardly any are missing."""
    if not official or len(lines) > len(official) or lines[:1] != official[:1]:
        return False
    if sum(map(len, lines)) < LEAST_KEPT * sum(map(len, official)):
        return False
    rest = iter(official)
    return all(line in rest for line in lines)


class OfficialTexts:
    """The official instructions known at this moment.

    Args:
        texts: The texts themselves.
        stand_ins: Whether they are only ours, because none were synchronised yet.
    """

    def __init__(self, texts: Iterable[str] = (), *, stand_ins: bool = False) -> None:
        self._known = {fingerprint(text): text for text in reversed([text for text in texts if text.strip()])}
        self._openings = {opening(text) for text in self._known.values()}
        self._lines = {text: plain(text).split("\n") for text in self._known.values()}
        self.stand_ins = stand_ins

    def find(self, text: str) -> str | None:
        """The known text, byte for byte, that a text is a copy of; None when it is none."""
        if not self._known or len(text) > MAX_LENGTH or opening(text) not in self._openings:
            return None
        found = self._known.get(fingerprint(text))
        if found is not None:
            return found
        lines = plain(text).split("\n")
        return next((known for known, official in self._lines.items() if is_shortened(lines, official)), None)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.find(text) is not None

    def __len__(self) -> int:
        return len(self._known)


class TextStore(Protocol):
    """Where synchronised instructions are kept."""

    def stamp(self) -> Hashable:
        """Changes whenever the texts do; cheap enough for every request."""

    def load(self) -> Mapping[str, Sequence[str]]:
        """Texts by model, the one that is sent first; each byte for byte."""


class Library:
    """Official instructions of every model, and our stand-ins until there are any.

    Args:
        store: The synchronised texts.
        stand_ins: Model family -> text of ours.
    """

    def __init__(self, store: TextStore, stand_ins: Mapping[str, str]) -> None:
        self._store = store
        self._stand_ins = dict(stand_ins)
        self._stamp: Hashable = None
        self._texts: Mapping[str, str] = {}
        self._official = self._known = OfficialTexts(self._stand_ins.values(), stand_ins=True)

    def current(self) -> OfficialTexts:
        """The texts by which the real client is recognised; the stand-ins while none were synchronised."""
        stamp = self._store.stamp()
        if stamp != self._stamp:
            found = self._store.load()
            every = [text for texts in found.values() for text in texts]
            self._texts = {model: texts[0] for model, texts in found.items() if texts}
            self._known = OfficialTexts([*every, *self._stand_ins.values()], stand_ins=not every)
            self._official = OfficialTexts(every) if every else self._known
            self._stamp = stamp
        return self._official

    def known(self) -> OfficialTexts:
        """All texts that are no caller's own words: the stand-ins, too."""
        self.current()
        return self._known

    def for_model(self, model: str) -> str:
        """A model's instructions: its own, else those of its nearest relative, else a stand-in's; may be empty."""
        self.current()
        return nearest(model, self._texts) or nearest(model, self._stand_ins) or ""


def nearest(model: str, texts: Mapping[str, str]) -> str | None:
    """The text of the name that shares the most words with a model's; of equals the last in order.

    Names of one kind, with ``codex`` in them or without, are nearer than others.
    """
    if model in texts:
        return texts[model]
    if not texts:
        return None

    def closeness(name: str) -> tuple[bool, int, str]:
        return ("codex" in name) == ("codex" in model), _shared_words(name, model), name

    return texts[max(texts, key=closeness)]


def _shared_words(one: str, other: str) -> int:
    count = 0
    for word, twin in zip(one.split("-"), other.split("-"), strict=False):
        if word != twin:
            break
        count += 1
    return count
