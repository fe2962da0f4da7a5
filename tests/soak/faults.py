"""What may go wrong upstream, by the words that ask for it, and how a client may be told.

A request whose text holds ``[fault:NAME]`` is answered by that fault's script, every time, so each client
knows what it has to see.
"""

from dataclasses import dataclass
from typing import Any

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import cut_after, error_event, fail, http, say, stall_at

Json = dict[str, Any]

# Seconds that the service waits for a first event, and within an answer.
PATIENCE = 3

_TEXT = say(*[f"word{number} ñ " for number in range(12)], pace_ms=5)
_BROKEN = "event: response.created\ndata: {not JSON\n\nevent: response.output_text.delta\ndata: 7\n\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail.

    Attributes:
        script: What the simulator does.
        codes: The codes a client may be told.
    """

    script: Json
    codes: tuple[str, ...]


FAULTS: dict[str, Fault] = {
    "500": Fault(http(500, {"error": {"message": "broken", "type": "server_error"}}), ("upstream_unavailable",)),
    "503": Fault(http(503, {"error": {"message": "busy", "code": "server_is_overloaded"}}), ("overloaded",)),
    "429": Fault(
        http(429, {"error": {"message": "slowly", "code": "rate_limit_exceeded"}}, headers={"retry-after": "30"}),
        ("rate_limit_exceeded",),
    ),
    "400": Fault(http(400, {"detail": "no such thing"}), ("upstream_rejected",)),
    "challenge": Fault(http(403, html="<html><title>Just a moment...</title></html>"), ("upstream_challenge",)),
    "html": Fault(http(502, html="<html>Bad gateway</html>"), ("upstream_unavailable",)),
    "html in a 200": Fault(http(200, html="<html>Hello</html>"), ("upstream_challenge",)),
    "nothing": Fault(http(200, body=""), ("upstream_truncated", "empty_response")),
    "reset at the head": Fault(cut_after(_TEXT, "reset", at="head"), ("upstream_unavailable",)),
    "closed in the head": Fault(
        cut_after(_TEXT, "close", at="inside_head"), ("upstream_unavailable", "upstream_truncated")
    ),
    "reset": Fault(cut_after(_TEXT, "reset", event=9), ("upstream_truncated",)),
    "cut": Fault(cut_after(_TEXT, "clean", event=9), ("upstream_truncated",)),
    "cut in a character": Fault(cut_after(_TEXT, "close", inside_utf8=True), ("upstream_truncated",)),
    "cut in a chunk": Fault(cut_after(_TEXT, "truncated_chunk", event=9), ("upstream_truncated",)),
    "bad chunk": Fault(cut_after(_TEXT, "bad_chunk", event=9), ("upstream_truncated",)),
    "broken events": Fault({"raw_text": _BROKEN}, ("upstream_truncated", "upstream_unavailable")),
    "failed": Fault(fail("server_error", "It broke."), ("server_error", "upstream_unavailable")),
    "failed late": Fault(
        fail("server_error", "It broke.", {"type": "message", "text": "half an"}),
        ("server_error", "upstream_unavailable"),
    ),
    "error": Fault(error_event("server_error"), ("server_error", "upstream_unavailable")),
    "overloaded in a 200": Fault(fail("server_is_overloaded", "Later."), ("overloaded", "server_is_overloaded")),
    "stall at the head": Fault(stall_at(_TEXT, at="head"), ("upstream_timeout",)),
    "stall at the first event": Fault(stall_at(_TEXT, at="first_event"), ("upstream_timeout",)),
    "stall": Fault(stall_at(_TEXT, event=9), ("upstream_timeout",)),
}

# Odd, but no fault: these have to be answered as if nothing were.
ODDITIES: dict[str, Json] = {
    "bytes": say("byte ", "by ", "byte ñ", chunking="byte"),
    "pause": stall_at(_TEXT, ms=1500, event=9),
    "long": say(*[f"word{number} " for number in range(150)], pace_ms=40),
}


def marker(name: str) -> str:
    """The words that ask for a fault, or an oddity."""
    return f"[fault:{name}]"


def install(sim: SimulatorClient) -> None:
    """Makes the simulator break answers as it is asked to."""
    scripts = {**{name: fault.script for name, fault in FAULTS.items()}, **ODDITIES}
    for name, script in scripts.items():
        sim.script(script, match=marker(name), repeat=-1)


def text_of(name: str) -> str:
    """What an oddity says."""
    return "".join(ODDITIES[name]["items"][0]["deltas"])
