"""``POST /responses/compact``: passed on to upstream, emulated where upstream lacks it."""

from dataclasses import replace
from typing import Any

from flask import Response, g

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.apis.openai_responses.compaction import KEYS, summarised, summarising
from codexproxy.errors import NotOffered
from codexproxy.metering.charge import spread
from codexproxy.server.non_streaming import folded
from codexproxy.server.prepare import Entry, admit, dry_run, open_turns, read_entry
from codexproxy.server.responses import json_reply
from codexproxy.server.services import Services

EMULATED = "compaction:emulated"


def compact(api: ResponsesApi, services: Services) -> Response:
    """Answers one request to make a conversation short."""
    entry = read_entry(api, services)
    shown = dry_run(entry, services)
    if shown is not None:
        return shown
    admit(entry, services, g.log)
    try:
        return json_reply(services.router.compact(spread(entry.turns, g.log.tally)[0], KEYS, entry.held.route))
    except NotOffered:
        return json_reply(_emulated(entry, services))


def _emulated(entry: Entry, services: Services) -> dict[str, Any]:
    asked = replace(entry, turns=[summarising(entry.turn)])
    (response,) = folded(open_turns(asked, services, g.log), g.log)
    g.log.turn = entry.turn.with_notes(adapted=(EMULATED,))
    return summarised(entry.turn, response)
