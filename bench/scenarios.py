"""The scenarios of the benchmark, as data."""

import json
from dataclasses import dataclass, replace

from bench.client import Load

MODEL = "gpt-5.2"
EVERYBODY = ("ours", "direct", "nginx", "chatmock")
# Measured where they are installed (``make bench-peers``).
PEERS = ("codex-api-proxy", "codex-lb", "codex-proapi", "litellm", "openai-oauth")
# Those that get 200 streams through in time; LiteLLM takes two minutes for six seconds of them.
SWIFT_PEERS = tuple(name for name in PEERS if name != "litellm")
PLAIN = ("ours", "direct", "nginx")
# Seconds a load may take beyond its own pace.
PATIENCE = 120.0
# Seconds a delta may take to pass through the slowest.
SLOWEST = 0.005


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load.

    Attributes:
        key: Its short name.
        title: What it is, for people.
        at_once: Streams, or requests, at the same time.
        deltas: Deltas per answer.
        pace: Milliseconds between them; 0 is flat out.
        targets: Who takes part; ours is always compared with the others in the same round.
        dialect: What ours is asked in; pass-through targets always get a Responses request.
        stream: Whether the client asks for a stream.
        per_place: How many requests follow each other in each place.
        ramp: Seconds over which the load begins; uneven, so that streams do not tick together.
        kilobytes: Size of the conversation that is sent.
        quick_deltas: Deltas in a quick run; 0 leaves the scenario out.
        quick_per_place: Requests per place in a quick run.
    """

    key: str
    title: str
    at_once: int
    deltas: int
    pace: int
    targets: tuple[str, ...] = EVERYBODY
    dialect: str = "chat"
    stream: bool = True
    per_place: int = 1
    ramp: float = 0.0
    kilobytes: int = 0
    quick_deltas: int = 0
    quick_per_place: int = 1

    def quick(self) -> "Scenario | None":
        """The same, shorter; None when a quick run leaves it out."""
        if not self.quick_deltas:
            return None
        return Scenario(
            **{
                **{name: getattr(self, name) for name in self.__slots__},
                "deltas": self.quick_deltas,
                "per_place": self.quick_per_place,
            }
        )

    def once(self) -> "Scenario":
        """The same with one request in each place, for those with which a long stream takes half a minute."""
        return replace(self, per_place=1)

    def load(self, port: int, path: str, dialect: str) -> Load:
        """What the client does in this scenario."""
        return Load(
            port=port,
            path=path,
            body=body(dialect, self),
            requests=self.at_once * self.per_place,
            at_once=self.at_once,
            ramp=self.ramp,
            deltas=self.deltas if self.stream else 0,
            stamped=self.pace > 0,
            limit=PATIENCE + self.ramp + self.per_place * self.deltas * max(self.pace / 1000, SLOWEST),
        )


def body(dialect: str, scenario: Scenario) -> str:
    """The JSON of a request in a dialect."""
    words = f"load n={scenario.deltas} pace={scenario.pace}"
    turns = [*_conversation(scenario.kilobytes), ("user", words)]
    if dialect == "chat":
        messages = [{"role": role, "content": text} for role, text in turns]
        return json.dumps({"model": MODEL, "messages": messages, "stream": scenario.stream})
    items = [
        {
            "type": "message",
            "role": role,
            "content": [{"type": "input_text" if role == "user" else "output_text", "text": text}],
        }
        for role, text in turns
    ]
    return json.dumps({"model": MODEL, "instructions": "Count.", "input": items, "store": False, "stream": True})


def _conversation(kilobytes: int) -> list[tuple[str, str]]:
    text = "The quick brown fox jumps over the lazy dog. " * 22
    return [("user" if number % 2 == 0 else "assistant", text[:950]) for number in range(kilobytes)]


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("S1", "one stream, 20,000 deltas flat out", 1, 20_000, 0, per_place=5, quick_deltas=20_000,
             quick_per_place=3, targets=EVERYBODY + PEERS),
    Scenario("S2L", "20 streams, a delta each 20 ms", 20, 400, 20, ramp=0.507, quick_deltas=120,
             targets=EVERYBODY + PEERS),
    Scenario("S2", "200 streams, a delta each 20 ms", 200, 300, 20, ramp=1.013, quick_deltas=100,
             targets=EVERYBODY + SWIFT_PEERS),
    Scenario("S3", "1,000 streams, a delta each 100 ms", 1_000, 100, 100, ramp=5.03),
    Scenario("S3X", "5,000 streams, a delta each 2 s", 5_000, 10, 2_000, targets=("ours", "nginx"), ramp=20.03),
    Scenario("S4", "small requests without streaming, 16 at a time", 16, 8, 0, stream=False, per_place=150,
             targets=(*EVERYBODY, "ours, 2 workers"), quick_deltas=8, quick_per_place=60),
    Scenario("S5", "the same with a conversation of 100 kB", 16, 8, 0, stream=False, per_place=60, kilobytes=100,
             quick_deltas=8, quick_per_place=25),
    Scenario("P2L", "Responses passed through: 20 streams, a delta each 20 ms", 20, 400, 20, targets=PLAIN,
             dialect="responses", ramp=0.507, quick_deltas=120),
    Scenario("P1", "Responses passed through: one stream flat out", 1, 20_000, 0, targets=PLAIN,
             dialect="responses", per_place=5, quick_deltas=20_000, quick_per_place=3),
)  # fmt: skip
