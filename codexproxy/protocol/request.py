"""A turn: one question to a model, held as a Responses request body."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CliPermit:
    """What a caller may ask of the local Codex CLI; by itself, all that the owner may.

    Attributes:
        level: ``none``, ``read`` or ``write``: the most its commands may do to files.
        network: Whether its commands may use the network.
        owner: Whether the caller is the owner, who alone chooses folders and full access.
    """

    level: str = "write"
    network: bool = True
    owner: bool = True


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Limits, stored responses and cache identity hang on it.

    Attributes:
        key: Under which the presented key owns things: its id, or its name where it has none; never the key itself.
        client: Name of the client's profile (``codex-cli``, ``cursor``, …).
        session: The client's own conversation id, where it sent one in a header.
        cli: What it may ask of the local Codex CLI.
        is_owner: Whether the account is the caller's own; others learn of its windows only.
    """

    key: str = "anonymous"
    client: str = "unknown"
    session: str | None = None
    cli: CliPermit = CliPermit()
    is_owner: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """One question to a model.

    Attributes:
        model: The model's name as the caller wrote it; answers echo it.
        body: The request in the language of the Responses API.
        stream: Whether the caller wants events as they come.
        caller: Who asks.
        cache_key: Identity of the conversation for the upstream's prompt cache.
        stop: Texts at which the answer ends; emulated, since the backend has none.
        max_tokens: Most output tokens; emulated likewise.
        count: How many answers the caller wants (``n``); each is a turn upstream.
        tool_names: Name sent upstream -> the caller's own, for names that had to change.
        options: What the dialect needs again to render the answer.
        ignored: Names of fields that were not honoured, for ``x-codexproxy-ignored``.
        adapted: What was changed on the way, for ``x-codexproxy-adapted``.
    """

    model: str
    body: Body
    stream: bool = False
    caller: Caller = Caller()
    cache_key: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    count: int = 1
    tool_names: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()

    def with_notes(self, *, ignored: tuple[str, ...] = (), adapted: tuple[str, ...] = ()) -> "Turn":
        """The same turn with further notes; a note is kept once, in order."""
        if not (ignored or adapted):
            return self
        return replace(
            self,
            ignored=tuple(dict.fromkeys(self.ignored + ignored)),
            adapted=tuple(dict.fromkeys(self.adapted + adapted)),
        )
