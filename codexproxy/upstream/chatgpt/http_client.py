"""One request to an upstream that speaks HTTP: sent, refused or read as a whole, and always within its limits.

The socket's own timeout starts anew with every byte, and does not cover the
look-up of names; so each wait stands under an alarm, too.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from codexproxy.errors import ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.outbound import TooLarge, read_within
from codexproxy.protocol.events import decode_object
from codexproxy.protocol.pacing import Encoded
from codexproxy.protocol.stream import Deadlines, timed_out
from codexproxy.upstream.chatgpt.error_mapping import MAX_BODY_BYTES
from codexproxy.upstream.chatgpt.transport import Transport

# Seconds for which the words of a refusal are waited for; its status alone says what matters.
REFUSAL_SECONDS = 5.0
# Of an answer that is read as a whole: a compacted conversation is the largest.
MOST_BYTES = 64 * 2**20

# Raises the error in the greenlet that is inside the context when the seconds have passed.
Alarm = Callable[[float, BaseException], AbstractContextManager[object]]


def no_alarm(seconds: float, error: BaseException) -> AbstractContextManager[object]:
    """For callers that have no event loop: only the socket's own timeout holds."""
    return nullcontext()


class Exchange:
    """Sends requests over one warm session.

    Args:
        transport: The session.
        unreachable: What a caller is told when nothing came back.
        clock: Monotonic seconds.
        alarm: Ends waits that the socket's timeout does not.
    """

    def __init__(
        self, transport: Transport, unreachable: str, clock: Callable[[], float], alarm: Alarm = no_alarm
    ) -> None:
        self._transport = transport
        self._unreachable = unreachable
        self._clock = clock
        self._alarm = alarm

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Encoded, deadlines: Deadlines
    ) -> requests.Response:
        """The response, as soon as its head is there; its status may be any.

        Raises:
            UpstreamTimeout: The connect, first-event or total limit ran out.
            UpstreamFailed: Nothing, or nothing valid, came back.
        """
        with self.within(deadlines):
            return self.begun(method, url, headers, body, deadlines)

    def within(self, deadlines: Deadlines) -> AbstractContextManager[object]:
        """Ends what is waited for inside the block when the nearest limit runs out.

        Raises:
            UpstreamTimeout: It has.
        """
        return self._alarm(deadlines.left(self._clock()), deadlines.overdue())

    def begun(
        self, method: str, url: str, headers: Mapping[str, str], body: Encoded, deadlines: Deadlines
    ) -> requests.Response:
        """As ``send``, for callers that are inside of ``within`` already."""
        left = deadlines.left(self._clock())
        timeout = (deadlines.limits.connect, None if left == float("inf") else left)
        try:
            return self._transport.send(method, url, headers, body, timeout)
        except requests.RequestException as error:
            raise self._unsent(error, deadlines) from error

    def refused(self, response: requests.Response) -> bytes:
        """The words of a refusal, as far as they come; frees the connection."""
        try:
            with self._alarm(REFUSAL_SECONDS, UpstreamTimeout("The error response did not end.")):
                return response.raw.read(MAX_BODY_BYTES, decode_content=True)
        except (HTTPError, OSError, UpstreamTimeout):
            return b""
        finally:
            response.close()

    def whole(self, response: requests.Response, deadlines: Deadlines) -> dict[str, Any]:
        """The response's JSON object; frees the connection.

        Raises:
            UpstreamTimeout: The first-event or total limit ran out.
            UpstreamFailed: The connection broke, or it is no object, or too large.
        """
        try:
            with self.within(deadlines):
                return decode_object(read_within(response, MOST_BYTES))
        except TooLarge as error:
            raise UpstreamFailed(f"Upstream's answer is larger than {MOST_BYTES} bytes.", retryable=False) from error
        except requests.RequestException as error:
            raise self._unsent(error, deadlines) from error
        finally:
            response.close()

    def _unsent(self, error: requests.RequestException, deadlines: Deadlines) -> ProxyError:
        if not isinstance(error, requests.Timeout):
            return UpstreamFailed(self._unreachable)
        # A TLS handshake is part of connecting, although requests takes its timeout for one of reading.
        if isinstance(error, requests.ConnectTimeout) or not deadlines.is_due(self._clock()):
            return timed_out("connect", deadlines.limits.connect)
        return deadlines.overdue()
