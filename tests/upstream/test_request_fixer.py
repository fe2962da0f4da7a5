"""What one process learned of a provider's refusals is known to it for a day, for such turns only."""

from typing import Any

import pytest

from codexproxy.errors import UpstreamRejected
from codexproxy.planning.model_catalog import ModelSpec
from codexproxy.protocol.request import Turn
from codexproxy.upstream.router.request_fixer import LASTS, MOST, RequestFixer
from tests.fakes.clock import Clock

REFUSAL = UpstreamRejected("Unsupported parameter: service_tier")


def turn(model: str = "m", **fields: Any) -> Turn:
    return Turn(model, {"model": model, "input": [], "service_tier": "priority", **fields})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fixer(clock: Clock) -> RequestFixer:
    return RequestFixer(lambda slug: "official", lambda slug: ModelSpec(slug, tiers=("priority",)), clock)


def learn(fixer: RequestFixer, asked: Turn) -> None:
    """The turn is refused, fixed, and then taken."""
    fixed = fixer.fix(asked, REFUSAL, "main")
    assert fixed is not None
    fixer.remember(fixed, "main")


def is_fixed(fixer: RequestFixer, asked: Turn, provider: str = "main") -> bool:
    return "service_tier" not in fixer.apply_known(asked, provider).body


def test_a_fix_is_applied_to_turns_of_its_kind_at_its_provider_and_model_only(fixer: RequestFixer) -> None:
    assert not is_fixed(fixer, turn())
    learn(fixer, turn())
    assert is_fixed(fixer, turn(input=["another conversation"]))
    assert not is_fixed(fixer, turn(service_tier="default"))
    assert not is_fixed(fixer, turn(include=[]))
    assert not is_fixed(fixer, turn(), provider="other")
    assert not is_fixed(fixer, turn(model="n"))


def test_a_fix_that_the_provider_refused_as_well_is_not_remembered(fixer: RequestFixer) -> None:
    assert fixer.fix(turn(), REFUSAL, "main") is not None
    assert not is_fixed(fixer, turn())


def test_a_fix_that_another_provider_asked_for_is_not_remembered(fixer: RequestFixer) -> None:
    fixed = fixer.fix(turn(), REFUSAL, "main")
    assert fixed is not None
    fixer.remember(fixed, "other")
    assert not is_fixed(fixer, turn(), "main") and not is_fixed(fixer, turn(), "other")


def test_a_fix_is_forgotten_after_a_day(fixer: RequestFixer, clock: Clock) -> None:
    learn(fixer, turn())
    clock.now += LASTS - 1
    assert is_fixed(fixer, turn())
    clock.now += 1
    assert not is_fixed(fixer, turn())


def test_the_newest_fixes_of_a_model_are_kept(fixer: RequestFixer) -> None:
    for number in range(MOST + 1):
        learn(fixer, turn(**{f"field_{number}": 1}))
    assert not is_fixed(fixer, turn(field_0=1))
    assert is_fixed(fixer, turn(field_1=1)) and is_fixed(fixer, turn(**{f"field_{MOST}": 1}))


def test_the_models_with_the_newest_fixes_are_kept(fixer: RequestFixer) -> None:
    for number in range(MOST + 1):
        learn(fixer, turn(model=f"m{number}"))
    assert not is_fixed(fixer, turn(model="m0"))
    assert is_fixed(fixer, turn(model="m1")) and is_fixed(fixer, turn(model=f"m{MOST}"))
