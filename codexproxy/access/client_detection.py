"""Detects which client sent a request, from its headers and its system text.

``PROFILES`` is the table of known clients. Signals and verification, which need the official instructions, are
looked at only for keys that are bound to clients (``VERIFIERS``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from codexproxy.planning.official_instructions import KnownInstructions


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

# The old form has an underscore, the new one a hyphen (docs/reference/requests.md#headers-of-a-turn).
SESSION_IDS = ("session-id", "session_id")
CONVERSATION_IDS = ("thread-id", "thread_id", "conversation-id", "conversation_id")
# Where other clients put the id of their conversation.
OTHER_SESSION_IDS = ("x-session-id", "x-session-affinity", "x-openwebui-chat-id", "x-task-id")
_ALL_SESSION_IDS = (*CONVERSATION_IDS, *SESSION_IDS, *OTHER_SESSION_IDS)
_TITLES = ("x-title", "http-referer", "referer")

_ROWS = (*PROFILES, UNKNOWN)
_NO_ROW = len(PROFILES)
_ROW_OF_HEADER = {name: row for row, profile in reversed([*enumerate(PROFILES)]) for name in profile.headers}
_PHRASES = [(row, phrase) for row, profile in enumerate(PROFILES) for phrase in profile.phrases]

# WSGI name -> header, for all headers that are looked at here.
_READ = {
    f"HTTP_{name.upper().replace('-', '_')}": name
    for name in (*_ALL_SESSION_IDS, *_TITLES, *_ROW_OF_HEADER, "user-agent", "originator", "x-app")
}

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CLAUDE_USER = re.compile(r'_session_[0-9a-f-]{36}$|"session_id"')
_CLAUDE_PROMPT = "You are Claude Code, Anthropic's official CLI for Claude"

# User-Agents and titles whose row is remembered.
_REMEMBERED = 64

# Phrases are searched for this far into the system text.
_SEARCHED = 4000
_MAX_SESSION = 256


@dataclass(frozen=True, slots=True)
class Evidence:
    """What shows whether a client is what it claims to be; never any of its text.

    Attributes:
        signals: Each fact the decision rests on, by name.
        verified: Profiles whose ``VERIFIERS`` all hold.
        has_instructions: Whether it brought a system text of its own.
        instructions_length: Characters of that text.
    """

    signals: Mapping[str, bool] = field(default_factory=dict)
    verified: frozenset[str] = frozenset()
    has_instructions: bool = False
    instructions_length: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """The program that sent a request, as far as the request shows.

    Attributes:
        profile: Its row of the table.
        user_agent: Its ``User-Agent``.
        originator: Its ``originator``.
        session: Its own id of the conversation, None when it sends none.
        evidence: Empty unless it was asked for.
    """

    profile: Profile = UNKNOWN
    user_agent: str = ""
    originator: str = ""
    session: str | None = None
    evidence: Evidence = Evidence()

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.profile.name


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that signals are read from."""

    headers: Mapping[str, str]
    instructions: str
    developer: tuple[str, ...]
    metadata: Any

    @property
    def opening(self) -> str:
        """The beginning of the caller's system text."""
        return self.instructions[:_SEARCHED] or " ".join(self.developer)[:_SEARCHED]


def read_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """The headers that tell clients apart, by name in lower case.

    Args:
        environ: The request's WSGI environment.
    """
    # ``session_id`` and ``session-id`` come under one name, joined by a comma when both were sent.
    return {name: environ[key] for key, name in _READ.items() if key in environ}


def detect_client(
    headers: Mapping[str, str], body: Mapping[str, Any], official: KnownInstructions | None = None
) -> Client:
    """Detects the client behind a request.

    Args:
        headers: The request's headers by name in lower case.
        body: Its JSON object, of any API format.
        official: The official instructions known at this moment, to collect evidence by; None collects none.
    """
    request = _request(headers, body)
    return Client(
        profile=_profile(request),
        user_agent=headers.get("user-agent", ""),
        originator=headers.get("originator", ""),
        session=session_of(headers),
        evidence=Evidence() if official is None else _evidence(request, official),
    )


def session_of(headers: Mapping[str, str]) -> str | None:
    """The client's own id of the conversation: its thread, else its session."""
    for name in _ALL_SESSION_IDS:
        if name in headers:
            for value in _values(headers[name]):
                if len(value) <= _MAX_SESSION and value.isprintable():
                    return value
    return None


def _values(header: str) -> tuple[str, ...]:
    parts = (part.strip() for part in header.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def _request(headers: Mapping[str, str], body: Mapping[str, Any]) -> Request:
    instructions = body.get("instructions")
    metadata = body.get("metadata")
    return Request(
        headers,
        instructions if isinstance(instructions, str) else "",
        _first_developer_texts(body),
        metadata.get("user_id") if isinstance(metadata, dict) else None,
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
    headers, opening = request.headers, request.opening
    # The first row that the request matches; a program names itself alike in all its requests.
    rows = [_row_of_products(headers.get("user-agent", ""), headers.get("originator", ""))]
    rows += [_row_of_title(headers[name]) for name in _TITLES if name in headers]
    rows += [_ROW_OF_HEADER[name] for name in headers if name in _ROW_OF_HEADER]
    rows += [row for row, phrase in _PHRASES if phrase in opening]
    return _ROWS[min(rows)]


@lru_cache(maxsize=_REMEMBERED)
def _row_of_products(*texts: str) -> int:
    words = {first_word(text) for text in texts} - {""}
    found = (row for row, profile in enumerate(PROFILES) if any(_is_product(word, profile) for word in words))
    return next(found, _NO_ROW)


@lru_cache(maxsize=_REMEMBERED)
def _row_of_title(text: str) -> int:
    shown = text.lower()
    found = (row for row, profile in enumerate(PROFILES) if profile.titles and shown.startswith(profile.titles))
    return next(found, _NO_ROW) if shown else _NO_ROW


def first_word(text: str) -> str:
    """The product a ``User-Agent`` begins with, in lower case and without its version."""
    return text.strip().lower().partition("/")[0]


def _is_product(word: str, profile: Profile) -> bool:
    return any(word == name or word.startswith(name + " ") for name in profile.user_agents)


def _evidence(request: Request, official: KnownInstructions) -> Evidence:
    signals = {name: holds(request) for name, holds in SIGNALS.items()}
    texts = (request.instructions, *request.developer[:1], "".join(request.developer))
    signals[OFFICIAL_INSTRUCTIONS] = any(text in official for text in dict.fromkeys(texts) if text)
    own = request.instructions or "".join(request.developer)
    verified = frozenset(name for name, needed in VERIFIERS.items() if all(signals[signal] for signal in needed))
    return Evidence(signals, verified, bool(own.strip()), len(own))


def _has_product_of(name: str) -> Callable[[Request], bool]:
    def holds(request: Request) -> bool:
        texts = (request.headers.get(header, "") for header in ("user-agent", "originator"))
        return any(_is_product(first_word(text), BY_NAME[name]) for text in texts)

    return holds


def _has_uuids(names: tuple[str, ...]) -> Callable[[Request], bool]:
    def holds(request: Request) -> bool:
        values = [value for name in names for value in _values(request.headers.get(name, ""))]
        return bool(values) and all(_UUID.fullmatch(value) for value in values)

    return holds


def _is_claude_app(request: Request) -> bool:
    return request.headers.get("x-app", "").lower() == "cli"


def _has_claude_words(request: Request) -> bool:
    known_user = isinstance(request.metadata, str) and bool(_CLAUDE_USER.search(request.metadata))
    return known_user or request.opening.lstrip().startswith(_CLAUDE_PROMPT)


OFFICIAL_INSTRUCTIONS = "officialInstructions"

SIGNALS: dict[str, Callable[[Request], bool]] = {
    "codexUserAgent": _has_product_of(CODEX_CLI),
    "sessionIdIsUuid": _has_uuids(SESSION_IDS),
    "conversationIdIsUuid": _has_uuids(CONVERSATION_IDS),
    "claudeUserAgent": _has_product_of(CLAUDE_CLI),
    "claudeApp": _is_claude_app,
    "claudeWords": _has_claude_words,
}

# A client is verified when all of these signals hold.
VERIFIERS: dict[str, tuple[str, ...]] = {
    CODEX_CLI: (OFFICIAL_INSTRUCTIONS, "codexUserAgent", "sessionIdIsUuid", "conversationIdIsUuid"),
    CLAUDE_CLI: ("claudeUserAgent", "claudeApp", "claudeWords"),
}
