"""The request that the steps of a plan build, and the policy and catalogue that they look things up in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from codexproxy.planning.model_catalog import ModelCatalog, ModelSelection
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.protocol.request import Turn


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner decided for all turns.

    Attributes:
        mode: ``auto``, ``true`` or ``false`` (docs/reference/contract.md#codexmode).
        effort: Effort when the caller names none; the model's own when None.
        verbosity: Verbosity when the caller names none.
        summary: Reasoning summary of a chat turn whose caller names none; ``none`` asks for none.
        default_model: Model of a request that names none.
        strict: Whether names outside the catalogue are refused here.
        prompts: A model's slug -> its family's instructions.
        conversation: Fingerprint of a conversation's start -> its id upstream.
        pause: Lets others run, now and then in a long walk.
    """

    mode: str = "auto"
    effort: str | None = None
    verbosity: str = "medium"
    summary: str = "auto"
    default_model: str | None = None
    strict: bool = False
    prompts: Callable[[str], str] = field(default=lambda slug: "")
    conversation: Callable[[str], str] = field(default=str)
    pause: Pause = no_pause


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What the steps look things up in."""

    policy: Policy
    catalogue: ModelCatalog
    selection: ModelSelection


class RequestBuilder:
    """What the steps of a plan change; the turn itself stays as it came.

    Args:
        turn: The turn to be planned.

    Attributes:
        body: A body of its own; what the body holds belongs to the turn and is replaced, never changed.
        cache_key: Identity of the conversation, once it is settled.
        tool_names: Name sent upstream -> the caller's own.
        as_sent: Whether nothing is added that the client did not ask for.
        family: Family of the model's name.
        local: Whether the model's name asks for the local Codex CLI.
        lite: Whether the body has the Responses-Lite shape.
    """

    __slots__ = (
        "_adapted",
        "_ignored",
        "as_sent",
        "body",
        "cache_key",
        "caller",
        "family",
        "lite",
        "local",
        "tool_names",
        "turn",
    )

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.caller = turn.caller
        self.body = dict(turn.body)
        self.cache_key = turn.cache_key
        self.tool_names = turn.tool_names
        self.as_sent = turn.planning.as_sent
        self.family = ""
        self.local = self.lite = False
        self._ignored = list(turn.ignored)
        self._adapted = list(turn.adapted)

    def ignore(self, names: Iterable[str]) -> None:
        """Notes fields that are not honoured."""
        self._ignored += names

    def adapt(self, *notes: str) -> None:
        """Notes what was changed."""
        self._adapted += notes

    def planned(self, model: str) -> Turn:
        """The turn as the steps left it; a note is kept once, in order.

        Args:
            model: The model's name as answers echo it.
        """
        return replace(
            self.turn,
            model=model,
            body=self.body,
            routing=replace(self.turn.routing, family=self.family, local=self.local, lite=self.lite),
            cache_key=self.cache_key,
            tool_names=self.tool_names,
            ignored=tuple(dict.fromkeys(self._ignored)),
            adapted=tuple(dict.fromkeys(self._adapted)),
        )
