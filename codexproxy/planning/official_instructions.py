"""The official instructions of each model: recognised in requests, and put into those that lack them.

Texts are compared without outer white space and with every line end as LF, because
clients and stores change those; what is sent keeps its exact bytes. The real
client leaves single lines out, those about tools that it does not offer in a
turn (seen in 0.169.0); nothing may be added.
"""

import re
import uuid
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol

from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS
from codexproxy.protocol.request import Body, Turn

# No known text is a tenth of this; longer ones are not worth hashing.
MAX_LENGTH = 1_000_000
_OPENING = re.compile(r"\S[^\r\n]*")
# Part of a text, by its length, that must be left of it.
LEAST_KEPT = 0.95

# The note on turns that official instructions were put into.
COMPLETED = "guard:completed"

_NAMESPACE = uuid.UUID("0b6f2c1e-6a0d-4d7b-9a83-5f0f3c6f7d21")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def normalize(text: str) -> str:
    """What two texts share when they differ only in line ends and outer white space."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def fingerprint(text: str) -> str:
    """A short name for all texts with the same ``plain`` form."""
    return sha256(normalize(text).encode("utf-8", "surrogatepass")).hexdigest()


def first_words(text: str) -> str:
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


class KnownInstructions:
    """A set of instruction texts that recognises copies.

    Args:
        texts: The texts themselves.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._known = {fingerprint(text): text for text in reversed([text for text in texts if text.strip()])}
        self._openings = {first_words(text) for text in self._known.values()}
        self._lines = {text: normalize(text).split("\n") for text in self._known.values()}

    def find(self, text: str) -> str | None:
        """The known text, byte for byte, that a text is a copy of; None for any other text."""
        if not self._known or len(text) > MAX_LENGTH or first_words(text) not in self._openings:
            return None
        found = self._known.get(fingerprint(text))
        if found is not None:
            return found
        lines = normalize(text).split("\n")
        return next((known for known, official in self._lines.items() if is_shortened(lines, official)), None)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.find(text) is not None

    def __len__(self) -> int:
        return len(self._known)


class InstructionSource(Protocol):
    """Where synchronised instructions are stored."""

    def stamp(self) -> Hashable:
        """Changes whenever the texts do; cheap enough for every request."""

    def load(self) -> Mapping[str, Sequence[str]]:
        """Texts by model, the one that is sent first; each byte for byte."""


@dataclass(frozen=True, slots=True)
class OfficialInstructions:
    """The official instructions of one moment.

    Attributes:
        official: The texts that the real client sends; our fallbacks while none were synchronised.
        known: All texts that no caller wrote: official ones and our fallbacks.
        texts: Model -> the text that is sent.
        fallbacks: Model family -> text of ours.
    """

    official: KnownInstructions
    known: KnownInstructions
    texts: Mapping[str, str]
    fallbacks: Mapping[str, str]

    @property
    def are_synchronised(self) -> bool:
        """Whether there are any but our fallbacks."""
        return bool(self.texts)

    def for_model(self, model: str) -> str:
        """A model's instructions: its own, else those of its closest relative, else a fallback; may be empty."""
        return closest(model, self.texts) or closest(model, self.fallbacks) or ""

    def inject(self, turn: Turn) -> Turn:
        """The turn with official instructions, the caller's own behind them, and one UUID as its identity.

        Official instructions that the turn brings are the ones that are sent, as they were synchronised.

        Args:
            turn: A planned turn.
        """
        body = dict(turn.body)
        given = body.get("instructions")
        own = given if isinstance(given, str) else ""
        body["input"], found = _without_official(list(body.get("input") or []), self.official)
        given_official = self.official.find(own)
        if given_official is not None or own == NEUTRAL_INSTRUCTIONS or own in self.known:
            own = ""
        official = found or given_official or self.for_model(str(body.get("model") or ""))
        body, key = _with_instructions(body, official, own), one_uuid(turn)
        return replace(turn, body={**body, "prompt_cache_key": key}, cache_key=key).with_notes(adapted=(COMPLETED,))


class InstructionCatalog:
    """The official instructions of every model, read again when they change.

    Args:
        store: The synchronised texts.
        fallbacks: Model family -> text of ours, until there are any.
    """

    def __init__(self, store: InstructionSource, fallbacks: Mapping[str, str]) -> None:
        self._store = store
        self._fallbacks = dict(fallbacks)
        self._stamp: Hashable = None
        ours = KnownInstructions(self._fallbacks.values())
        self._current = OfficialInstructions(ours, ours, {}, self._fallbacks)

    def current(self) -> OfficialInstructions:
        """The instructions of this moment."""
        stamp = self._store.stamp()
        if stamp != self._stamp:
            found = self._store.load()
            every = [text for texts in found.values() for text in texts]
            known = KnownInstructions([*every, *self._fallbacks.values()])
            first = {model: texts[0] for model, texts in found.items() if texts}
            official = KnownInstructions(every) if every else known
            self._current = OfficialInstructions(official, known, first, self._fallbacks)
            self._stamp = stamp
        return self._current

    def for_model(self, model: str) -> str:
        """See ``OfficialInstructions.for_model``."""
        return self.current().for_model(model)


def closest(model: str, texts: Mapping[str, str]) -> str | None:
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


def one_uuid(turn: Turn) -> str:
    """The conversation's UUID: its own where that is one, else one that stays the same for the conversation."""
    if _UUID.fullmatch(turn.cache_key):
        return turn.cache_key
    return str(uuid.uuid5(_NAMESPACE, f"{turn.caller.key}\n{turn.cache_key}"))


def instructions_of(body: Body) -> str:
    """The text a body opens with: its instructions, else its first developer message."""
    own = body.get("instructions")
    if isinstance(own, str) and own and own != NEUTRAL_INSTRUCTIONS:
        return own
    first = next((item for item in body.get("input") or [] if _is_developer(item)), None)
    return _text(first) if first else ""


def _with_instructions(body: Body, official: str, own: str) -> Body:
    items = body["input"]
    moved = [_developer(own)] if own else []
    if items and isinstance(items[0], dict) and items[0].get("type") == "additional_tools":
        # The lite shape has no instructions of its own: they open the input, behind the tools.
        return {**body, "instructions": "", "input": [items[0], _developer(official), *moved, *items[1:]]}
    return {**body, "instructions": official, "input": [*moved, *items]}


def _without_official(items: list[Any], genuine: KnownInstructions) -> tuple[list[Any], str]:
    for position, item in enumerate(items):
        if _is_developer(item):
            text = genuine.find(_text(item))
            return (items[:position] + items[position + 1 :], text) if text else (items, "")
    return items, ""


def _is_developer(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") == "developer" and item.get("type", "message") == "message"


def _text(item: Any) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _developer(text: str) -> Body:
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}
