"""What becomes of a turn when something breaks: the rows that the tests run and docs/faults.md shows.

A row says what breaks and what a client gets for it; ``test_upstream.py`` runs each row of ``UPSTREAM``
four times over, and the tests named in ``HOST`` do what needs a set-up of its own.
"""

from codexproxy.simulator.recipes import cut_after, flood, http, say, stall_at
from tests.faults.outcome import CONNECT, FIRST_EVENT, IDLE, TOTAL, WHOLE, Fault, HostFault, Json, Told

# Its events come in this order: created, in_progress, item added, part added, then the deltas.
TEXT = say("one ", "two ", "three ", "four")
# Some two seconds of words.
PACED = flood(50, pace_ms=40)
_PAGE = "<!DOCTYPE html><html><body>{}</body></html>"


def _same(status: int, code: str, says: str = "") -> dict[str, Told]:
    # Before the first event, and before a heartbeat was due, a stream has a status of its own.
    told = Told(status, code, says)
    return {"plain": told, "stream": told}


def _late(status: int, code: str, says: str = "", *, comments: bool = True) -> dict[str, Told]:
    # Once bytes have left, a stream can only be told in the stream.
    return {"plain": Told(status, code, says), "stream": Told(200, code, says, comments)}


_UNREACHABLE = _same(502, "upstream_unavailable", "could not be reached")
_BROKEN = _late(502, "upstream_truncated", "broke", comments=False)
_FIRST = _late(504, "upstream_timeout", f"first event limit of {FIRST_EVENT:g} seconds")
_IDLE = _late(504, "upstream_timeout", f"idle limit of {IDLE:g} seconds")
_TOTAL = _late(504, "upstream_timeout", f"total limit of {TOTAL:g} seconds", comments=False)
_GARBAGE = _late(502, "upstream_truncated", "not valid JSON", comments=False)

_AGAIN = "nothing is left to try"
# Events that say once more what the deltas said.
_REPEATS = ["response.output_text.done", "response.content_part.done"]
_MANY = "word " * 60

_HEAD = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta"'
_CREATED = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n'
_DELTA = _HEAD + b',"output_index":0,"content_index":0,"item_id":"msg_1","delta":"one "}\n\n'


def _raw(*frames: bytes) -> Json:
    # Everything in one write, so that it is one read for the service.
    return {"raw_text": b"".join((_CREATED, _DELTA, *frames)).decode(), "raw_frames": False}


# Events that are none, right behind good ones; the second begins as upstream's own do and is found out later.
BROKEN = {
    "a word": _raw(b"event: response.output_text.delta\ndata: nonsense\n\n"),
    "half an object": _raw(_HEAD + b',"delta":"tw\n\n'),
}

UPSTREAM: tuple[Fault, ...] = (
    # -- no connection -------------------------------------------------------------------
    Fault("the upstream's name cannot be looked up", **_UNREACHABLE, upstream="nameless", asked=0, logged=_AGAIN),
    Fault("the upstream refuses connections", **_UNREACHABLE, upstream="refusing", asked=0, logged=_AGAIN),
    Fault(
        "the upstream takes no connections",
        **_same(504, "upstream_timeout", f"connect limit of {CONNECT:g} seconds"),
        upstream="deaf",
        asked=0,
        logged="failed with upstream_timeout",
    ),
    Fault("the upstream's certificate is not to be trusted", **_UNREACHABLE, upstream="forged", asked=0, logged=_AGAIN),
    Fault("plain HTTP comes where TLS is spoken", **_UNREACHABLE, upstream="plain", asked=0, logged=_AGAIN),
    Fault(
        "a TLS handshake that does not end",
        **_same(504, "upstream_timeout", f"connect limit of {CONNECT:g} seconds"),
        upstream="mute",
        asked=0,
        logged="failed with upstream_timeout",
    ),
    # -- no answer -----------------------------------------------------------------------
    Fault(
        "a reset before the headers",
        **_UNREACHABLE,
        script=cut_after(TEXT, "reset", at="head"),
        asked=2,
        logged="next is simulator",
    ),
    Fault("silence before the headers", **_FIRST, script={**TEXT, "delay_ms": 60_000}),
    Fault("headers that come byte by byte, without an end", **_FIRST, script={**TEXT, "head_pace_ms": 300}),
    Fault("silence before the first event", **_FIRST, script=stall_at(TEXT, at="first_event")),
    Fault(
        "comments instead of a first event",
        **_FIRST,
        script={**stall_at(TEXT, at="first_event"), "rules": {"keepalives": {"every_ms": 200, "comment": True}}},
    ),
    Fault("a 200 without a body", **_same(502, "upstream_truncated"), script=http(200, body=""), asked=2),
    Fault(
        "a page that wants to know whether we are human",
        **_same(502, "upstream_challenge", "another network"),
        script=http(403, html=_PAGE.format("Just a moment"), headers={"cf-mitigated": "challenge"}),
    ),
    Fault(
        "a page with status 200",
        **_same(502, "upstream_challenge", "another network"),
        script=http(200, html=_PAGE.format("Welcome")),
    ),
    Fault(
        "a page of a broken gateway",
        **_same(502, "upstream_unavailable", "502"),
        script=http(502, html=_PAGE.format("Bad gateway")),
        asked=2,
    ),
    Fault(
        "a refusal whose words do not end",
        **_late(503, "overloaded", "503"),
        script={**http(503, {"error": {"message": "busy"}}), "stalls": [{"byte": 9}]},
        asked=2,
        seconds=10.0,
    ),
    # -- half an answer ------------------------------------------------------------------
    Fault("a reset in mid-stream", **_BROKEN, script=cut_after(TEXT, "reset", event=6), delivered="one two "),
    Fault(
        "a reset within a chunk", **_BROKEN, script=cut_after(TEXT, "truncated_chunk", event=6), delivered="one two "
    ),
    Fault("a chunk without a size", **_BROKEN, script=cut_after(TEXT, "bad_chunk", event=6), delivered="one two "),
    Fault("a close in mid-stream", **_BROKEN, script=cut_after(TEXT, "close", event=6), delivered="one two "),
    Fault(
        "a connection that is closed by halves",
        **_BROKEN,
        script=cut_after(TEXT, "half_close", event=6),
        delivered="one two ",
    ),
    Fault(
        "an end without a terminal event",
        **_late(502, "upstream_truncated", "ended the stream", comments=False),
        script=cut_after(TEXT, "clean", event=6),
        delivered="one two ",
    ),
    Fault("silence between two events", **_IDLE, script=stall_at(TEXT, event=6), delivered="one two "),
    Fault("silence within an event", **_IDLE, script=stall_at(TEXT, inside_event=6), delivered="one two "),
    Fault("silence within a chunk", **_IDLE, script=stall_at(TEXT, inside_chunk=6), delivered="one two "),
    Fault(
        "silence within a character",
        **_IDLE,
        script=stall_at(say("one ", "naïve"), inside_utf8=True),
        delivered="one ",
    ),
    Fault(
        "comments in mid-stream, and nothing else",
        **_IDLE,
        script={**stall_at(TEXT, event=6), "rules": {"keepalives": {"every_ms": 200, "comment": True}}},
        delivered="one two ",
    ),
    Fault(
        "an answer that takes longer than it may",
        **_TOTAL,
        script=say(*_MANY.split(), pace_ms=100),
        delivered="wordword",
        seconds=8.0,
    ),
    Fault(
        "an event of a known type that is no JSON, together with good ones",
        **_GARBAGE,
        script=BROKEN["a word"],
        delivered="one ",
    ),
    # -- an answer in an unusual form ----------------------------------------------------
    Fault("events of 2 MB", WHOLE, WHOLE, script=say("x" * 2_000_000, omit_events=_REPEATS)),
    Fault("an answer in writes of one byte", WHOLE, WHOLE, script={**TEXT, "chunking": "byte"}),
)

_UNKEPT = "the answer is not stored; the login is, as soon as that can be done, at the latest when the service ends"
_IN_MEMORY = "The renewed login is kept in memory until it can be written."

HOST: dict[str, HostFault] = {
    row.test: row
    for row in (
        HostFault(
            "the disk is full",
            WHOLE,
            WHOLE,
            "the answer is not stored; the login is, in the room that is kept for it",
            ("was not kept",),
            "test_a_full_disk",
        ),
        HostFault(
            "the disk is full, and a worker is killed",
            WHOLE,
            WHOLE,
            "the login; another worker takes the place",
            ("was not kept", "something was not counted"),
            "test_a_worker_that_starts_on_a_full_disk",
        ),
        HostFault(
            "`DATA_DIR` cannot be written",
            WHOLE,
            WHOLE,
            _UNKEPT,
            ("was not kept", _IN_MEMORY, "Permission denied"),
            "test_a_data_folder_that_cannot_be_written",
        ),
        HostFault(
            "another process keeps our databases locked",
            WHOLE,
            WHOLE,
            "the answer is not stored; the ledger's rows are, once they can be",
            ("database is locked", "was not kept"),
            "test_databases_that_somebody_else_keeps_locked",
        ),
        HostFault(
            "`tokens.json` is no file but a pipe",
            Told(500, "storage_failed", "it is a pipe, not a file"),
            Told(500, "storage_failed", "it is a pipe, not a file"),
            "the pipe; the next login takes its place",
            ("code=storage_failed",),
            "test_a_pipe_in_the_place_of_the_login",
        ),
        HostFault(
            "the clock jumps an hour ahead and two back in mid-stream",
            WHOLE,
            WHOLE,
            "everything",
            (),
            "test_a_clock_that_jumps_in_mid_stream",
        ),
        HostFault(
            "the clock is weeks ahead, so that every login looks like an old one",
            Told(502, "refresh_failed"),
            Told(502, "refresh_failed"),
            "the login; it is used as soon as the clock is right",
            ("code=refresh_failed",),
            "test_a_clock_that_is_weeks_ahead",
        ),
        HostFault(
            "SIGTERM, and the answer takes longer than the service may",
            Told(503, "overloaded", "stopped or restarted"),
            Told(200, "overloaded", "stopped or restarted"),
            "the login, the ledger's rows",
            ("code=overloaded",),
            "test_the_end_of_the_service",
        ),
        HostFault(
            "SIGHUP",
            WHOLE,
            WHOLE,
            "everything",
            ("Handling signal: hup",),
            "test_a_reload",
        ),
        HostFault(
            "SIGKILL of a worker",
            Told(0, cut=True),
            Told(200, cut=True),
            "the login; the turn is in the ledger as `worker_killed`; another worker takes the place",
            ("was sent SIGKILL",),
            "test_a_worker_that_is_killed",
        ),
    )
}
