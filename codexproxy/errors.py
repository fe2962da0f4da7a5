"""Every way a request can fail, as one tree.

    ProxyError                      500 internal_error
    ├── InvalidRequest              400 invalid_request_error
    │   ├── UnknownRoute            404 unknown_url
    │   ├── MethodNotAllowed        405 method_not_allowed
    │   ├── ModelNotFound           404 model_not_found
    │   ├── ContextLengthExceeded   400 context_length_exceeded
    │   ├── BodyTooLarge            413 body_too_large
    │   ├── UnsupportedEncoding     415 unsupported_encoding
    │   └── UpstreamRejected        400 upstream_rejected, or upstream's own code
    ├── AuthenticationFailed        401 invalid_api_key
    │   ├── NotLoggedIn             401 not_logged_in
    │   └── LoginExpired            401 login_expired
    ├── PermissionRefused           403 client_not_allowed, origin_not_allowed, …
    ├── RateLimited                 429 rate_limit_exceeded, usage_limit_reached, …
    ├── UpstreamFailed              502 upstream_unavailable, upstream_truncated, …
    │   ├── Overloaded              503 overloaded
    │   └── NotOffered              501 not_offered
    └── UpstreamTimeout             504 upstream_timeout

Statuses, types and codes are those of the public contract. Messages are for
the person at the other end: plain, with the next step in them, never a secret.
"""

import math
import time
from datetime import datetime

# Ten years, in seconds: whoever asks for a longer wait made a mistake.
LONGEST_WAIT = 10 * 366 * 86_400

# Seconds. A longer wait is told as a moment: several agents sleep in silence for as long as ``Retry-After`` says.
LONG_WAIT = 60


def local_time(moment: float) -> str:
    """A moment in the local time of this machine, ``Fri 21 Nov, 05:46``."""
    try:
        return datetime.fromtimestamp(moment).strftime("%a %d %b, %H:%M")
    except (OverflowError, ValueError, OSError):
        return "an unknown time"


class ProxyError(Exception):
    """A failure with a defined answer.

    Args:
        message: What went wrong and what to do, shown to the caller.
        code: Machine-readable reason; the class's own when omitted.
        param: Path of the offending field, ``messages[2].content[0]``.
        status: HTTP status; the class's own when omitted.
        retry_after: Seconds until a retry makes sense.
        extra: Further fields of the error object (``resets_at``, ``plan_type``).
        retryable: Whether the same turn may be tried again before its first event.
    """

    status = 500
    type = "internal_error"
    code: str | None = "internal_error"
    retryable = False
    # HTTP status of upstream's own answer, where that is the reason.
    upstream_status: int | None = None
    # Name of the provider it comes from, where one was asked.
    backend: str | None = None
    # Whether upstream told the account's quota together with the failure.
    quota_told = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        extra: dict[str, object] | None = None,
        retryable: bool | None = None,
    ) -> None:
        self.message = self._worded(message)
        super().__init__(self.message)
        self.param = param
        # Neither infinity nor NaN is a wait.
        self.retry_after = retry_after if retry_after is not None and retry_after < LONGEST_WAIT else None
        self.extra = extra or {}
        self._made_at = time.time()
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        if retryable is not None:
            self.retryable = retryable

    def _worded(self, message: str) -> str:
        return message

    @property
    def wait(self) -> float | None:
        """Seconds until a retry makes sense, from when the failure was made; None where nobody said."""
        moment = self.extra.get("resets_at")
        if isinstance(moment, int | float) and not isinstance(moment, bool):
            # Compared before anything is computed, since no float holds every int; NaN is in no range.
            if 0 <= moment < self._made_at + LONGEST_WAIT:
                return max(0.0, moment - self._made_at)
            if moment < 0:
                return 0.0
        return self.retry_after

    @property
    def resets_at(self) -> int | None:
        """Epoch second at which a long wait ends; None for short waits, which ``Retry-After`` tells."""
        wait = self.wait
        return math.ceil(self._made_at + wait) if wait is not None and wait > LONG_WAIT else None

    @property
    def told(self) -> str:
        """The message, which also says in local time when a long wait ends."""
        moment = self.resets_at
        if moment is None or local_time(moment) in self.message:
            return self.message
        return f"{self.message} Please try again at {local_time(moment)}, local time."

    def as_dict(self) -> dict[str, object]:
        """The error object of the OpenAI API: ``message``, ``type``, ``param``, ``code``."""
        body = {"message": self.told, "type": self.type, "param": self.param, "code": self.code}
        moment = {"resets_at": self.resets_at} if self.resets_at is not None else {}
        return {**self.extra, **moment, **body}


class InvalidRequest(ProxyError):
    """The caller sent something that cannot be served as it is."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class UnknownRoute(InvalidRequest):
    status = 404
    code = "unknown_url"


class MethodNotAllowed(InvalidRequest):
    status = 405
    code = "method_not_allowed"


class ModelNotFound(InvalidRequest):
    status = 404
    code = "model_not_found"


class ContextLengthExceeded(InvalidRequest):
    """The conversation is longer than the model's window.

    Many clients know this failure by the words of its message alone (LiteLLM,
    LangChain, agents that shorten the conversation then), so they are in it.
    """

    code = "context_length_exceeded"
    _KNOWN_BY = ("this model's maximum context length is", "input tokens exceed the configured limit")
    _REMARK = (
        "(Input tokens exceed the configured limit: this model's maximum context length is less than "
        "what was sent, which exceeds the context window. Please shorten the conversation.)"
    )

    def _worded(self, message: str) -> str:
        is_known = any(words in message.lower() for words in self._KNOWN_BY)
        return message if is_known else f"{message} {self._REMARK}"


class BodyTooLarge(InvalidRequest):
    status = 413
    code = "body_too_large"


class UnsupportedEncoding(InvalidRequest):
    status = 415
    code = "unsupported_encoding"


class UpstreamRejected(InvalidRequest):
    """Upstream refused the turn itself; the same turn would be refused again."""

    code = "upstream_rejected"


class AuthenticationFailed(ProxyError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class NotLoggedIn(AuthenticationFailed):
    code = "not_logged_in"


class LoginExpired(AuthenticationFailed):
    code = "login_expired"


class PermissionRefused(ProxyError):
    status = 403
    type = "permission_error"
    code = "client_not_allowed"


class RateLimited(ProxyError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class UpstreamFailed(ProxyError):
    """Upstream broke, vanished, or answered something that is no answer."""

    status = 502
    type = "upstream_error"
    code = "upstream_unavailable"
    retryable = True


class Overloaded(UpstreamFailed):
    status = 503
    code = "overloaded"


class NotOffered(UpstreamFailed):
    """Upstream lacks this part of the API; another one may have it, or we emulate it."""

    status = 501
    code = "not_offered"
    retryable = False


class UpstreamTimeout(ProxyError):
    status = 504
    type = "timeout_error"
    code = "upstream_timeout"


def forget_frames(error: BaseException) -> None:
    """Takes the tracebacks from an error and all that led to it, and with them what their frames hold."""
    last: BaseException | None = error
    while last is not None and last.__traceback__ is not None:
        last.__traceback__, last = None, last.__cause__ or last.__context__
