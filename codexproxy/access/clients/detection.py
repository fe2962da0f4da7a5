"""Which client asks, by the marks of its request."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from codexproxy.access.clients.headers import Headers, values_of
from codexproxy.access.clients.profiles import BY_NAME, CLAUDE_CLI, CODEX_CLI, PROFILES, UNKNOWN, Profile
from codexproxy.access.instructions.catalog import OfficialTexts

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CLAUDE_USER = re.compile(r'_session_[0-9a-f-]{36}$|"session_id"')
_CLAUDE_PROMPT = "You are Claude Code, Anthropic's official CLI for Claude"

# Old form with an underscore and new form with a hyphen (docs/reference/requests.md#headers-of-a-turn).
SESSION_IDS = ("session-id", "session_id")
CONVERSATION_IDS = ("thread-id", "thread_id", "conversation-id", "conversation_id")
# Where other clients put the id of their conversation.
OTHER_SESSION_IDS = ("x-session-id", "x-session-affinity", "x-openwebui-chat-id", "x-task-id")

# What programs say of themselves, as far as it is remembered what that means.
_REMEMBERED = 64

# Phrases are sought this far into the system text.
_OPENING = 4000
_MAX_SESSION = 256


@dataclass(frozen=True, slots=True)
class Client:
    """What a request tells of the program that sent it; never any of its text.

    Attributes:
        profile: The row of the table it belongs to.
        marks: Each fact the guard rests on, by name.
        genuine: Profiles all of whose proofs it has.
        user_agent: Its ``User-Agent``.
        originator: Its ``originator``.
        session: Its own id of the conversation, None when it sends none.
        has_instructions: Whether it brought a system text of its own.
        instructions_length: Characters of that text.
    """

    profile: Profile = UNKNOWN
    marks: Mapping[str, bool] = field(default_factory=dict)
    genuine: frozenset[str] = frozenset()
    user_agent: str = ""
    originator: str = ""
    session: str | None = None
    has_instructions: bool = False
    instructions_length: int = 0

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.profile.name


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that carry marks."""

    headers: Headers
    instructions: str
    developer: tuple[str, ...]
    metadata: Any
    official: OfficialTexts

    @property
    def opening(self) -> str:
        """The beginning of the caller's system text."""
        return self.instructions[:_OPENING] or " ".join(self.developer)[:_OPENING]


def detect(headers: Headers, body: Mapping[str, Any], official: OfficialTexts) -> Client:
    """Recognises the client behind a request.

    Args:
        headers: The request's headers.
        body: Its JSON object, of any API format.
        official: The official instructions known at this moment.
    """
    request = _request(headers, body, official)
    found = _profile(request)
    marks = {name: holds(request) for name, holds in MARKS.items()}
    own = request.instructions or "".join(request.developer)
    return Client(
        profile=found,
        marks=marks,
        genuine=frozenset(name for name, proofs in PROOFS.items() if all(marks[proof] for proof in proofs)),
        user_agent=headers.get("user-agent") or "",
        originator=headers.get("originator") or "",
        session=session_of(headers),
        has_instructions=bool(own.strip()),
        instructions_length=len(own),
    )


def session_of(headers: Headers) -> str | None:
    """The client's own id of the conversation: its thread, else its session."""
    for name in (*CONVERSATION_IDS, *SESSION_IDS, *OTHER_SESSION_IDS):
        for value in values_of(headers, name):
            if len(value) <= _MAX_SESSION and value.isprintable():
                return value
    return None


def _request(headers: Headers, body: Mapping[str, Any], official: OfficialTexts) -> Request:
    instructions = body.get("instructions")
    metadata = body.get("metadata")
    return Request(
        headers,
        instructions if isinstance(instructions, str) else "",
        _first_developer_texts(body),
        metadata.get("user_id") if isinstance(metadata, dict) else None,
        official,
    )


def _first_developer_texts(body: Mapping[str, Any]) -> tuple[str, ...]:
    items = body.get("input") if isinstance(body.get("input"), list) else body.get("messages")
    for item in items if isinstance(items, list) else ():
        is_system = isinstance(item, dict) and item.get("role") in ("developer", "system")
        if is_system and item.get("type", "message") == "message":
            return _texts(item.get("content"))
    return ()


def _texts(content: Any) -> tuple[str, ...]:
    if isinstance(content, str):
        return (content,)
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return tuple(text for text in texts if isinstance(text, str))


def _profile(request: Request) -> Profile:
    # The first row that has any of its marks; what a program says of itself is the same in all its requests.
    headers = request.headers
    places = [
        _of_products(headers.get("user-agent") or "", headers.get("originator") or ""),
        *(_of_title(headers.get(name) or "") for name in ("x-title", "http-referer", "referer")),
        *(place for place, name in _HEADERS if headers.get(name) is not None),
    ]
    opening = request.opening
    places += [place for place, phrase in _PHRASES if phrase in opening]
    return _ROWS[min(places)]


_ROWS = (*PROFILES, UNKNOWN)
_NO_ROW = len(PROFILES)
_HEADERS = [(place, name) for place, profile in enumerate(PROFILES) for name in profile.headers]
_PHRASES = [(place, phrase) for place, profile in enumerate(PROFILES) for phrase in profile.phrases]


@lru_cache(maxsize=_REMEMBERED)
def _of_products(*texts: str) -> int:
    words = {first_word(text) for text in texts} - {""}
    found = (place for place, row in enumerate(PROFILES) if any(_is_product(word, row) for word in words))
    return next(found, _NO_ROW)


@lru_cache(maxsize=_REMEMBERED)
def _of_title(text: str) -> int:
    shown = text.lower()
    found = (place for place, row in enumerate(PROFILES) if row.titles and shown.startswith(row.titles))
    return next(found, _NO_ROW) if shown else _NO_ROW


def first_word(text: str) -> str:
    """The product a ``User-Agent`` begins with, in lower case and without its version."""
    return text.strip().lower().partition("/")[0]


def _is_product(word: str, profile: Profile) -> bool:
    return any(word == name or word.startswith(name + " ") for name in profile.user_agents)


def _has_official_instructions(request: Request) -> bool:
    texts = (request.instructions, *request.developer[:1], "".join(request.developer))
    return any(text in request.official for text in dict.fromkeys(texts) if text)


def _has_product_of(name: str) -> Callable[[Request], bool]:
    @lru_cache(maxsize=_REMEMBERED)
    def is_named(text: str) -> bool:
        return _is_product(first_word(text), BY_NAME[name])

    def holds(request: Request) -> bool:
        headers = request.headers
        return any(is_named(headers.get(header) or "") for header in ("user-agent", "originator"))

    return holds


def _has_uuids(names: tuple[str, ...]) -> Callable[[Request], bool]:
    def holds(request: Request) -> bool:
        values = [value for name in names for value in values_of(request.headers, name)]
        return bool(values) and all(_UUID.fullmatch(value) for value in values)

    return holds


def _is_claude_app(request: Request) -> bool:
    return (request.headers.get("x-app") or "").lower() == "cli"


def _has_claude_words(request: Request) -> bool:
    known_user = isinstance(request.metadata, str) and bool(_CLAUDE_USER.search(request.metadata))
    return known_user or request.opening.lstrip().startswith(_CLAUDE_PROMPT)


MARKS: dict[str, Callable[[Request], bool]] = {
    "officialInstructions": _has_official_instructions,
    "codexUserAgent": _has_product_of(CODEX_CLI),
    "sessionIdIsUuid": _has_uuids(SESSION_IDS),
    "conversationIdIsUuid": _has_uuids(CONVERSATION_IDS),
    "claudeUserAgent": _has_product_of(CLAUDE_CLI),
    "claudeApp": _is_claude_app,
    "claudeWords": _has_claude_words,
}

# A client is genuine when all of its proofs hold.
PROOFS: dict[str, tuple[str, ...]] = {
    CODEX_CLI: ("officialInstructions", "codexUserAgent", "sessionIdIsUuid", "conversationIdIsUuid"),
    CLAUDE_CLI: ("claudeUserAgent", "claudeApp", "claudeWords"),
}
