"""``/backend-api/codex/responses``: refuses or answers one turn (docs/reference/requests.md)."""

import secrets
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from codexproxy.simulator.answers import Circumstances, render_answer
from codexproxy.simulator.connection import Answer, Performance
from codexproxy.simulator.delivery import Coding, Cut, Delivery, Send, Sleep, Step, Wait, gzip_coder, plan_body
from codexproxy.simulator.events import Frame, Json, is_sealed_for
from codexproxy.simulator.http import Request
from codexproxy.simulator.improvise import improvise
from codexproxy.simulator.refusals import (
    Refusal,
    api_error,
    authorize,
    check_gateway,
    check_user_agent,
    check_weather,
    detail,
)
from codexproxy.simulator.replies import Headers, json_reply, render_head
from codexproxy.simulator.rules import Active
from codexproxy.simulator.scripts import in_head, marks_of, raw_body, split_frames
from codexproxy.simulator.sse import encode, encode_one
from codexproxy.simulator.tokens import Login
from codexproxy.simulator.turn_checks import check_turn

if TYPE_CHECKING:
    from codexproxy.simulator.world import World

ENDPOINT = "responses"
KEEPALIVE_MS = 1000
BUFFERING_MS = 1000
# Says that the connection lives, and nothing else (WHATWG HTML §9.2.6).
COMMENT = b": keepalive\n\n"


def answer_turn(world: "World", request: Request) -> Answer:
    """Answers one POST: a refusal, or a stream."""
    waiting = world.scripts.find(ENDPOINT, request)
    script = waiting.script if waiting is not None else {}
    if waiting is not None and ("status" in script or script.get("rules")):
        world.scripts.use(ENDPOINT, waiting)
    if "status" in script:
        return scripted_reply(script, is_turn=True)
    rules = world.rules.active(request, script.get("rules"))
    try:
        login = authorize(request.headers, rules, world.tokens)
        body = _checked_body(world, request, rules, login)
    except Refusal as refusal:
        reply = refusal.reply()
        reply.headers += _common_headers(world, rules)
        return reply
    if waiting is None:
        script = {"pace_ms": world.pace_ms, **improvise(body)}
    elif not script.get("rules"):
        world.scripts.use(ENDPOINT, waiting)
    frames = _frames(world, script, body, rules, login)
    return perform_stream(world, script, frames, _stream_headers(world, script, body, rules), rules)


def _checked_body(world: "World", request: Request, rules: Active, login: Login) -> Json:
    check_user_agent(request.headers, rules)
    check_weather(rules, login.plan, world.clock())
    try:
        body = request.json()
    except ValueError as error:
        raise detail("Invalid JSON body") from error
    if not isinstance(body, dict):
        raise detail("Input should be a valid dictionary")
    check_gateway(body, rules, world.catalogue, world.official_instructions)
    check_turn(body, request.headers, rules, world.catalogue.find(body.get("model")))
    _check_encrypted(body, rules, login)
    return body


def _check_encrypted(body: Json, rules: Active, login: Login) -> None:
    if not rules.on("invalid_encrypted_content"):
        return
    for item in body.get("input") or []:
        sealed = item.get("encrypted_content") if isinstance(item, dict) else None
        if sealed is None or is_sealed_for(sealed, login.account_id, str(body.get("model"))):
            continue
        if rules.fires("invalid_encrypted_content"):
            message = "The encrypted content could not be verified. Reason: Encrypted content could not be decrypted."
            code = rules.option("invalid_encrypted_content", "code", "invalid_encrypted_content")
            raise api_error(message, None, code)


def _frames(world: "World", script: Json, body: Json, rules: Active, login: Login) -> list[bytes]:
    raw = raw_body(script)
    if raw is not None:
        return [raw] if script.get("raw_frames") is False else split_frames(raw)
    around = Circumstances(
        body=body,
        account_id=login.account_id,
        plan=login.plan,
        now=world.clock(),
        rules=rules,
        quota=world.quota,
        input_tokens=0,
    )
    around.input_tokens, around.cached_tokens = world.cache.count(login.account_id, body)
    return encode(render_answer(script, around), rules)


def _common_headers(world: "World", rules: Active) -> Headers:
    quota = world.quota.headers(world.clock(), rules.on("retired_headers"))
    request_id = str(uuid.uuid4())
    ids = [("x-request-id", request_id), ("x-oai-request-id", request_id), ("cf-ray", secrets.token_hex(8) + "-SIM")]
    return [*ids, *quota.items()]


def _stream_headers(world: "World", script: Json, body: Json, rules: Active) -> Headers:
    headers = _common_headers(world, rules)
    headers += [("openai-model", str(body.get("model"))), ("x-models-etag", world.catalogue.etag)]
    headers += [("x-codex-turn-state", secrets.token_urlsafe(24))]
    if not rules.on("no_content_type"):
        headers.append(("content-type", "text/event-stream; charset=utf-8"))
    return headers + list((script.get("headers") or {}).items())


def perform_stream(world: "World", script: Json, frames: list[bytes], headers: Headers, rules: Active) -> Performance:
    """The performance of a streamed answer, with the stalls and cuts of its script."""
    coding = Coding(
        chunked=not rules.on("close_delimited"),
        extensions=rules.on("chunk_extensions"),
        trailers=rules.on("trailers"),
        squeeze=gzip_coder() if rules.on("gzip") else None,
    )
    headers = headers + _framing_headers(coding)
    delivery = _delivery(world, script, frames, rules)
    steps = _with_head(script, render_head(200, headers), plan_body(frames, delivery, coding))
    linger = rules.on("socket_left_open")
    return Performance(steps, lasting=coding.chunked, is_turn=True, linger=linger)


def _framing_headers(coding: Coding) -> Headers:
    framing = ("transfer-encoding", "chunked") if coding.chunked else ("connection", "close")
    return [framing] + ([("content-encoding", "gzip")] if coding.squeeze is not None else [])


def _delivery(world: "World", script: Json, frames: list[bytes], rules: Active) -> Delivery:
    marks = marks_of(script, frames)
    if rules.on("safety_buffering") and len(frames) > 3:
        quiet = {"event": 3, "ms": rules.option("safety_buffering", "ms", BUFFERING_MS)}
        marks += marks_of({"stalls": [quiet]}, frames)
    every = rules.option("keepalives", "every_ms", KEEPALIVE_MS) / 1000 if rules.on("keepalives") else None
    keepalive: Frame = ("keepalive", b'{"type":"keepalive"}')
    quiet_word = COMMENT if rules.option("keepalives", "comment", False) else encode_one(keepalive, rules)
    return Delivery(
        pace=script.get("pace_ms", 0) / 1000,
        chunking=script.get("chunking", "frame"),
        marks=marks,
        keepalive=every,
        silence_event=lambda: quiet_word,
        gate_open=world.gates.is_open,
        end=not rules.on("socket_left_open"),
        clock=time.monotonic,
    )


def _with_head(script: Json, head: bytes, body: Iterator[Step]) -> Iterator[Step]:
    """The head, with what the script lets happen before or inside it, then the body."""
    if script.get("delay_ms"):
        yield Sleep(script["delay_ms"] / 1000)
    places = [place for place in [*(script.get("stalls") or []), script.get("cut") or {}] if in_head(place)]
    for place in places:
        if place["at"] == "inside_head":
            yield Send(head[: len(head) // 2])
            head = head[len(head) // 2 :]
        if "how" in place:
            yield Cut("reset" if place["how"] == "reset" else "close")
            return
        milliseconds = place.get("ms")
        yield Wait(place.get("gate"), None if milliseconds is None else milliseconds / 1000)
    yield from _paced_head(head, script.get("head_pace_ms", 0) / 1000)
    yield from body


def _paced_head(head: bytes, pace: float) -> Iterator[Step]:
    if not pace:
        yield Send(head)
        return
    for position in range(len(head)):
        yield Sleep(pace)
        yield Send(head[position : position + 1])


def scripted_reply(script: Json, is_turn: bool = False) -> Answer:
    """The plain HTTP answer of a ``status`` script; a slow one counts as an open stream if it is a turn."""
    headers: Headers = list((script.get("headers") or {}).items())
    reply = json_reply(script["json"]) if "json" in script else json_reply(None)
    if "html" in script:
        reply.headers, reply.body = [("content-type", "text/html; charset=utf-8")], script["html"].encode()
    elif "json" not in script:
        reply.headers, reply.body = [], str(script.get("body", "")).encode()
    reply.status = script["status"]
    reply.headers += headers
    if not any(key in script for key in ("delay_ms", "cut", "stalls")):
        return reply
    whole = render_head(reply.status, [*reply.headers, ("content-length", str(len(reply.body)))])
    delivery = Delivery(marks=marks_of(script, [reply.body]), end=False)
    steps = _with_head(script, whole, plan_body([reply.body], delivery, Coding(chunked=False)))
    return Performance(steps, status=reply.status, is_turn=is_turn)
