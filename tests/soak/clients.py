"""The clients: each is a thread with a key of its own, which plays one kind of session after the other."""

import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.growth.conversations import CHAT as GROWING
from tests.growth.conversations import UNFOLDING
from tests.soak.exchange import PLAIN, SLOW, Manner, Seen, exchange
from tests.soak.faults import FAULTS, marker, text_of
from tests.soak.reading import CHAT, RESPONSES, Told, told
from tests.soak.tally import Tally

Json = dict[str, Any]
MODEL = "gpt-5.2"
# Whose key reads /metrics, which those of other clients do not.
SCRAPER = "scraper"
WORDS = "the quick brown fox — schnell, быстро, 素早く, 🦊 — jumps over the lazy dog".split()
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ARGUMENTS = '{"city":"Zürich"}'


@dataclass(frozen=True, slots=True)
class Asked:
    """A turn, and what has to come of it.

    Attributes:
        path: The route.
        stream: Whether a stream is wanted.
        body: The request.
        text: The words that the answer must have; None where others are looked at.
        codes: The codes of the failure that must come instead; empty where none may.
        fault: The fault that was asked for.
    """

    path: str
    stream: bool
    body: Json
    text: str | None = None
    codes: tuple[str, ...] = ()
    fault: str = ""


def asking(path: str, stream: bool, words: str, **more: Any) -> Json:
    """A request of one user message."""
    field = {"messages": [{"role": "user", "content": words}]} if path == CHAT else {"input": words}
    return {"model": MODEL, "stream": stream, **field, **more}


class Client(threading.Thread):
    """One client.

    Attributes:
        user: The name of its key.

    Args:
        number: Its number; its key is ``user-NUMBER``'s.
        port: The service's port.
        tally: Told of everything.
        seed: Of its choices.
        sessions: What it plays, and how often.
    """

    def __init__(self, number: int, port: int, tally: Tally, seed: int, sessions: "Sessions | None" = None) -> None:
        super().__init__(name=f"client-{number}")
        self._sessions = SESSIONS if sessions is None else sessions
        self.user = f"user-{number}"
        self._port = port
        self._tally = tally
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._over = threading.Event()

    def stop(self) -> None:
        """Ends it after the session under way."""
        self._over.set()

    def run(self) -> None:
        """Plays sessions until stopped."""
        while not self._over.wait(self._random.uniform(0.0, 0.6)):
            (kind,) = self._random.choices(list(self._sessions), [weight for _, weight in self._sessions.values()])
            try:
                self._sessions[kind][0](self, kind)
            except Exception as error:  # a mistake of the soak's own has to show, too
                self._tally.wrong(f"{kind}: {type(error).__name__}: {error}")

    # What sessions are made of.

    def words(self, least: int = 3, most: int = 40) -> str:
        """Words that nobody else says."""
        said = self._random.choices(WORDS, k=self._random.randint(least, most))
        return f"{self.user}.{next(self._numbers)} {' '.join(said)}."

    def path(self) -> str:
        """One of the two dialects."""
        return self._random.choice((CHAT, RESPONSES))

    def flip(self) -> bool:
        """True or false."""
        return self._random.random() < 0.5

    def choice(self, of: list[str]) -> str:
        """One of some names."""
        return self._random.choice(of)

    def get(self, path: str, key: str = "") -> Seen:
        """GETs a path, with a key of its own or another's."""
        return exchange(self._port, "GET", path, None, f"{key or self.user}-key")

    def send(self, body: bytes) -> Seen:
        """Sends a turn of which nothing is known but that it ends."""
        seen = exchange(self._port, "POST", CHAT, body, f"{self.user}-key")
        self._tally.turned(self.user, None)
        return seen

    def turn(self, kind: str, asked: Asked, manner: Manner = PLAIN) -> Told | None:
        """Has one turn; gives what was said where all is well."""
        seen = exchange(self._port, "POST", asked.path, asked.body, f"{self.user}-key", manner)
        if manner.leaves is not None:
            self._tally.turned(self.user, None)
            self._tally.came_out(kind, "left")
            return None
        if seen.broken:
            self._broken(kind, seen)
            return None
        self._tally.turned(self.user, seen.ended)
        answer = told(asked.path, asked.stream, seen)
        flaw = _judged(asked, answer)
        self._tally.came_out(kind, "UNEXPLAINED" if flaw else "failed as asked" if asked.codes else "answered")
        if flaw:
            self._tally.wrong(f"{kind} {asked.fault} {asked.path} stream={asked.stream} status {seen.status}: {flaw}")
        return None if flaw else answer

    def _broken(self, kind: str, seen: Seen) -> None:
        self._tally.turned(self.user, None)
        explained = self._tally.was_killed(seen.port, seen.began, seen.ended)
        self._tally.came_out(kind, "worker killed" if explained else "UNEXPLAINED")
        if not explained:
            self._tally.wrong(f"{kind}: {seen.broken} after {seen.ended - seen.began:.1f} s, status {seen.status}")

    def looked(self, kind: str, seen: Seen, good: bool) -> None:
        """Judges a request that is no turn."""
        if seen.broken:
            explained = self._tally.was_killed(seen.port, seen.began, seen.ended)
            self._tally.came_out(kind, "worker killed" if explained else "UNEXPLAINED")
            good = explained
        else:
            self._tally.came_out(kind, "answered" if good else "UNEXPLAINED")
        if not good:
            self._tally.wrong(f"{kind}: {seen.broken or seen.status} {seen.body[:200]!r}")

    def keep(self, answer: Told) -> None:
        """Notes that an answer can be fetched."""
        self._tally.kept(answer.id, self.user, answer.text)

    def failed_as_asked(self, fault: str) -> None:
        """Counts a fault that was told as it should be."""
        self._tally.failed_as_asked(fault)


def _judged(asked: Asked, answer: Told) -> str:
    """What is wrong with an answer; empty when nothing is."""
    if answer.flaw:
        return answer.flaw
    if asked.codes:
        return "" if answer.code in asked.codes else f"code {answer.code}, and not one of {asked.codes}"
    if answer.code is not None:
        return f"code {answer.code} without a reason"
    if asked.text is not None and answer.text != asked.text:
        return f"text {answer.text!r}, and not {asked.text!r}"
    return ""


# The sessions.


def plain(client: Client, kind: str) -> None:
    """One question, in either dialect, streamed or not."""
    path, stream, words = client.path(), client.flip(), client.words()
    answer = client.turn(kind, Asked(path, stream, asking(path, stream, f"say:{words}"), words))
    if answer is not None and path == RESPONSES:
        client.keep(answer)


def odd(client: Client, kind: str) -> None:
    """A question whose answer comes in an odd way."""
    path, stream, name = client.path(), client.flip(), client.choice(["bytes", "pause"])
    client.turn(kind, Asked(path, stream, asking(path, stream, marker(name)), text_of(name)))


def long(client: Client, kind: str) -> None:
    """A stream of some seconds, which reloads have to let finish."""
    path = client.path()
    client.turn(kind, Asked(path, True, asking(path, True, marker("long")), text_of("long")))


def faulty(client: Client, kind: str) -> None:
    """A question that upstream fails to answer."""
    path, stream, name = client.path(), client.flip(), client.choice(list(FAULTS))
    body = asking(path, stream, f"{client.words()} {marker(name)}")
    seen = client.turn(kind, Asked(path, stream, body, codes=FAULTS[name].codes, fault=name))
    if seen is not None:
        client.failed_as_asked(name)


def conversation(client: Client, kind: str) -> None:
    """Stored turns, each of which continues the last."""
    before: str | None = None
    for _ in range(3):
        stream, words = client.flip(), client.words()
        more = {"previous_response_id": before} if before else {}
        answer = client.turn(kind, Asked(RESPONSES, stream, asking(RESPONSES, stream, f"say:{words}", **more), words))
        if answer is None:
            return
        client.keep(answer)
        before = answer.id


def chat_tool(client: Client, kind: str) -> None:
    """A tool call and its result, in chat."""
    stream = client.flip()
    tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    body = asking(CHAT, stream, f"{client.words()}\ncall:weather {ARGUMENTS}", tools=tools)
    answer = client.turn(kind, Asked(CHAT, stream, body))
    if answer is None or not (call := _only_call(client, kind, answer)):
        return
    result = client.words()
    function = {"name": "weather", "arguments": ARGUMENTS}
    body["messages"] += [
        {"role": "assistant", "content": None, "tool_calls": [{"id": call, "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": call, "content": result},
    ]
    client.turn(kind, Asked(CHAT, stream, body, f"The tool answered: {result}"))


def response_tool(client: Client, kind: str) -> None:
    """A tool call and its result, where the conversation is kept by the service."""
    stream = client.flip()
    tools = [{"type": "function", "name": "weather", "parameters": WEATHER}]
    body = asking(RESPONSES, stream, f"{client.words()}\ncall:weather {ARGUMENTS}", tools=tools)
    answer = client.turn(kind, Asked(RESPONSES, stream, body))
    if answer is None or not (call := _only_call(client, kind, answer)):
        return
    client.keep(answer)
    result = client.words()
    output = [{"type": "function_call_output", "call_id": call, "output": result}]
    body = {"model": MODEL, "stream": stream, "input": output, "tools": tools, "previous_response_id": answer.id}
    answer = client.turn(kind, Asked(RESPONSES, stream, body, f"The tool answered: {result}"))
    if answer is not None:
        client.keep(answer)


def _only_call(client: Client, kind: str, answer: Told) -> str:
    good = list(answer.calls.values()) == [("weather", ARGUMENTS)]
    client.looked(f"{kind}: the call", Seen(0.0, 200, body=repr(answer).encode()), good)
    return next(iter(answer.calls)) if good else ""


def leaving(client: Client, kind: str) -> None:
    """A client that goes away, before or in the middle of its answer."""
    path, name = client.path(), client.choice(["long", "stall", "stall at the head"])
    leaves = 0 if name != "long" or client.flip() else 3
    client.turn(kind, Asked(path, True, asking(path, True, marker(name))), Manner(leaves=leaves))


def slow(client: Client, kind: str) -> None:
    """A client that reads slowly."""
    path, words = client.path(), client.words(60, 200)
    client.turn(kind, Asked(path, True, asking(path, True, f"say:{words}"), words), SLOW)


def looking(client: Client, kind: str) -> None:
    """Requests beside the turns."""
    seen = client.get("/health")
    client.looked("/health", seen, seen.status == 200)
    signs = {"/v1/models": MODEL.encode(), "/metrics": b"codexproxy_build_info", "/ready": b"ready"}
    for path, sign in signs.items():
        seen = client.get(path, SCRAPER if path == "/metrics" else "")
        client.looked(path, seen, seen.status == 200 and sign in seen.body)


def growing(client: Client, kind: str) -> None:
    """Whatever is hardest to read, from the tables of tests/growth, some times their smallest size."""
    seen = client.send(_hard_to_read(client.choice(HARD)))
    # The simulator's model cannot fill every schema.
    misfit = seen.status == 502 and b"invalid_structured_output" in seen.body
    client.looked(kind, seen, seen.status in (200, 400, 413) or misfit)


HARD = [*GROWING, *UNFOLDING]


@cache
def _hard_to_read(name: str) -> bytes:
    # Encoded once, since that takes the time of all clients, who share one process.
    size, payload = (GROWING | UNFOLDING)[name]
    body = payload(size if name in UNFOLDING else size * 3)
    return json.dumps({**body, "model": body["model"] if len(body["model"]) > len(MODEL) else MODEL}).encode()


Sessions = dict[str, tuple[Callable[[Client, str], None], int]]

# What is played, and how often.
SESSIONS: Sessions = {
    "plain": (plain, 10),
    "odd delivery": (odd, 2),
    "long stream": (long, 3),
    "upstream fault": (faulty, 7),
    "conversation": (conversation, 4),
    "tool in chat": (chat_tool, 2),
    "tool in responses": (response_tool, 2),
    "leaves": (leaving, 3),
    "slow reader": (slow, 2),
    "beside the turns": (looking, 2),
}


# What one caller more plays all the time.
GREEDY: Sessions = {"growing input": (growing, 1)}


def crowd(count: int, port: int, tally: Tally, seed: int) -> list[Client]:
    """So many clients, started; the last of them sends nothing but what is hard to read."""
    clients = [
        Client(number, port, tally, seed * 1000 + number, GREEDY if number == count - 1 else SESSIONS)
        for number in range(count)
    ]
    for client in clients:
        client.start()
        time.sleep(0.02)
    return clients
