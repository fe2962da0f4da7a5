"""The table of rules."""

import pytest

from codexproxy.simulator.http import Request
from codexproxy.simulator.rules import RULES, RuleBook, UnknownRule

REQUEST = Request("POST", "/x", {}, "", {}, [], "HTTP/1.1", body=b'{"a":"marker"}')


def test_rules_that_match_the_real_one_are_on_and_accidents_are_off() -> None:
    on = {name for name, rule in RULES.items() if rule.default}

    assert {"store_must_be_false", "instructions_required", "unsupported_parameter", "empty_final_output"} <= on
    assert not on & {"overload_503", "overload_in_200", "usage_limit", "instructions_exact", "gzip", "auto_approve"}
    assert all(rule.meaning and rule.evidence for rule in RULES.values())


def test_a_name_nobody_knows_is_refused_everywhere() -> None:
    book = RuleBook()
    with pytest.raises(UnknownRule):
        book.set("typo", True)
    with pytest.raises(UnknownRule):
        book.active(REQUEST).on("typo")


def test_a_rule_with_times_is_spent() -> None:
    book = RuleBook()
    book.set("overload_503", {"times": 2})

    assert [book.active(REQUEST).fires("overload_503") for _ in range(3)] == [True, True, False]
    assert not book.active(REQUEST).on("overload_503")


def test_two_requests_at_once_cannot_spend_more_than_there_is() -> None:
    book = RuleBook()
    book.set("overload_503", {"times": 1})
    first, second = book.active(REQUEST), book.active(REQUEST)

    assert [first.fires("overload_503"), second.fires("overload_503")] == [True, False]


def test_a_rule_with_a_match_holds_for_some_requests_only() -> None:
    book = RuleBook()
    book.set("overload_503", {"match": "marker"})
    book.set("deactivated", {"match": "other"})

    active = book.active(REQUEST)
    assert (active.on("overload_503"), active.on("deactivated")) == (True, False)


def test_overrides_hold_for_one_request_and_leave_the_book_alone() -> None:
    book = RuleBook()

    active = book.active(REQUEST, {"store_must_be_false": False, "keepalives": {"every_ms": 5}})

    assert not active.on("store_must_be_false")
    assert active.option("keepalives", "every_ms") == 5
    assert active.option("keepalives", "unknown", 7) == 7
    assert book.active(REQUEST).on("store_must_be_false")


def test_a_reset_brings_the_defaults_back() -> None:
    book = RuleBook()
    book.set("store_must_be_false", False)
    book.reset()

    assert book.values() == {name: rule.default for name, rule in RULES.items()}
