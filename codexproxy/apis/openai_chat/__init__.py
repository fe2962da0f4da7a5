"""Chat Completions as an API format."""

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from codexproxy.apis.openai_chat.completion import collected, completion
from codexproxy.apis.openai_chat.options import ChatRenderOptions, ChatStyle
from codexproxy.apis.openai_chat.parse import parse
from codexproxy.apis.openai_chat.render import ChunkRenderer, renderers
from codexproxy.apis.openai_chat.structured_output import repair_request
from codexproxy.apis.validation_errors import bad_value
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.protocol.request import Body, Caller, Turn


def new_id() -> str:
    """A completion's id: ``chatcmpl-codex-<uuid>``."""
    return f"chatcmpl-codex-{uuid.uuid4()}"


class ChatApi:
    """``/v1/chat/completions``.

    Args:
        reasoning_compat: How reasoning is shown unless a request says otherwise.
        clock: Seconds since the epoch.
        identify: Makes the id of an answer.
        pause: Lets others run, now and then in a long walk.
    """

    name = "chat"
    forwards_failures = False
    stateful = False

    def __init__(
        self,
        reasoning_compat: str = "reasoning_content",
        clock: Callable[[], float] = time.time,
        identify: Callable[[], str] = new_id,
        pause: Pause = no_pause,
    ) -> None:
        self._style = reasoning_compat
        self._clock = clock
        self._identify = identify
        self._pause = pause

    def parse(self, payload: dict[str, Any], caller: Caller) -> Turn:
        """Checks a request's JSON object and makes it a turn.

        Raises:
            InvalidRequest: ``param`` names the path of the offending field.
        """
        try:
            turn = parse(payload, caller, self._style, self._pause)
        except RecursionError:
            raise bad_value("", "The request is nested too deeply.") from None
        options = replace(ChatRenderOptions.of(turn), id=self._identify(), created=int(self._clock()))
        return replace(turn, render=options)

    def bodies(self, turn: Turn) -> list[Body]:
        """The body of each answer that the turn asks for; call it before the turn is planned."""
        return [turn.body] * turn.count

    def renderers(self, turn: Turn) -> list[ChunkRenderer]:
        """One renderer per answer, for one shared stream: the last to end writes usage and ``[DONE]``."""
        return renderers(ChatStyle.of(turn), turn.count, ChatRenderOptions.of(turn).shape)

    def notes(self, turn: Turn) -> tuple[str, ...]:
        """Whether an answer could not be looked through."""
        shape = ChatRenderOptions.of(turn).shape
        return shape.notes if shape else ()

    def complete(self, turn: Turn, responses: list[dict[str, Any]]) -> dict[str, Any]:
        """The ``chat.completion`` object, one choice per folded Response object.

        Raises:
            ProxyError: A response failed, holds nothing at all, or does not fit its schema.
        """
        return completion(ChatStyle.of(turn), responses, ChatRenderOptions.of(turn).shape)

    def repair_request(self, turn: Turn, response: dict[str, Any]) -> Body | None:
        """The body of a further turn that asks again for an answer that does not fit its schema.

        Args:
            turn: The turn as it was sent.
            response: The folded Response object of its answer.

        Returns:
            None when the answer needs no second try, as one without `strict` never does.

        Raises:
            ProxyError: The response failed, or holds nothing at all.
        """
        shape = ChatRenderOptions.of(turn).shape
        if shape is None:
            return None
        answer = collected(ChatStyle.of(turn), response, shape)
        flaw = answer.flaw
        return repair_request(turn.body, answer.written, flaw) if flaw and shape.strict else None
