"""What the owner decided for all turns, and what the steps of a plan look things up in."""

from collections.abc import Callable
from dataclasses import dataclass, field

from codexproxy.planning.model_catalog import Catalogue, Wanted
from codexproxy.protocol.pacing import Pause, no_pause

# Option of a turn whose client writes upstream's own language: nothing is added that it did not ask for.
AS_SENT = "as_sent"

# Option of a turn whose client writes the Responses API: no reasoning summary unless it is asked for, and
# names of tools that have to be changed after a stored conversation was put before the input.
RESPONSES_API = "responses_api"

# Option that holds what turns the answer's text back into the caller's shape, and one that holds the names
# of fields whose schemas were fitted, which answers repeat as the caller wrote them.
RESTORER = "restorer"
FITTED = "fitted"

# Option of a planned turn that holds the family of its model's name (``Catalogue.family``).
FAMILY = "family"

# Option that holds the path of the field that names the effort, for error messages.
EFFORT_PARAM = "effort_param"


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
