"""Official instructions, kept whenever the catalogue brings them."""

import logging
import time
from collections.abc import Callable
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS
from codexproxy.planning.official_instructions import InstructionCatalog
from codexproxy.storage.files.prompts import PromptStore
from codexproxy.upstream.chatgpt.instruction_sources import texts_of_rows

CATALOGUE = "catalogue"

STAND_INS = (
    "Only our own short texts stand in for the official instructions, so no client can be recognised by them. "
    "Run 'codexproxy prompts sync'."
)

Fetch = Callable[[], list[dict[str, Any]]]

log = logging.getLogger(__name__)


def preserve(fetch: Fetch, store: PromptStore, clock: Callable[[], float] = time.time) -> Fetch:
    """The same fetch of a catalogue, which saves the instructions it brings.

    A catalogue is of use without its texts, so a disk that cannot keep them fails nothing.
    """

    def fetch_and_keep() -> list[dict[str, Any]]:
        rows = fetch()
        try:
            changed = store.save(texts_of_rows(rows), CATALOGUE, clock())
        except (OSError, ProxyError) as error:
            log.warning("the catalogue's instructions could not be kept: %s", error)
        else:
            if changed:
                log.info("official instructions synchronised for %s", ", ".join(changed))
        return rows

    return fetch_and_keep


def instruction_notes(library: InstructionCatalog) -> list[str]:
    """What should be said of the instructions there are; empty when nothing should."""
    return [] if library.current().are_synchronised else [STAND_INS]


def own_prompts(library: InstructionCatalog) -> Callable[[str], bool]:
    """Tells instructions that are ours or official from what a caller wrote."""

    def is_own(text: str) -> bool:
        return text == NEUTRAL_INSTRUCTIONS or text in library.current().known

    return is_own
