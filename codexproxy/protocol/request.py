"""The request of one turn, and the credential that it is sent with.

A turn is a Responses request body with typed parts for everything else that belongs to it.

Each part has one writer: an API package writes ``planning``, ``storage``, ``restorer`` and ``render``, the planner
``routing``, the server ``passthrough``, and the packages that run the turn ``execution``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from codexproxy.protocol.events import Batch, encode_json
from codexproxy.protocol.pacing import Encoded, Pause, encode_paced

Body = dict[str, Any]

# Bytes of a body from which on it is written in pieces; most are smaller, and not even looked at.
LARGE = 256 * 1024


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
class PlanningHints:
    """How the caller's API differs from others, as far as planning has to know.

    Attributes:
        as_sent: Whether the client writes upstream's own language; then nothing is added that it did not ask for.
        responses_api: Whether the client writes the Responses API: it gets no reasoning summary that it did not ask
            for, and tool names are shortened after a stored conversation was put before the input.
        effort_param: Path of the field that names the reasoning effort, for error messages.
    """

    as_sent: bool = False
    responses_api: bool = False
    effort_param: str = "reasoning.effort"


@dataclass(frozen=True, slots=True)
class RoutingHints:
    """What planning found out about the way of a turn.

    Attributes:
        family: Family of the model's name (``ModelCatalog.family``).
        local: Whether the model's name asks for the local Codex CLI.
        lite: Whether the body has the Responses-Lite shape, which a header announces upstream.
        forwards_failures: Whether the client acts on upstream's own failure events.
    """

    family: str = ""
    local: bool = False
    lite: bool = False
    forwards_failures: bool = False


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """What is stored of the turn, and what the turn continues.

    Attributes:
        store: As the caller said; None where the caller said nothing.
        background: Whether the answer is made while no client waits.
        previous_response_id: The response that the input continues.
        own_input: The request's own items, without those it continues; these are stored.
        response_id: An id that the caller knows before upstream has one, as for background responses.
    """

    store: bool | None = None
    background: bool = False
    previous_response_id: str | None = None
    own_input: Sequence[dict[str, Any]] = ()
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class PassThrough:
    """What a provider of one type takes from the client as it is.

    Attributes:
        headers: Headers of the Codex CLI for its own backend.
        x_codex: The checked ``x_codex`` object for the local Codex CLI.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    x_codex: Mapping[str, Any] | None = None


class AttemptCharge(Protocol):
    """Counts the tokens of one attempt upstream (``metering.charge.Charge``)."""

    def sent(self, body: Mapping[str, Any], size: int, pause: Pause = ...) -> None:
        """Upstream is asked with this body of so many bytes."""

    def refused(self) -> None:
        """Upstream did not take the turn."""

    def heard(self, batch: Batch) -> None:
        """Upstream sent these events."""

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Upstream sent a whole answer."""


class RequestTally(Protocol):
    """Adds up the charges of one request (``metering.charge.Tally``)."""

    def begin(self, provider: str) -> AttemptCharge:
        """Another attempt, at the provider of this name."""


class TextRestorer(Protocol):
    """Turns an answer's JSON back into the caller's schema (``compat.strict_schema.decode.Restorer``)."""

    def text(self, text: str, pause: Pause = ...) -> str:
        """The text in the caller's shape."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What the packages that run a turn keep with it.

    Attributes:
        pause: Lets others run while the body is written; None for small bodies, which are written at once.
        tally: Charges of the request.
        charge: Charge of the attempt that is being sent.
        slots: Places that all turns of the request take together; its type belongs to
            ``upstream.provider``.
        fixes: What was changed after refusals; its type belongs to ``upstream.router.request_fixer``.
    """

    pause: Pause | None = None
    tally: RequestTally | None = None
    charge: AttemptCharge | None = None
    slots: object = None
    fixes: object = None


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
        planning: How planning treats the turn.
        routing: What planning found out about its way.
        storage: What is stored of it.
        passthrough: What some providers take from the client as it is.
        restorer: Turns the answer's text back into the caller's shape; None where nothing is to turn.
        render: What the API package needs again to render the answer; its type belongs to that package.
        execution: What the packages that run the turn keep with it.
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
    planning: PlanningHints = PlanningHints()
    routing: RoutingHints = RoutingHints()
    storage: StorageOptions = StorageOptions()
    passthrough: PassThrough = PassThrough()
    restorer: TextRestorer | None = None
    render: object = None
    execution: Execution = Execution()
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


def paused(turn: Turn, pause: Pause) -> Turn:
    """A turn whose body is large: others run while it is written."""
    return replace(turn, execution=replace(turn.execution, pause=pause))


def encoded(turn: Turn) -> Encoded:
    """The JSON of a turn's body."""
    pause = turn.execution.pause
    return encode_json(turn.body) if pause is None else encode_paced(turn.body, pause)


@dataclass(frozen=True, slots=True)
class Credential:
    """The right to call upstream now.

    Attributes:
        token: The bearer token; never shown by ``repr``.
        account_id: Value of the ``chatgpt-account-id`` header (docs/reference/sign-in.md#token-claims).
    """

    token: str = field(repr=False)
    account_id: str


class CredentialSource(Protocol):
    """Where backends get their access from, once per upstream request."""

    def current(self) -> Credential:
        """Access that upstream should accept now.

        Raises:
            NotLoggedIn: There is no login.
            LoginExpired: The login has ended and cannot be renewed.
            UpstreamFailed: It has to be renewed and the issuer cannot be reached.
        """

    def recover(self, rejected: str) -> Credential:
        """Access to try instead of a token that upstream answered with 401.

        Args:
            rejected: The access token that was refused.

        Raises:
            NotLoggedIn: There is no login.
            LoginExpired: Nothing better can be had; a new login is needed.
            UpstreamFailed: The issuer cannot be reached.
        """
