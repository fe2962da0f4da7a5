"""What is sent upstream: allow-list, effort, instructions, cache key."""

from dataclasses import replace
from typing import Any

import pytest

from codexproxy.errors import InvalidRequest, ModelNotFound
from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS
from codexproxy.planning.model_catalog import FALLBACK, ModelCatalog
from codexproxy.planning.plan import ALLOWED, plan
from codexproxy.planning.request_builder import Policy
from codexproxy.protocol.request import Body, Caller, PlanningHints, Turn

FAMILY = "You are a coding assistant."
POLICY = Policy(prompts=lambda slug: FAMILY)
HELLO = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
LIVE = {
    "slug": "gpt-6-sol",
    "supported_reasoning_levels": [{"effort": "low"}, {"effort": "ultra"}],
    "default_reasoning_level": "low",
    "support_verbosity": False,
    "use_responses_lite": True,
    "priority": 2,
}


def planned(
    body: Body | None = None, *, model: str = "gpt-5.2", catalogue: ModelCatalog | None = None, **changes: Any
) -> Turn:
    policy = replace(POLICY, **changes)
    return plan(Turn(model, {"input": HELLO, **(body or {})}), catalogue or ModelCatalog(), policy)


def rows() -> list[tuple[str, str, str]]:
    names = [(spec.slug, spec.slug, spec.default_effort or "") for spec in FALLBACK]
    suffixed = [(f"{spec.slug}-{effort}", spec.slug, effort) for spec in FALLBACK for effort in spec.efforts]
    return names + suffixed


@pytest.mark.parametrize(("name", "slug", "effort"), rows())
@pytest.mark.parametrize("turned", [False, True])
def test_every_name_of_the_table_asks_for_its_model_and_effort(name: str, slug: str, effort: str, turned: bool) -> None:
    turn = planned(model=name[::-1] if turned else name)
    assert (turn.body["model"], turn.body["reasoning"]["effort"]) == (slug, effort)
    assert turn.model == (name[::-1] if turned else name)
    assert turn.adapted == ()


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-5.1-codex-mini", "low", "medium"),
        ("gpt-5.1-codex-mini", "none", "medium"),
        ("gpt-5.1-codex-mini", "xhigh", "high"),
        ("gpt-5.1", "xhigh", "high"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.2-codex", "ultra", "xhigh"),
    ],
)
def test_an_effort_the_model_lacks_becomes_the_nearest_and_is_reported(model: str, asked: str, sent: str) -> None:
    turn = planned({"reasoning": {"effort": asked}}, model=model)
    assert turn.body["reasoning"]["effort"] == sent
    assert turn.adapted == (f"reasoning.effort:{asked}->{sent}",)


@pytest.mark.parametrize(
    ("hints", "param"),
    [
        (PlanningHints(), "reasoning.effort"),
        (PlanningHints(effort_param="reasoning_effort"), "reasoning_effort"),
    ],
)
@pytest.mark.parametrize("model", ["gpt-5.2", "gpt-99"])
def test_an_effort_that_no_model_has_is_refused_with_those_there_are(
    hints: PlanningHints, param: str, model: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        plan(Turn(model, {"input": HELLO, "reasoning": {"effort": "banana"}}, planning=hints), ModelCatalog(), POLICY)
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (400, "invalid_value", param)
    assert all(f"'{effort}'" in refusal.value.message for effort in ("none", "low", "xhigh"))


def test_an_effort_that_only_the_live_catalogue_knows_is_sent() -> None:
    row = {"slug": "gpt-7", "supported_reasoning_levels": [{"effort": "low"}, {"effort": "utmost"}]}
    turn = planned({"reasoning": {"effort": "utmost"}}, model="gpt-7", catalogue=ModelCatalog([row]))
    assert turn.body["reasoning"]["effort"] == "utmost"


@pytest.mark.parametrize("field", ["summary", "generate_summary"])
def test_a_summary_that_does_not_exist_is_refused_with_those_there_are(field: str) -> None:
    with pytest.raises(InvalidRequest, match=r"reasoning\.summary.*'concise'"):
        planned({"reasoning": {field: "bogus"}})


@pytest.mark.parametrize("asked", [{}, {"summary": None}, {"summary": "none"}])
def test_where_an_api_promises_no_summary_none_is_asked_for(asked: dict[str, Any]) -> None:
    body: Body = {"input": HELLO, "reasoning": {"effort": "low", **asked}}
    turn = plan(Turn("gpt-5.2", body, planning=PlanningHints(responses_api=True)), ModelCatalog(), POLICY)
    assert turn.body["reasoning"] == {"effort": "low"}


def test_the_field_beats_the_suffix_and_the_suffix_the_setting() -> None:
    assert planned({"reasoning": {"effort": "low"}}, model="gpt-5.2-high").body["reasoning"]["effort"] == "low"
    assert planned(model="gpt-5.2-high", effort="low").body["reasoning"]["effort"] == "high"
    assert planned(effort="low").body["reasoning"]["effort"] == "low"


def test_a_tier_in_the_name_is_a_tier_of_the_request() -> None:
    turn = planned(model="gpt-5.2-high-fast")
    assert turn.body["service_tier"] == "priority"
    assert turn.body["reasoning"]["effort"] == "high"


@pytest.mark.parametrize(
    ("asked", "sent", "ignored"),
    [("fast", "priority", ()), ("auto", None, ()), ("default", None, ()), ("flex", None, ("service_tier",))],
)
def test_only_tiers_that_upstream_knows_are_sent(asked: str, sent: str | None, ignored: tuple[str, ...]) -> None:
    turn = planned({"service_tier": asked})
    assert turn.body.get("service_tier") == sent
    assert turn.ignored == ignored


def test_only_what_upstream_takes_is_sent_and_the_rest_is_reported() -> None:
    turn = planned({"temperature": 0.2, "user": "me", "safety_identifier": "x", "max_output_tokens": 5, "top_p": None})
    assert set(turn.body) <= {*ALLOWED, "store", "stream"}
    assert turn.ignored == ("temperature", "user", "safety_identifier")


def test_every_body_holds_what_upstream_insists_on() -> None:
    body = planned({"store": True, "stream": False, "include": ["file_search_call.results"]}).body
    assert body["store"] is False
    assert body["stream"] is True
    assert body["include"] == ["file_search_call.results", "reasoning.encrypted_content"]
    assert body["reasoning"] == {"effort": "none", "summary": "auto"}
    assert body["text"] == {"verbosity": "medium"}
    assert isinstance(body["instructions"], str)


def test_a_string_input_becomes_a_user_message() -> None:
    assert planned({"input": "hi"}).body["input"] == HELLO


def test_system_items_in_the_input_become_developer_items() -> None:
    items = [*HELLO, {"role": "system", "content": [{"type": "input_text", "text": "be brief"}]}]
    assert planned({"input": items}).body["input"][1]["role"] == "developer"


DEVELOPER = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "mine"}]}


@pytest.mark.parametrize(
    ("mode", "body", "instructions", "first_role"),
    [
        ("auto", {}, FAMILY, "user"),
        ("auto", {"instructions": "mine"}, "mine", "user"),
        ("auto", {"instructions": ""}, FAMILY, "user"),
        ("auto", {"instructions": "", "input": [DEVELOPER, *HELLO]}, NEUTRAL_INSTRUCTIONS, "developer"),
        ("auto", {"input": [DEVELOPER, *HELLO]}, NEUTRAL_INSTRUCTIONS, "developer"),
        ("true", {}, FAMILY, "user"),
        ("true", {"instructions": "mine"}, FAMILY, "developer"),
        ("true", {"instructions": FAMILY}, FAMILY, "user"),
        ("false", {}, "", "user"),
        ("false", {"instructions": "mine"}, "mine", "user"),
    ],
)
def test_whose_words_are_instructions(mode: str, body: Body, instructions: str, first_role: str) -> None:
    sent = planned(body, mode=mode).body
    assert sent["instructions"] == instructions
    assert sent["input"][0]["role"] == first_role


def test_the_cache_key_is_explicit_or_the_clients_session_or_the_start_of_the_conversation() -> None:
    assert planned({"prompt_cache_key": "mine"}).cache_key == "mine"
    turn = plan(Turn("gpt-5.2", {"input": HELLO}, caller=Caller(session="s-1")), ModelCatalog(), POLICY)
    assert turn.cache_key == turn.body["prompt_cache_key"] == "s-1"
    longer = [*HELLO, {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ho"}]}]
    assert planned().cache_key == planned({"input": longer}).cache_key
    other = plan(Turn("gpt-5.2", {"input": HELLO}, caller=Caller(key="ann")), ModelCatalog(), POLICY)
    assert other.cache_key != planned().cache_key


def test_the_same_words_of_two_callers_are_two_conversations() -> None:
    def key(caller: Caller, given: str) -> str:
        return plan(
            Turn("gpt-5.2", {"input": HELLO, "prompt_cache_key": given}, caller=caller), ModelCatalog(), POLICY
        ).cache_key

    assert key(Caller("ann"), "default") != key(Caller("bob"), "default")
    assert key(Caller("ann"), "default") == key(Caller("ann"), "default")
    own = "0199e8a2-7c11-7c44-8a6e-2f5b6f0a7c11"
    assert key(Caller("ann"), own) != key(Caller("bob"), own)
    assert key(Caller("ann", client="codex-cli"), own) != key(Caller("bob", client="codex-cli"), own)
    assert key(Caller(), own) == key(Caller("default", client="codex-cli"), own) == own


@pytest.mark.parametrize("key", ["x" * 65, "naïve", "two\nlines", " padded "])
def test_a_cache_key_that_no_header_holds_becomes_a_stable_uuid(key: str) -> None:
    first, second = planned({"prompt_cache_key": key}), planned({"prompt_cache_key": key})
    assert first.cache_key == second.cache_key
    assert len(first.cache_key) == 36


def test_a_request_without_a_model_needs_a_default() -> None:
    with pytest.raises(InvalidRequest) as caught:
        planned(model="")
    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", "model")
    assert planned(model="", default_model="gpt-5.1").model == "gpt-5.1"


def test_a_default_that_was_retired_gives_way_to_the_first_listed_model() -> None:
    assert planned(model="", default_model="gone", catalogue=ModelCatalog([LIVE])).model == "gpt-6-sol"


def test_unknown_names_pass_unless_strict() -> None:
    assert planned(model="gpt-99").body["model"] == "gpt-99"
    with pytest.raises(ModelNotFound, match="gpt-5.2-codex"):
        planned(model="gpt-99", strict=True)


def test_flags_of_the_live_catalogue_are_obeyed() -> None:
    tools = [{"type": "function", "name": "f", "parameters": {}}]
    turn = planned({"instructions": "mine", "tools": tools}, model="gpt-6-sol-xhigh", catalogue=ModelCatalog([LIVE]))
    assert turn.body["reasoning"] == {"effort": "ultra", "summary": "auto", "context": "all_turns"}
    assert "text" not in turn.body and "tools" not in turn.body
    assert turn.body["input"][0] == {"type": "additional_tools", "role": "developer", "tools": tools}
    assert turn.body["input"][1]["role"] == "developer"
    assert turn.body["parallel_tool_calls"] is False
    assert turn.body["instructions"] == ""
    assert turn.routing.lite


def test_hosted_tools_keep_the_classic_shape() -> None:
    turn = planned({"tools": [{"type": "web_search"}]}, model="gpt-6-sol", catalogue=ModelCatalog([LIVE]))
    assert turn.body["tools"] == [{"type": "web_search"}]
    assert not turn.routing.lite


def test_the_real_clients_lite_body_passes_unharmed() -> None:
    items = [{"type": "additional_tools", "role": "developer", "tools": []}, DEVELOPER, *HELLO]
    turn = planned({"input": items, "client_metadata": {"a": "b"}}, model="gpt-6-sol", catalogue=ModelCatalog([LIVE]))
    assert turn.body["input"] == items
    assert turn.body["client_metadata"] == {"a": "b"}
    assert turn.routing.lite


def test_aliases_stand_for_other_names() -> None:
    turn = planned(model="gpt-4o", catalogue=ModelCatalog(None, {"gpt-4o": "gpt-5.1-high"}))
    assert (turn.model, turn.body["model"], turn.body["reasoning"]["effort"]) == ("gpt-4o", "gpt-5.1", "high")


PATTERNS = {"gpt-4o": "gpt-5.1-high", "gpt-5-mini*": "gpt-5.1-codex-mini", "gpt-5*": "gpt-5.1-codex", "*": "gpt-5.2"}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("gpt-4o", "gpt-5.1"),
        ("gpt-4o-mini", "gpt-5.2"),
        ("gpt-5-mini", "gpt-5.1-codex-mini"),
        ("gpt-5-mini-2025-08-07", "gpt-5.1-codex-mini"),
        ("openai/GPT-5-mini-high", "gpt-5.1-codex-mini"),
        ("gpt-5-nano", "gpt-5.1-codex"),
        ("claude-sonnet", "gpt-5.2"),
        ("[a-z]?", "gpt-5.2"),
        ("gpt-5.1-codex-max", "gpt-5.1-codex-max"),
        ("gpt-5.1-codex-max-high", "gpt-5.1-codex-max"),
        ("xam-xedoc-1.5-tpg", "gpt-5.1-codex-max"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_patterns_of_names_stand_for_models_the_longest_first_and_names_before_them(
    name: str, slug: str, strict: bool
) -> None:
    turn = planned(model=name, catalogue=ModelCatalog(None, PATTERNS), strict=strict)
    assert (turn.model, turn.body["model"]) == (name, slug)


def test_a_pattern_without_a_star_at_its_end_and_one_for_a_model_nobody_lists() -> None:
    catalogue = ModelCatalog(None, {"*-mini": "gpt-99", "a[b": "gpt-5.1", "x?*": "gpt-5.1"})
    assert planned(model="o4-mini", catalogue=catalogue).body["model"] == "gpt-99"
    assert planned(model="x?y", catalogue=catalogue).body["model"] == "gpt-5.1"
    assert planned(model="xzy", catalogue=catalogue).body["model"] == "xzy"


def test_a_pattern_leaves_what_is_asked_for_locally_there() -> None:
    turn = planned(model="cli/other", catalogue=ModelCatalog(None, {"*": "gpt-5.2"}))
    assert (turn.body["model"], turn.routing.local) == ("gpt-5.2", True)
    turn = planned(model="cli/other", catalogue=ModelCatalog(None, {"cli/*": "cli/gpt-5.1"}))
    assert (turn.body["model"], turn.routing.local) == ("gpt-5.1", True)
    assert planned(model="any", catalogue=ModelCatalog(None, {"*": "cli/gpt-5.1"})).routing.local
