"""Detects which client sent a request, from its headers and its system text.

``PROFILES`` is the table of clients; ``MARKS`` and ``PROOFS`` say when one is what it claims to be.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from codexproxy.planning.official_instructions import KnownInstructions


class Headers(Protocol):
    """A request's headers by name.

    Werkzeug's are asked in any case; a plain dict holds its names in lower case.
    """

    def get(self, name: str, /) -> str | None:
        """The header's value, None when the request does not carry it."""


def values_of(headers: Headers, name: str) -> tuple[str, ...]:
    """A header's values, each once.

    ``session_id`` and ``session-id`` reach a WSGI application under one name,
    joined by a comma when both were sent.
    """
    value = headers.get(name)
    if not value:
        return ()
    parts = (part.strip() for part in value.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


@dataclass(frozen=True, slots=True)
class Profile:
    """One client.

    Attributes:
        name: As in ``allowedClients`` and in logs.
        user_agents: First words of its ``User-Agent`` or ``originator``, in lower case, up to ``/`` or a blank.
        headers: Names of headers that only it sends.
        titles: Values of ``X-Title`` or beginnings of ``HTTP-Referer``, in lower case.
        phrases: Words near the beginning of its system text.
    """

    name: str
    user_agents: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


CODEX_CLI = "codex-cli"
CLAUDE_CLI = "claude-cli"

# The first row that has any mark of the request wins; editors and front ends
# stand before the libraries they are built with.
PROFILES: tuple[Profile, ...] = (
    Profile(
        CODEX_CLI,
        user_agents=(
            "codex_cli_rs",
            "codex_exec",
            "codex-tui",
            "codex_vscode",
            "codex_app",
            "codex_sdk_ts",
            "codex desktop",
        ),
    ),
    Profile(CLAUDE_CLI, user_agents=("claude-cli", "claude-code"), phrases=("You are Claude Code,",)),
    Profile(
        "cursor",
        user_agents=("cursor",),
        headers=("x-cursor-client-version",),
        titles=("cursor", "https://cursor.com"),
        phrases=("You operate in Cursor", "running in Cursor", "Cursor IDE"),
    ),
    Profile(
        "roo-code",
        user_agents=("roocode", "roo-code"),
        titles=("roo code", "https://github.com/roovetgit"),
        phrases=("You are Roo,",),
    ),
    Profile(
        "cline",
        user_agents=("cline",),
        headers=("x-cline-version",),
        titles=("cline", "https://cline.bot"),
        phrases=("You are Cline",),
    ),
    Profile(
        "open-webui",
        user_agents=("openwebui", "open-webui"),
        headers=("x-openwebui-chat-id", "x-openwebui-user-id", "x-openwebui-user-name"),
        titles=("open webui", "https://openwebui.com"),
    ),
    Profile("zed", user_agents=("zed",)),
    Profile(
        "vscode",
        user_agents=("githubcopilotchat", "vscode", "visual-studio-code"),
        headers=("x-vscode-user-agent-library-version", "editor-plugin-version"),
    ),
    Profile("n8n", user_agents=("n8n",), headers=("x-n8n-workflow-id",), titles=("n8n", "https://n8n.io")),
    Profile("continue", user_agents=("continue",), headers=("x-continue-unique-id",)),
    Profile("opencode", user_agents=("opencode",), titles=("opencode", "https://opencode.ai")),
    Profile("aider", user_agents=("aider",), titles=("aider", "https://aider.chat")),
    Profile("xcode", user_agents=("xcode",)),
    Profile("raycast", user_agents=("raycast",)),
    Profile("jetbrains", user_agents=("jetbrains", "intellij")),
    Profile("litellm", user_agents=("litellm",), titles=("litellm", "https://litellm.ai")),
    Profile("vercel-ai", user_agents=("ai-sdk", "ai")),
    Profile("openai-sdk", user_agents=("openai", "asyncopenai", "agents")),
    Profile("curl", user_agents=("curl",)),
)
UNKNOWN = Profile("unknown")

BY_NAME: dict[str, Profile] = {profile.name: profile for profile in PROFILES}


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
    official: KnownInstructions

    @property
    def opening(self) -> str:
        """The beginning of the caller's system text."""
        return self.instructions[:_OPENING] or " ".join(self.developer)[:_OPENING]


def detect(headers: Headers, body: Mapping[str, Any], official: KnownInstructions) -> Client:
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


def _request(headers: Headers, body: Mapping[str, Any], official: KnownInstructions) -> Request:
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
