"""``/v1/responses``: the public Responses API.

The hub's own language, so requests keep their shape and frames pass as they
came; what the stateless backend lacks is added around them.
"""

from collections.abc import Sequence
from typing import Any

from codexproxy.apis.base import Renderer
from codexproxy.apis.openai_responses.parse import parse
from codexproxy.apis.openai_responses.render import Preamble, ResponsesRenderer
from codexproxy.apis.openai_responses.response_builder import ResponseBuilder
from codexproxy.apis.visitor import empty_answer
from codexproxy.planning.client_quirks import BEGINS_WITH_CREATED, READS_FINAL_OBJECT, quirks_of
from codexproxy.protocol.aggregate import is_missing_output
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.protocol.request import Body, Caller, Turn


class ResponsesApi:
    """The Responses API as an API format; it gives one answer per turn.

    Args:
        pause: Lets others run, now and then in a long walk.
    """

    name = "responses"
    forwards_failures = True
    stateful = True

    def __init__(self, pause: Pause = no_pause) -> None:
        self._pause = pause

    def parse(self, payload: dict[str, Any], caller: Caller) -> Turn:
        """Checks a request's JSON object and makes it a turn.

        Raises:
            InvalidRequest: ``param`` names the path of the offending field.
        """
        return parse(payload, caller, self._pause)

    def bodies(self, turn: Turn) -> list[Body]:
        """The one body."""
        return [turn.body]

    def renderers(self, turn: Turn) -> Sequence[Renderer]:
        """The one renderer of the one answer."""
        envelope, quirks = ResponseBuilder(turn), quirks_of(turn.caller.client)
        opening = Preamble(envelope) if BEGINS_WITH_CREATED in quirks else None
        return [ResponsesRenderer(envelope, fills_output=READS_FINAL_OBJECT in quirks, opening=opening)]

    def repair_request(self, turn: Turn, response: dict[str, Any]) -> Body | None:
        """None: what this API's callers get is upstream's own answer."""
        return None

    def notes(self, turn: Turn) -> tuple[str, ...]:
        """Nothing: what this API's callers get is upstream's own answer."""
        return ()

    def complete(self, turn: Turn, responses: list[dict[str, Any]]) -> dict[str, Any]:
        """The Response object, complete and valid against the public schema.

        Raises:
            UpstreamFailed: It says that it is completed, and holds nothing.
        """
        if responses[0].get("status") == "completed" and is_missing_output(responses[0]):
            raise empty_answer()
        return ResponseBuilder(turn).whole(responses[0])
