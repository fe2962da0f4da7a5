"""What the owner decided for all turns, and what the steps of a plan look things up in."""

from collections.abc import Callable
from dataclasses import dataclass, field

from codexproxy.planning.model_catalog import Catalogue, Wanted
from codexproxy.protocol.pacing import Pause, no_pause


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
class Setting:
    """What the steps look things up in."""

    policy: Policy
    catalogue: Catalogue
    wanted: Wanted
