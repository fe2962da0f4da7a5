"""Several providers: order, fail-over, cooldown, breaker, affinity and encrypted reasoning."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import (
    InvalidRequest,
    LoginExpired,
    ModelNotFound,
    Overloaded,
    PermissionRefused,
    ProxyError,
    RateLimited,
    UpstreamFailed,
    UpstreamRejected,
    UpstreamTimeout,
)
from codexproxy.planning.official_instructions import KnownInstructions, OfficialInstructions
from codexproxy.protocol.request import Caller, Turn
from codexproxy.provider_types import CODEX_CLI
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook
from codexproxy.upstream.router.candidates import Route, ordered
from codexproxy.upstream.router.circuit import FIRST_PAUSE, THRESHOLD, Health
from codexproxy.upstream.router.router import Router, Timing
from tests.fakes.backends import ScriptedBackend, empty, failed
from tests.fakes.clock import Clock


def turn(key: str = "c1", caller: str = "ann", items: list[Any] | None = None, model: str = "gpt-5.2") -> Turn:
    return Turn(model, {"model": model, "input": items or []}, caller=Caller(caller), cache_key=key)


class House:
    """A router over scripted backends, with a clock in hand."""

    def __init__(self, *providers: Provider, seed: int = 1) -> None:
        self.clock = Clock()
        self.health = Health(self.clock, wall=lambda: 5_000_000.0 + self.clock.now)
        self.router = Router(
            providers,
            health=self.health,
            timing=Timing(self.clock, self.clock.sleep, random.Random(seed).random),
        )

    def ask(self, asked: Turn | None = None, route: Route = Route()) -> str:
        """Opens a turn; the provider that answers, or the code of the failure."""
        try:
            stream = self.router.open(asked or turn(), route)
        except ProxyError as error:
            return str(error.code)
        stream.close()
        return stream.answerer.backend


@pytest.fixture
def one() -> ScriptedBackend:
    return ScriptedBackend("one")


@pytest.fixture
def two() -> ScriptedBackend:
    return ScriptedBackend("two")


def test_the_lower_priority_number_is_asked_first(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one, priority=1), Provider(two, priority=0))
    assert {house.ask(turn(f"c{n}")) for n in range(20)} == {"two"}


def test_equal_priorities_share_by_weight(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one, weight=3), Provider(two, weight=1))
    shares = Counter(house.ask(turn(f"c{n}")) for n in range(2000))
    assert 0.70 < shares["one"] / 2000 < 0.80


def test_weight_zero_is_asked_only_when_nobody_else_is_left(one: ScriptedBackend, two: ScriptedBackend) -> None:
    order = ordered([Provider(one, weight=0), Provider(two)], None, lambda: 0.0)
    assert [provider.name for provider in order][-1] in ("one", "two")
    order = ordered([Provider(one, weight=0), Provider(two)], None, lambda: 0.3)
    assert [provider.name for provider in order] == ["two", "one"]


def test_only_providers_of_the_group_that_serve_the_model_are_asked(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one, group="a", models=("gpt-5.1*",)), Provider(two, group="a"), Provider(one, group="b"))
    assert {house.ask(turn(f"c{n}"), Route("a")) for n in range(10)} == {"two"}
    assert {house.ask(turn(f"d{n}", model="gpt-5.1-codex"), Route("a")) for n in range(30)} == {"one", "two"}
    assert house.ask(turn(), Route("b")) == "one"


def test_a_group_without_a_provider_says_so(one: ScriptedBackend) -> None:
    house = House(Provider(one))
    with pytest.raises(ModelNotFound, match="group 'nowhere'") as error:
        house.router.open(turn(), Route("nowhere"))
    assert not error.value.retryable


def test_a_provider_named_with_spaces_works_like_any_other() -> None:
    assert House(Provider(ScriptedBackend("my home relay"))).ask() == "my home relay"


ELSEWHERE: dict[str, Any] = {
    "unreachable": UpstreamFailed("x"),
    "overloaded": Overloaded("x"),
    "overload inside a 200": failed("server_is_overloaded"),
    "usage limit": RateLimited("x", code="usage_limit_reached"),
    "usage limit inside a 200": failed("usage_limit_reached"),
    "login expired": LoginExpired("x"),
    "long rate limit": RateLimited("x", retry_after=60),
    "challenge": UpstreamFailed("x", code="upstream_challenge", retryable=False),
}


@pytest.mark.parametrize("failure", ELSEWHERE.values(), ids=list(ELSEWHERE))
def test_a_providers_failure_moves_the_turn_to_the_next_at_once(
    one: ScriptedBackend, two: ScriptedBackend, failure: Any
) -> None:
    one.script = [failure]
    house = House(Provider(one), Provider(two, priority=1))
    assert house.ask() == "two"
    assert (len(one.turns), len(two.turns), one.open_sources, house.clock.slept) == (1, 1, 0, [])


STAYS: dict[str, Any] = {
    "bad request": InvalidRequest("x"),
    "refused by upstream": UpstreamRejected("x"),
    "policy inside a 200": failed("cyber_policy"),
    "timeout": UpstreamTimeout("x"),
}


@pytest.mark.parametrize("failure", STAYS.values(), ids=list(STAYS))
def test_a_callers_own_mistake_and_a_timeout_are_not_carried_elsewhere(
    one: ScriptedBackend, two: ScriptedBackend, failure: Any
) -> None:
    one.script = [failure]
    assert House(Provider(one), Provider(two, priority=1)).ask() not in ("one", "two")
    assert (len(two.turns), one.open_sources) == (0, 0)


def test_an_empty_answer_is_tried_again_where_it_came_from(one: ScriptedBackend, two: ScriptedBackend) -> None:
    one.script = [empty()]
    assert House(Provider(one), Provider(two, priority=1)).ask() == "one"
    assert len(two.turns) == 0


def test_when_all_fail_the_last_real_reason_is_told(one: ScriptedBackend, two: ScriptedBackend) -> None:
    one.script = [Overloaded("x")]
    two.script = [LoginExpired("sign in again")]
    assert House(Provider(one), Provider(two, priority=1)).ask() == "login_expired"


def spent(seconds: int) -> RateLimited:
    return RateLimited("spent", code="usage_limit_reached", extra={"resets_in_seconds": seconds})


def test_a_spent_account_is_left_alone_until_upstreams_own_reset(one: ScriptedBackend, two: ScriptedBackend) -> None:
    one.script = [spent(900)]
    house = House(Provider(one), Provider(two, priority=1))
    assert [house.ask(turn(f"c{n}")) for n in range(3)] == ["two"] * 3
    assert len(one.turns) == 1
    house.clock.now += 899
    assert house.ask(turn("d")) == "two"
    house.clock.now += 2
    assert house.ask(turn("e")) == "one"


def test_a_reset_given_as_a_time_of_day_counts_as_well(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    resets_at = 5_000_000 + house.clock.now + 60
    one.script = [RateLimited("spent", code="usage_limit_reached", extra={"resets_at": resets_at})]
    assert house.ask(turn("a")) == "two"
    assert house.health.wait("one") == pytest.approx(60)


def test_a_group_with_nothing_usable_tells_the_reason_and_the_time_left(
    one: ScriptedBackend, two: ScriptedBackend
) -> None:
    one.script, two.script = [spent(900)], [spent(300)]
    house = House(Provider(one), Provider(two))
    assert house.ask() == "usage_limit_reached"
    house.clock.now += 100
    with pytest.raises(RateLimited) as error:
        house.router.open(turn())
    assert error.value.retry_after == pytest.approx(200)
    assert error.value.extra["resets_in_seconds"] == 200
    assert len(one.turns) + len(two.turns) == 2


def test_a_failure_is_explained_before_the_caller_sees_it_and_again_when_it_is_repeated(
    one: ScriptedBackend, two: ScriptedBackend, tmp_path: Path
) -> None:
    class NamingQuotas(QuotaBook):
        def explain(self, provider: str, error: ProxyError) -> ProxyError:
            return RateLimited(f"{provider} is spent for {error.retry_after or 0:g} s")

    one.script, two.script = [spent(900)], [spent(300)]
    house = House(Provider(one), Provider(two))
    quotas = NamingQuotas(tmp_path / "quotas.sqlite3")
    house.router = Router([Provider(one), Provider(two)], health=house.health, quotas=quotas)
    told = []
    for _ in range(2):
        house.clock.now += 100
        with pytest.raises(RateLimited) as error:
            house.router.open(turn())
        told.append(error.value.message)
    assert told[0] in ("one is spent for 0 s", "two is spent for 0 s")
    assert told[1] == "two is spent for 200 s"


def test_a_cooldown_is_over_when_the_provider_answers(one: ScriptedBackend, two: ScriptedBackend) -> None:
    one.script = [spent(900)]
    house = House(Provider(one), Provider(two, priority=1))
    house.ask()
    house.health.succeeded("one")
    assert house.ask(turn("new")) == "one"


def test_the_only_provider_is_never_shut_out_by_us(one: ScriptedBackend) -> None:
    one.script = [spent(900), *[Overloaded("x")] * 12]
    house = House(Provider(one), Provider(ScriptedBackend("other"), group="elsewhere"))
    codes = [house.ask(turn(f"c{n}")) for n in range(8)]
    assert codes == ["usage_limit_reached", *["overloaded"] * 6, "one"]


def broken(house: House, backend: ScriptedBackend) -> None:
    backend.script = [UpstreamFailed("x")] * THRESHOLD
    for n in range(THRESHOLD):
        house.ask(turn(f"c{n}"))
    backend.turns.clear()


def test_the_breaker_opens_after_failures_of_several_conversations(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    broken(house, one)
    assert {house.ask(turn(f"d{n}")) for n in range(5)} == {"two"}
    assert one.turns == []


def test_open_breakers_do_not_shut_out_a_whole_group(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    one.script, two.script = [UpstreamFailed("x")] * 20, [UpstreamFailed("x")] * 20
    assert {house.ask(turn(f"c{n}")) for n in range(4)} == {"upstream_unavailable"}
    assert not house.health.is_usable("one")
    assert not house.health.is_usable("two")
    one.script, two.script = [], []
    assert house.ask(turn("next")) in ("one", "two")


def test_one_conversation_alone_cannot_open_the_breaker(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    for _ in range(THRESHOLD * 2):
        house.health.failed("one", UpstreamFailed("x"), "the same", in_stream=False)
    assert house.ask(turn("another")) == "one"


def test_failures_of_one_caller_open_the_breaker_for_that_caller_alone(
    one: ScriptedBackend, two: ScriptedBackend
) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    one.script = [UpstreamFailed("x")] * THRESHOLD
    for n in range(THRESHOLD):
        house.ask(turn(f"a{n}", "ann"))
    assert house.health.is_usable("one", "bob") and not house.health.is_usable("one", "ann")
    assert house.ask(turn("b", "bob")) == "one"
    # Bob's good answer tells that the provider is well.
    assert house.health.is_usable("one", "ann")


def test_a_model_that_a_plan_lacks_shuts_nobody_out(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    lacking = PermissionRefused("Not on your plan.", code="usage_not_included")
    one.script, two.script = [lacking], [lacking]
    assert house.ask(turn("a")) == "usage_not_included"
    assert house.ask(turn("b")) == "one"


def test_failed_turns_and_mistakes_of_callers_do_not_open_the_breaker(
    one: ScriptedBackend, two: ScriptedBackend
) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    for n in range(10):
        house.health.failed("one", UpstreamRejected("x"), f"c{n}", in_stream=False)
        house.health.failed("one", UpstreamFailed("x"), f"c{n}", in_stream=True)
    assert house.ask() == "one"


def test_a_success_closes_the_count(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    for n in range(THRESHOLD * 4):
        one.script = [UpstreamFailed("x")] if n % 2 else []
        house.ask(turn(f"c{n}"))
    assert house.health.is_usable("one")


def test_after_the_pause_one_probe_is_let_through_and_a_good_one_closes_the_breaker(
    one: ScriptedBackend, two: ScriptedBackend
) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    broken(house, one)
    house.clock.now += FIRST_PAUSE + 1
    assert house.health.allow_request("one")
    assert house.ask(turn("while probing")) == "two"
    house.health.release("one")
    assert house.ask(turn("probe")) == "one"
    assert {house.ask(turn(f"e{n}")) for n in range(4)} == {"one"}


def test_a_failed_probe_opens_the_breaker_for_twice_as_long(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    broken(house, one)
    house.clock.now += FIRST_PAUSE + 1
    one.script = [UpstreamFailed("x")]
    assert house.ask(turn("probe")) == "two"
    house.clock.now += FIRST_PAUSE + 1
    assert house.ask(turn("still open")) == "two"
    house.clock.now += FIRST_PAUSE
    assert house.ask(turn("second probe")) == "one"


def test_a_probe_whose_caller_left_does_not_block_the_next(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    broken(house, one)
    house.clock.now += FIRST_PAUSE + 1
    one.script = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        house.router.open(turn("gone"))
    assert house.ask(turn("next")) == "one"


def test_a_conversation_stays_with_the_account_that_answered_it(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two))
    first = {f"c{n}": house.ask(turn(f"c{n}")) for n in range(40)}
    assert set(first.values()) == {"one", "two"}
    assert all(house.ask(turn(key)) == name for key, name in first.items() for _ in range(3))


def test_equal_conversation_ids_of_two_callers_are_two_conversations(
    one: ScriptedBackend, two: ScriptedBackend
) -> None:
    house = House(Provider(one), Provider(two))
    answers = {house.ask(turn("same id", caller=f"user {n}")) for n in range(40)}
    assert answers == {"one", "two"}


def test_a_conversation_that_had_to_move_stays_where_it_went(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    one.script = [spent(10)]
    assert house.ask() == "two"
    house.clock.now += 60
    assert house.ask() == "two"
    assert house.ask(turn("new")) == "one"


REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
HISTORY = [{"role": "user", "content": "a"}, REASONING, {"type": "function_call", "call_id": "c", "name": "f"}]


def kinds(backend: ScriptedBackend) -> list[Any]:
    return [item.get("type") for item in backend.turns[-1].body["input"]]


def test_encrypted_reasoning_goes_back_to_its_own_account_untouched(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    house.ask(turn("c"))
    house.ask(turn("c", items=HISTORY))
    assert kinds(one) == [None, "reasoning", "function_call"]


def test_encrypted_reasoning_never_travels_to_another_account(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    house.ask(turn("c"))
    one.script = [Overloaded("x")]
    stream = house.router.open(turn("c", items=HISTORY))
    assert stream.answerer.backend == "two"
    assert stream.answerer.adapted == ("encrypted_reasoning:removed",)
    assert kinds(two) == [None, "function_call"]
    assert kinds(one) == [None, "reasoning", "function_call"]


def test_encrypted_reasoning_of_unknown_origin_stays_out_when_there_are_several_accounts(
    one: ScriptedBackend, two: ScriptedBackend
) -> None:
    House(Provider(one), Provider(two, priority=1)).ask(turn("never seen", items=HISTORY))
    assert kinds(one) == [None, "function_call"]


def test_two_providers_of_one_account_share_its_reasoning(one: ScriptedBackend, two: ScriptedBackend) -> None:
    house = House(Provider(one, account="mine"), Provider(two, priority=1, account="mine"))
    one.script = [Overloaded("x")]
    assert house.ask(turn("c", items=HISTORY)) == "two"
    assert kinds(two) == [None, "reasoning", "function_call"]


def test_plain_reasoning_without_ciphertext_travels(one: ScriptedBackend, two: ScriptedBackend) -> None:
    items = [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "thought"}]}]
    House(Provider(one), Provider(two)).ask(turn("c", items=items))
    assert kinds(one if one.turns else two) == ["reasoning"]


COMPACTED = [{"type": "compaction", "encrypted_content": "gAAAA"}, {"role": "user", "content": "go on"}]


def test_a_compacted_conversation_waits_for_its_account_instead_of_losing_its_beginning(
    one: ScriptedBackend, two: ScriptedBackend
) -> None:
    house = House(Provider(one), Provider(two, priority=1))
    house.ask(turn("c"))
    one.script = [spent(900)]
    assert house.ask(turn("c", items=COMPACTED)) == "usage_limit_reached"
    assert house.ask(turn("c", items=COMPACTED)) == "usage_limit_reached"
    assert two.turns == []
    house.clock.now += 901
    assert house.ask(turn("c", items=COMPACTED)) == "one"
    assert kinds(one) == ["compaction", None]


def test_a_turn_is_made_fit_for_the_provider_it_goes_to(one: ScriptedBackend) -> None:
    local = ScriptedBackend("local", capabilities=CODEX_CLI)

    official = KnownInstructions(["You are official."])
    instructions = OfficialInstructions(official, official, {"gpt-5.2": "You are official."}, {})
    one.script = [Overloaded("x")]
    house = House(Provider(one), Provider(local, priority=1))
    stream = house.router.open(turn(), Route(forced=True, instructions=instructions))
    assert stream.answerer.adapted == ("guard:group=default",)
    assert one.turns[0].adapted == ("guard:group=default", "guard:completed")
    assert one.turns[0].body["instructions"] == "You are official."
