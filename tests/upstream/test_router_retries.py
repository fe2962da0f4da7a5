"""One provider: what is tried again, what is not, and that nothing stays open."""

from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import (
    InvalidRequest,
    LoginExpired,
    NotLoggedIn,
    Overloaded,
    ProxyError,
    RateLimited,
    UpstreamFailed,
    UpstreamRejected,
    UpstreamTimeout,
)
from codexproxy.protocol.request import RoutingHints, Turn
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook
from codexproxy.upstream.router.request_fixer import RequestFixer
from codexproxy.upstream.router.router import ABSORBED, Router, Timing
from tests.fakes.backends import ScriptedBackend, answer, empty, event, failed
from tests.fakes.clock import Clock

TURN = Turn("gpt-5.2", {"model": "gpt-5.2", "input": []}, cache_key="c1")
FORWARDING = Turn("gpt-5.2", {"model": "gpt-5.2", "input": []}, routing=RoutingHints(forwards_failures=True))


def router(backend: ScriptedBackend, clock: Clock, **further: Any) -> Router:
    timing = Timing(clock, clock.sleep, lambda: 0.5, further.pop("longest_wait", ABSORBED))
    return Router([Provider(backend)], timing=timing, **further)


def types(stream: Any) -> list[str]:
    return [event.type for batch in stream for event in batch]


def test_a_good_answer_passes_whole_with_its_first_events() -> None:
    backend, clock = ScriptedBackend("main"), Clock()
    stream = router(backend, clock).open(TURN)
    assert types(stream) == [event.type for batch in answer() for event in batch]
    assert stream.answerer.backend == "main"
    assert stream.answerer.headers == {"x-from": "main"}
    assert (len(backend.turns), clock.slept) == (1, [])


RETRIED: dict[str, Any] = {
    "connection lost": UpstreamFailed("x"),
    "overloaded": Overloaded("x"),
    "short rate limit": RateLimited("x", retry_after=1.0, retryable=True),
    "overload inside a 200": failed("server_is_overloaded"),
    "slow down inside a 200": failed("slow_down"),
    "server error inside a 200": failed("server_error"),
    "unknown failure inside a 200": failed("something_new"),
    "cut before the first event": [[event("response.created", response={})]],
    "nothing at all": [],
    "an empty answer": empty(),
    "an empty answer in one read": [[e for batch in empty() for e in batch]],
    "a bare error event": [[event("error", code="server_error", message="m")]],
}


@pytest.mark.parametrize("failure", RETRIED.values(), ids=list(RETRIED))
def test_a_passing_trouble_is_tried_once_more(failure: Any) -> None:
    backend, clock = ScriptedBackend("main", failure), Clock()
    stream = router(backend, clock).open(TURN)
    assert "response.completed" in types(stream)
    assert len(backend.turns) == 2
    assert len(clock.slept) == 1
    assert backend.open_sources == 1


@pytest.mark.parametrize("failure", RETRIED.values(), ids=list(RETRIED))
def test_a_trouble_that_stays_is_told_after_the_second_try(failure: Any) -> None:
    backend, clock = ScriptedBackend("main", failure, failure, answer()), Clock()
    with pytest.raises(ProxyError) as error:
        router(backend, clock).open(TURN)
    assert error.value.status in (429, 502, 503)
    assert len(backend.turns) == 2
    assert backend.open_sources == 0


def test_an_answer_that_stays_empty_is_502_empty_response() -> None:
    backend = ScriptedBackend("main", empty(), empty())
    for turn in (TURN, FORWARDING):
        backend.script = [empty(), empty()]
        with pytest.raises(UpstreamFailed) as error:
            router(backend, Clock()).open(turn)
        assert (error.value.status, error.value.code) == (502, "empty_response")


def wordless(spent: int, thought: int) -> Any:
    """An answer without an item, for which tokens were spent."""
    usage = {"output_tokens": spent, "output_tokens_details": {"reasoning_tokens": thought}}
    return event("response.completed", response={"output": [], "usage": usage})


def test_words_that_were_written_and_never_came_are_asked_for_again() -> None:
    backend = ScriptedBackend("main", [[wordless(9, 4)]])
    for turn in (TURN, FORWARDING):
        backend.script, backend.turns = [[[wordless(9, 4)]]], []
        assert "response.output_text.delta" in types(router(backend, Clock()).open(turn))
        assert len(backend.turns) == 2


NOT_EMPTY: dict[str, Any] = {
    "all tokens were spent on thinking": wordless(3, 3),
    "an item": event("response.completed", response={"output": [{"type": "web_search_call"}]}),
    "cut short by a limit": event("response.incomplete", response={"output": []}),
}


@pytest.mark.parametrize("last", NOT_EMPTY.values(), ids=list(NOT_EMPTY))
def test_an_answer_that_is_not_empty_is_not_tried_again(last: Any) -> None:
    backend = ScriptedBackend("main", [[last]])
    assert types(router(backend, Clock()).open(TURN)) == [last.type]
    assert len(backend.turns) == 1


NOT_RETRIED: dict[str, Any] = {
    "timeout": UpstreamTimeout("x"),
    "bad request": InvalidRequest("x"),
    "refused by upstream": UpstreamRejected("x"),
    "not logged in": NotLoggedIn("x"),
    "login expired": LoginExpired("x"),
    "usage limit": RateLimited("x", code="usage_limit_reached"),
    "long rate limit": RateLimited("x", retry_after=30.0, retryable=True),
    "rate limit without a time": RateLimited("x"),
    "challenge": UpstreamFailed("x", code="upstream_challenge", retryable=False),
    "context full inside a 200": failed("context_length_exceeded"),
    "policy inside a 200": failed("cyber_policy"),
    "usage limit inside a 200": failed("usage_limit_reached"),
    "rate limit inside a 200 with a long wait": failed("rate_limit_exceeded", "Please try again in 35 seconds"),
}


@pytest.mark.parametrize("failure", NOT_RETRIED.values(), ids=list(NOT_RETRIED))
def test_what_would_fail_again_is_told_at_once(failure: Any) -> None:
    backend, clock = ScriptedBackend("main", failure, answer()), Clock()
    with pytest.raises(ProxyError):
        router(backend, clock).open(TURN)
    assert (len(backend.turns), clock.slept, backend.open_sources) == (1, [], 0)


def test_a_failure_that_took_long_to_come_is_not_tried_again() -> None:
    clock = Clock()

    class Slow(ScriptedBackend):
        def open(self, turn: Turn) -> Any:
            clock.now += 30
            return super().open(turn)

    backend = Slow("main", Overloaded("x"), answer())
    with pytest.raises(Overloaded):
        router(backend, clock).open(TURN)
    assert len(backend.turns) == 1


@pytest.mark.parametrize(("told", "slept"), [(None, 0.25), (1.5, 1.5)])
def test_the_pause_is_upstreams_own_or_a_short_one_with_jitter(told: float | None, slept: float) -> None:
    backend, clock = ScriptedBackend("main", Overloaded("x", retry_after=told)), Clock()
    router(backend, clock).open(TURN)
    assert clock.slept == [slept]


def test_waiting_inside_a_request_can_be_switched_off() -> None:
    backend = ScriptedBackend("main", RateLimited("x", retry_after=1.0, retryable=True))
    with pytest.raises(RateLimited):
        router(backend, Clock(), longest_wait=0.0).open(TURN)
    assert len(backend.turns) == 1


FORWARDED = ["server_is_overloaded", "rate_limit_exceeded", "context_length_exceeded", "usage_limit_reached"]


@pytest.mark.parametrize("code", FORWARDED)
def test_clients_that_act_on_failures_get_upstreams_own_frames(code: str) -> None:
    backend = ScriptedBackend("main", failed(code), failed(code), failed(code))
    stream = router(backend, Clock()).open(FORWARDING)
    expected = [event.raw for batch in failed(code) for event in batch]
    assert [event.raw for batch in stream for event in batch] == expected
    assert backend.open_sources == 1
    stream.close()
    assert backend.open_sources == 0


def test_a_failure_behind_the_first_word_is_left_to_the_stream() -> None:
    words = [event("response.output_text.delta", delta="a", output_index=0), *failed("server_error")[1]]
    backend = ScriptedBackend("main", [words])
    assert types(router(backend, Clock()).open(TURN))[-1] == "response.failed"
    assert len(backend.turns) == 1


class Gone(BaseException):
    """As the event loop raises in a greenlet whose client left."""


def test_a_caller_who_leaves_while_upstream_is_silent_frees_it() -> None:
    backend = ScriptedBackend("main", [[event("response.created", response={})], Gone()])
    with pytest.raises(Gone):
        router(backend, Clock()).open(TURN)
    assert (len(backend.turns), backend.open_sources) == (1, 0)


def test_a_caller_who_leaves_during_the_pause_leaves_nothing_open() -> None:
    backend = ScriptedBackend("main", failed("server_is_overloaded"))

    def leave(seconds: float) -> None:
        raise Gone

    with pytest.raises(Gone):
        Router([Provider(backend)], timing=Timing(sleep=leave)).open(TURN)
    assert (len(backend.turns), backend.open_sources) == (1, 0)


def test_a_bug_in_a_backend_is_not_tried_again() -> None:
    backend = ScriptedBackend("main", [[event("response.created", response={})], ZeroDivisionError()])
    with pytest.raises(ZeroDivisionError):
        router(backend, Clock()).open(TURN)
    assert (len(backend.turns), backend.open_sources) == (1, 0)


def with_reasoning() -> Turn:
    items = [{"type": "reasoning", "encrypted_content": "gAAA"}, {"role": "user", "content": "hi"}]
    return Turn("gpt-5.2", {"model": "gpt-5.2", "input": items}, cache_key="c1")


@pytest.mark.parametrize(
    "refusal",
    [
        UpstreamRejected("no", code="invalid_encrypted_content"),
        UpstreamRejected("The encrypted_content could not be verified."),
        failed("invalid_encrypted_content"),
    ],
    ids=["by code", "by message", "inside a 200"],
)
def test_reasoning_that_upstream_cannot_read_is_left_out_and_the_turn_sent_again(refusal: Any) -> None:
    backend = ScriptedBackend("main", refusal)
    stream = router(backend, Clock()).open(with_reasoning())
    assert [item.get("type") for item in backend.turns[1].body["input"]] == [None]
    assert stream.answerer.adapted == ("encrypted_reasoning:removed",)
    assert backend.open_sources == 1


def test_a_refusal_that_healing_does_not_help_is_told() -> None:
    refusal = UpstreamRejected("no", code="invalid_encrypted_content")
    backend = ScriptedBackend("main", refusal, refusal, refusal)
    with pytest.raises(UpstreamRejected):
        router(backend, Clock()).open(with_reasoning())
    assert len(backend.turns) == 2


def test_a_refused_turn_is_changed_a_bounded_number_of_times() -> None:
    backend = ScriptedBackend("main", *[UpstreamRejected("no")] * 9)

    class EagerFixer(RequestFixer):
        """Finds something to change in every turn."""

        def fix(self, turn: Turn, error: ProxyError, provider: str) -> Turn:
            return turn.with_notes(adapted=("tried",))

    with pytest.raises(UpstreamRejected):
        router(backend, Clock(), fixer=EagerFixer(str)).open(TURN)
    assert len(backend.turns) == 4


@pytest.mark.parametrize("step", [answer(), failed("invalid_prompt")])
def test_a_caller_that_leaves_while_the_answer_is_noted_leaves_nothing_open(step: Any, tmp_path: Path) -> None:
    class Left(BaseException):
        pass

    class LeavingFixer(RequestFixer):
        def remember(self, turn: Turn, provider: str) -> None:
            raise Left

    class LeavingQuotas(QuotaBook):
        def explain(self, provider: str, error: ProxyError) -> ProxyError:
            raise Left

    quotas = LeavingQuotas(tmp_path / "quotas.sqlite3")
    backend = ScriptedBackend("main", step)
    with pytest.raises(Left):
        router(backend, Clock(), fixer=LeavingFixer(str), quotas=quotas).open(TURN)
    assert [source.is_closed for source in backend.sources] == [True]
