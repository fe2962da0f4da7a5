"""``POST /responses/compact``: passed on to upstream, emulated where upstream lacks it."""

from dataclasses import replace
from typing import Any

from flask import Response, g

from codexproxy.apis.openai_responses import ResponsesDialect
from codexproxy.apis.openai_responses.compaction import KEYS, summarised, summarising
from codexproxy.errors import NotOffered
from codexproxy.metering.charge import spread
from codexproxy.server.non_streaming import folded
from codexproxy.server.prepare import Entry, admit, dry_run, open_turns, read_entry
from codexproxy.server.responses import json_reply
from codexproxy.server.services import Wiring

EMULATED = "compaction:emulated"


def compact(dialect: ResponsesDialect, wiring: Wiring) -> Response:
    """Answers one request to make a conversation short."""
    entry = read_entry(dialect, wiring)
    shown = dry_run(entry, wiring)
    if shown is not None:
        return shown
    admit(entry, wiring, g.log)
    try:
        return json_reply(wiring.router.compact(spread(entry.turns, g.log.tally)[0], KEYS, entry.held.route))
    except NotOffered:
        return json_reply(_emulated(entry, wiring))


def _emulated(entry: Entry, wiring: Wiring) -> dict[str, Any]:
    asked = replace(entry, turns=[summarising(entry.turn)])
    (response,) = folded(open_turns(asked, wiring, g.log), g.log)
    g.log.turn = entry.turn.with_notes(adapted=(EMULATED,))
    return summarised(entry.turn, response)
