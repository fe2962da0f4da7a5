"""Asks a service in four ways at once and tells what each client got."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import IncompleteRead
from itertools import count
from typing import Any

from codexproxy.simulator.client import SimulatorClient
from tests.faults.outcome import Told
from tests.service import Answer, Service, wait_until

Json = dict[str, Any]

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


@dataclass(frozen=True)
class Way:
    """How a client asks."""

    dialect: str
    stream: bool

    @property
    def path(self) -> str:
        """The route."""
        return CHAT if self.dialect == "chat" else RESPONSES

    def __str__(self) -> str:
        return f"{self.dialect}-{'stream' if self.stream else 'plain'}"

    def body(self, marker: str) -> Json:
        """A request; upstream finds the marker in it."""
        asked: Json = {"input": marker} if self.dialect == "responses" else {"messages": [_user(marker)]}
        return {"model": "gpt-5.2", "stream": self.stream, **asked}


# Every honest request is told from all others of this process.
_HONEST = count(1)

WAYS = tuple(Way(dialect, stream) for dialect in ("chat", "responses") for stream in (False, True))


def _user(text: str) -> Json:
    return {"role": "user", "content": text}


class CutAnswer(Answer):
    """What there was of an answer when its connection ended."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.headers, self.body = status, {}, body


def asked_of(service: Service, way: Way, body: Json, headers: dict[str, str], begun: Callable[[], object]) -> Answer:
    """The answer, or what there is of it; tells when its headers are there."""
    connection = service.connect()
    status = 0
    try:
        connection.request("POST", way.path, json.dumps(body), headers)
        response = connection.getresponse()
        status = response.status
        begun()
        return Answer(response)
    except IncompleteRead as cut:
        return CutAnswer(status, cut.partial)
    except ConnectionError:
        return CutAnswer(status, b"")
    finally:
        connection.close()


@dataclass(frozen=True)
class Got:
    """What one client got.

    Attributes:
        way: How it asked.
        answer: The whole answer.
        seconds: How long that took.
        log: The service's lines about this request.
        asked: How many turns reached the upstream.
    """

    way: Way
    answer: Answer
    seconds: float
    log: str = ""
    asked: int = 0

    @property
    def told(self) -> Told:
        """The status, the error's code and its message, and whether there were comments."""
        error = self.error or {}
        comments = b"\n: keepalive\n" in b"\n" + self.answer.body
        cut = isinstance(self.answer, CutAnswer)
        return Told(self.answer.status, error.get("code") or "", error.get("message") or "", comments, cut)

    @property
    def events(self) -> list[Json]:
        """The JSON of a stream's messages."""
        lines = self.answer.body.decode().split("\n")
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]

    @property
    def error(self) -> Json | None:
        """The error object."""
        if self.answer.status not in (0, 200):
            found: Json = self.answer.json["error"]
            return found
        if not self.way.stream or self.answer.status == 0:
            return None
        return next((event["error"] for event in self.events if event.get("error")), None)

    @property
    def text(self) -> str:
        """The words of the answer."""
        if self.way.dialect == "chat":
            parts = self.events if self.way.stream else [self.answer.json]
            choices = [choice for part in parts for choice in part.get("choices", [])]
            return "".join((choice.get("delta") or choice.get("message"))["content"] or "" for choice in choices
                           if (choice.get("delta") or choice.get("message") or {}).get("content"))  # fmt: skip
        if self.way.stream:
            return "".join(event["delta"] for event in self.events if event["type"] == "response.output_text.delta")
        items = [item for item in self.answer.json["output"] if item["type"] == "message"]
        return "".join(part["text"] for item in items for part in item["content"])

    @property
    def response_id(self) -> str | None:
        """The id of a Responses answer, as far as it was told."""
        if self.answer.status != 200 or self.way.dialect != "responses":
            return None
        parts = [event.get("response", {}) for event in self.events] if self.way.stream else [self.answer.json]
        return next((part["id"] for part in parts if part.get("id")), None)

    @property
    def is_ended(self) -> bool:
        """Whether a stream has its terminator, once and at its very end; true of all other answers."""
        body = self.answer.body
        if not self.way.stream or self.answer.status != 200:
            return True
        if self.way.dialect == "chat":
            return body.endswith(b"data: [DONE]\n\n") and body.count(b"data: [DONE]") == 1
        ends = [event["type"] for event in self.events if re.fullmatch(r"response\.(completed|failed)", event["type"])]
        return len(ends) == 1 and self.events[-1]["type"] == ends[0] and body.endswith(b"}\n\n")


class House:
    """A service, its upstreams, and what its ledger has to hold at the end.

    Args:
        service: The service.
        sim: The upstream that can be steered.
        keyed: Whether a key says which upstream is meant.
    """

    def __init__(self, service: Service, sim: SimulatorClient, *, keyed: bool = False) -> None:
        self.service = service
        self.sim = sim
        self.ledger: Counter[tuple[str, int, str]] = Counter()
        self._keyed = keyed
        self._log_read = 0
        self._begun: set[str] = set()

    def headers(self, upstream: str) -> Json:
        """What says which upstream is meant."""
        return {"authorization": f"Bearer {upstream}"} if self._keyed else {}

    def ask(self, way: Way, marker: str, upstream: str = "simulator", fields: Json | None = None) -> Got:
        """One request."""
        headers = {"x-request-id": f"{marker}-{way}", **self.headers(upstream)}
        body = {**way.body(f"say nothing {marker}-{way}"), **(fields or {})}
        began = time.monotonic()
        begun = partial(self._begun.add, f"{marker}-{way}")
        answer = asked_of(self.service, way, body, headers, begun)
        got = Got(way, answer, time.monotonic() - began)
        row = (200 if way.stream else 500, "worker_killed") if got.told.cut else (got.told.status, got.told.code)
        self.ledger[way.dialect, *row] += 1
        return got

    def play(self, marker: str, upstream: str = "simulator", ways: Sequence[Way] = WAYS) -> dict[Way, Got]:
        """All four requests at once, then what was seen of them at the upstream and in the log."""
        with ThreadPoolExecutor(len(ways)) as pool:
            found = list(pool.map(lambda way: self.ask(way, marker, upstream), ways))
        return {got.way: self._seen(got, marker) for got in found}

    @contextmanager
    def playing(self, marker: str) -> Iterator["Future[dict[Way, Got]]"]:
        """The same while something else happens, which begins when all four are under way."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.play, marker)
            wait_until(lambda: self.sim.counters()["open_streams"] == len(WAYS), "four turns under way")
            streams = {f"{marker}-{way}" for way in WAYS if way.stream}
            wait_until(lambda: streams <= self._begun, "the first words of both streams")
            yield future

    def _seen(self, got: Got, marker: str) -> Got:
        name = f"{marker}-{got.way}"
        if not got.told.cut:
            wait_until(lambda: self._ended(name), f"the end of {name} in the log")
        log = "\n".join(line for line in self.service.log.split("\n") if f"[{name}]" in line)
        asked = [turn for turn in self.sim.turns(name) if turn["status"] != 401]
        return Got(got.way, got.answer, got.seconds, log, len(asked))

    def _ended(self, name: str) -> bool:
        return re.search(rf"\[{re.escape(name)}\] request end", self.service.log) is not None

    def fresh_log(self) -> str:
        """What was logged since this was asked last."""
        log = self.service.log
        fresh, self._log_read = log[self._log_read :], len(log)
        return fresh

    def is_calm(self) -> None:
        """Nothing is open at the upstream any more."""
        wait_until(lambda: self.sim.counters()["open_streams"] == 0, "the end of all streams upstream", 3)

    def is_well(self) -> None:
        """An honest request is answered, in each way."""
        for way, got in self.play(f"honest-{next(_HONEST)}").items():
            told = got.told
            assert (told.status, told.code, got.is_ended) == (200, "", True), (
                f"{way}: {told}, {got.answer.body[-300:]!r}"
            )
            assert got.asked == 1
