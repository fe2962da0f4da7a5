"""What a row of the table says: what breaks, what a client gets for it, what is left."""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

# Limits of the service under test, in seconds; all but the total one are longer than a heartbeat's pause.
HEARTBEAT = 1.2
CONNECT = 0.7
FIRST_EVENT = 1.7
IDLE = 1.8
TOTAL = 4.0


@dataclass(frozen=True)
class Told:
    """What a client is told.

    Attributes:
        status: The HTTP status.
        code: The error's code; "" for a whole answer. With status 200 the error stands in the stream.
        says: Words of its message.
        comments: Whether a stream holds comments meanwhile.
        cut: Whether the connection ends without a last word.
    """

    status: int = 200
    code: str = ""
    says: str = ""
    comments: bool = False
    cut: bool = False


WHOLE = Told()


@dataclass(frozen=True)
class Fault:
    """One way for an upstream to fail.

    Attributes:
        name: What breaks.
        plain: What a client gets that does not stream.
        stream: What a client gets that does.
        script: What the simulator does with every turn; None where the upstream is another.
        upstream: Where the turns go.
        asked: Turns that reach the upstream for one request.
        delivered: Text that a streaming client has before the error.
        logged: A line of the log besides the request's own.
        seconds: Most seconds until a client has its answer.
    """

    name: str
    plain: Told
    stream: Told
    script: Json | None = None
    upstream: str = "simulator"
    asked: int = 1
    delivered: str = ""
    logged: str = ""
    seconds: float = 6.0

    @property
    def slug(self) -> str:
        """The name, fit for request ids."""
        return "".join(char if char.isalnum() else "-" for char in self.name.lower())


@dataclass(frozen=True)
class HostFault:
    """Something that breaks on our side.

    Attributes:
        name: What breaks.
        plain: What a client gets that does not stream.
        stream: What a client gets that does.
        kept: What is left of it afterwards.
        logged: Lines of the log.
        test: Where this is tested, in this folder.
    """

    name: str
    plain: Told
    stream: Told
    kept: str
    logged: tuple[str, ...]
    test: str
