"""What turns cost: the tokens upstream told, or, where it told none, those that were sent and heard.

Each attempt upstream has a charge of its own, and a request's tally is their
sum, so that an answer costs the same however it ends: whole, cut by upstream,
left by its client, repaired or asked for n times. What upstream refused, or
never answered with anything, costs nothing unless we hung up first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.metering.estimate import tokens_in
from codexproxy.metering.input_tokens import count_input, count_item, count_lightly
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.events import TERMINAL, Batch, Event
from codexproxy.protocol.numbers import Usage, read_usage, reported_usage
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.protocol.request import AttemptCharge, Turn

# Bodies of so many bytes are counted when they have to be; of longer ones only a light count is kept.
KEPT_BYTES = 32 * 1024

_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
    }
)
_ITEM_DONE = "response.output_item.done"
_OTHERS = TERMINAL | {_ITEM_DONE}

# The first deltas are looked into, then every so many-th: most are one token, and to parse all would cost a third of
# what it costs to pass them on. Those of so many bytes always are.
_LOOKED_INTO, _THEN_EVERY, _LARGE = 16, 16, 2048
# So many of them are kept unread: a short answer whose usage comes is never estimated.
_UNREAD = 64


class Charge:
    """The cost of one attempt.

    Args:
        begun: Called once, when upstream is asked.

    Attributes:
        usage: What upstream told; None while it has not.
    """

    __slots__ = (
        "_asked",
        "_begun",
        "_body",
        "_deltas",
        "_items",
        "_large",
        "_refused",
        "_sampled",
        "_samples",
        "_since",
        "_unread",
        "usage",
    )

    def __init__(self, begun: Callable[[], object] | None = None) -> None:
        self.usage: Usage | None = None
        self._begun = begun
        self._body: Mapping[str, Any] | None = None
        self._asked = 0
        self._refused = False
        # Deltas that stand for others, read when there are many, or when the tokens are asked for.
        self._unread: list[Event] = []
        self._deltas = self._samples = self._since = 0
        self._sampled = self._large = self._items = 0.0

    def sent(self, body: Mapping[str, Any], size: int, pause: Pause = no_pause) -> None:
        """Upstream is asked from now on.

        Args:
            body: The request.
            size: Its bytes.
            pause: Lets others run, now and then.
        """
        self._asked = count_lightly(body, size, pause)
        if size <= KEPT_BYTES:
            self._body = body
        begun, self._begun = self._begun, None
        if begun is not None:
            begun()

    def refused(self) -> None:
        """Upstream did not take the turn."""
        self._refused = True

    def heard(self, batch: Batch) -> None:
        """Takes what upstream said; called for each batch of a stream, so it has to be quick."""
        for event in batch:
            if event.type in _DELTAS:
                self._deltas += 1
                self._since += 1
                deltas = self._deltas
                if len(event.raw) > _LARGE:
                    self._deltas -= 1
                    self._large += _tokens_of(event)
                elif deltas <= _LOOKED_INTO or deltas % _THEN_EVERY == 0:
                    self._unread.append(event)
                    if len(self._unread) == _UNREAD:
                        self._read_samples()
            elif event.type in _OTHERS:
                self._heard_of_end(event)

    def _read_samples(self) -> None:
        self._samples += len(self._unread)
        self._sampled += sum(map(_tokens_of, self._unread))
        self._unread.clear()

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Takes an answer that came in one piece."""
        self.usage = read_usage(answer.get("usage"))
        output = answer.get("output")
        self._items += sum(_unheard(item, had_deltas=False) for item in output) if isinstance(output, list) else 0.0

    def _heard_of_end(self, event: Event) -> None:
        try:
            if event.type == _ITEM_DONE:
                self._items += _unheard(event.data.get("item"), had_deltas=self._since > 0)
                self._since = 0
                return
            self.usage = reported_usage(event) or self.usage
            self._refused = self.usage is None and failure_of(event) is not None and not self._has_output()
        except UpstreamFailed:  # whoever reads the event for its client deals with it
            return
        if self.usage is not None:
            self._body = None
            self._unread.clear()

    def _has_output(self) -> bool:
        return bool(self._deltas or self._large or self._items)

    def counted(self, *, closely: bool = True) -> Usage:
        """The tokens of this attempt; what was sent is looked through only when that is asked ``closely``."""
        if self.usage is not None:
            return self.usage
        if self._refused:
            return Usage()
        self._read_samples()
        spoken = self._sampled / self._samples * self._deltas if self._samples else 0.0
        return Usage(self._input() if closely else self._asked, round(spoken + self._large + self._items))

    def _input(self) -> int:
        if self._body is None:
            return self._asked
        try:
            self._asked = count_input(self._body)
        except ProxyError:  # too deeply nested for a close look
            self._asked = KEPT_BYTES // 4
        self._body = None
        return self._asked


class Tally:
    """The charges of one request, each kept until the request is over.

    Attributes:
        begun: Called whenever upstream is asked.
        provider: Name of the provider that was asked last; empty while none was.
    """

    def __init__(self) -> None:
        self.provider = ""
        self.begun: Callable[[], object] | None = None
        self._charges: list[Charge] = []
        self._extra = Usage()

    def begin(self, provider: str) -> Charge:
        """Another attempt, at the provider of this name."""
        self.provider = provider
        charge = Charge(self.begun)
        self._charges.append(charge)
        return charge

    def counted(self, *, closely: bool = True) -> Usage:
        """The tokens of all attempts so far; see ``Charge.counted``."""
        total = self._extra
        for charge in self._charges:
            total += charge.counted(closely=closely)
        return total

    def settle(self) -> Usage:
        """The tokens of all attempts, which have ended; what they were about is let go."""
        self._extra, self._charges, self.begun = self.counted(), [], None
        return self._extra


def begin_charge(turn: Turn, provider: str) -> AttemptCharge:
    """The charge of a turn that is about to be sent to a provider, on its request's tally where it has one."""
    tally = turn.execution.tally
    return Charge() if tally is None else tally.begin(provider)


def with_charge(turn: Turn, charge: AttemptCharge) -> Turn:
    """The turn as it is sent, so that whoever sends it can say so."""
    return turn if turn.execution.tally is None else replace(turn, execution=replace(turn.execution, charge=charge))


def note_sent(turn: Turn, size: int) -> None:
    """A turn leaves for upstream now; until then it has waited for a place or for a login, and costs nothing."""
    if turn.execution.charge is not None:
        turn.execution.charge.sent(turn.body, size, turn.execution.pause or no_pause)


def _tokens_of(event: Event) -> float:
    try:
        delta = event.data.get("delta")
    except UpstreamFailed:
        return 0.0
    return tokens_in(delta) if isinstance(delta, str) else 0.0


def _unheard(item: Any, *, had_deltas: bool) -> float:
    """Tokens of an item that its deltas did not tell; reasoning is heard as ciphertext."""
    if not isinstance(item, dict) or (had_deltas and item.get("type") != "reasoning"):
        return 0.0
    return count_item(item)


def with_tally(turns: Sequence[Turn], tally: Tally) -> list[Turn]:
    """A request's turns, which are charged to its tally."""
    return [replace(turn, execution=replace(turn.execution, tally=tally)) for turn in turns]
