"""The official instructions of each model: recognised in requests, and put into those that lack them.

Texts are compared without outer white space and with every line end as LF, because
clients and stores change those; what is sent keeps its exact bytes. The real
client leaves single lines out, those about tools that it does not offer in a
turn (seen in 0.169.0); nothing may be added.
"""

import re
import uuid
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Protocol

from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS
from codexproxy.protocol.request import Body, Turn

# No known text is a tenth of this; longer ones are not worth hashing.
MAX_LENGTH = 1_000_000
_OPENING = re.compile(r"\S[^\r\n]*")
# Part of a text, by its length, that must be left of it.
LEAST_KEPT = 0.95


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
    """The official instructions known at this moment.

    Args:
        texts: The texts themselves.
        fallbacks: Whether they are only ours, because none were synchronised yet.
    """

    def __init__(self, texts: Iterable[str] = (), *, fallbacks: bool = False) -> None:
        self._known = {fingerprint(text): text for text in reversed([text for text in texts if text.strip()])}
        self._openings = {first_words(text) for text in self._known.values()}
        self._lines = {text: normalize(text).split("\n") for text in self._known.values()}
        self.fallbacks = fallbacks

    def find(self, text: str) -> str | None:
        """The known text, byte for byte, that a text is a copy of; None when it is none."""
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
    """Where synchronised instructions are kept."""

    def stamp(self) -> Hashable:
        """Changes whenever the texts do; cheap enough for every request."""

    def load(self) -> Mapping[str, Sequence[str]]:
        """Texts by model, the one that is sent first; each byte for byte."""


class InstructionCatalog:
    """Official instructions of every model, and our stand-ins until there are any.

    Args:
        store: The synchronised texts.
        fallbacks: Model family -> text of ours.
    """

    def __init__(self, store: InstructionSource, fallbacks: Mapping[str, str]) -> None:
        self._store = store
        self._fallbacks = dict(fallbacks)
        self._stamp: Hashable = None
        self._texts: Mapping[str, str] = {}
        self._official = self._known = KnownInstructions(self._fallbacks.values(), fallbacks=True)

    def current(self) -> KnownInstructions:
        """The texts by which the real client is recognised; the stand-ins while none were synchronised."""
        stamp = self._store.stamp()
        if stamp != self._stamp:
            found = self._store.load()
            every = [text for texts in found.values() for text in texts]
            self._texts = {model: texts[0] for model, texts in found.items() if texts}
            self._known = KnownInstructions([*every, *self._fallbacks.values()], fallbacks=not every)
            self._official = KnownInstructions(every) if every else self._known
            self._stamp = stamp
        return self._official

    def known(self) -> KnownInstructions:
        """All texts that are no caller's own words: the stand-ins, too."""
        self.current()
        return self._known

    def for_model(self, model: str) -> str:
        """A model's instructions: its own, else those of its nearest relative, else a stand-in's; may be empty."""
        self.current()
        return closest(model, self._texts) or closest(model, self._fallbacks) or ""


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


_NAMESPACE = uuid.UUID("0b6f2c1e-6a0d-4d7b-9a83-5f0f3c6f7d21")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

COMPLETED = "guard:completed"


def inject_instructions(turn: Turn, official: str, genuine: KnownInstructions, ours: Container[str] = ()) -> Turn:
    """The turn with official instructions, the caller's own behind them, and one UUID as its identity.

    Official instructions that are there already are the ones that are sent, as they were synchronised.

    Args:
        turn: A planned turn.
        official: The model's official instructions, sent byte for byte.
        genuine: All official instructions.
        ours: Texts that stood in for the caller's words; they are dropped.
    """
    body = dict(turn.body)
    given = body.get("instructions")
    own = given if isinstance(given, str) else ""
    body["input"], found = _without_official(list(body.get("input") or []), genuine)
    given_official = genuine.find(own)
    if given_official is not None:
        official, own = given_official, ""
    elif own == NEUTRAL_INSTRUCTIONS or own in ours:
        own = ""
    body = _with_instructions(body, found or official, own)
    key = one_uuid(turn)
    return replace(turn, body={**body, "prompt_cache_key": key}, cache_key=key).with_notes(adapted=(COMPLETED,))


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
