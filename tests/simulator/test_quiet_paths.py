"""Models, usage, accounts and compaction."""

import pytest

from codexproxy.simulator import recipes
from codexproxy.simulator.catalogue import default_models
from tests.simulator.talk import Talker

MODELS = "/backend-api/codex/models"
CURRENT = f"{MODELS}?client_version=0.169.0"
COMPACT = "/backend-api/codex/responses/compact"

# docs/reference/models.md#the-catalogue
EFFORTS = {
    "gpt-6.1-sol": "low medium high xhigh max ultra",
    "gpt-6-luna": "low medium high xhigh max",
    "gpt-5.5": "low medium high xhigh",
    "gpt-5.1": "none low medium high",
    "gpt-5.2": "none low medium high xhigh",
    "gpt-5.1-codex": "low medium high",
    "gpt-5.1-codex-max": "low medium high xhigh",
    "gpt-5.1-codex-mini": "medium high",
    "gpt-5.2-codex": "low medium high xhigh",
}
DEFAULTS = {
    "gpt-6.1-sol": "low",
    "gpt-6-luna": "medium",
    "gpt-5.5": "medium",
    "gpt-5.1": "none",
    "gpt-5.2": "none",
    "gpt-5.1-codex": "medium",
    "gpt-5.1-codex-max": "high",
    "gpt-5.1-codex-mini": "medium",
    "gpt-5.2-codex": "high",
}


@pytest.mark.parametrize("slug", EFFORTS)
def test_models_have_the_efforts_of_the_table(talker: Talker, slug: str) -> None:
    models = {model["slug"]: model for model in talker.request("GET", CURRENT).json["models"]}

    efforts = [level["effort"] for level in models[slug]["supported_reasoning_levels"]]
    assert (efforts, models[slug]["default_reasoning_level"]) == (EFFORTS[slug].split(), DEFAULTS[slug])


def test_the_catalogue_has_hidden_and_lite_models(talker: Talker) -> None:
    models = {model["slug"]: model for model in talker.request("GET", CURRENT).json["models"]}

    assert [slug for slug, model in models.items() if model["visibility"] == "hide"] == [
        "gpt-daybreak-blue-latest",
        "gpt-daybreak-red-latest",
        "codex-auto-review",
    ]
    assert models["gpt-6-sol"]["use_responses_lite"]
    assert not models["gpt-5.5"]["use_responses_lite"]
    assert models["gpt-6.1-terra"]["context_window"] == 500000


def test_a_client_without_a_version_is_refused(talker: Talker) -> None:
    assert talker.request("GET", MODELS).status == 400


@pytest.mark.parametrize(
    ("version", "sees"), [("0.99.0", False), ("0.155.0", True), ("1.0", True), ("nonsense", False)]
)
def test_an_old_client_does_not_see_new_models(talker: Talker, version: str, sees: bool) -> None:
    models = talker.request("GET", f"{MODELS}?client_version={version}").json["models"]

    assert ("gpt-6-sol" in [model["slug"] for model in models]) == sees
    talker.sim.rules(client_version_hides_models=False)
    models = talker.request("GET", f"{MODELS}?client_version={version}").json["models"]
    assert "gpt-6-sol" in [model["slug"] for model in models]


def test_the_etag_names_the_catalogue(talker: Talker) -> None:
    etag = talker.request("GET", CURRENT).headers["etag"]
    same = talker.request("GET", CURRENT, if_none_match=etag)
    talker.sim.settings(models=[{"slug": "my-model"}])
    other = talker.request("GET", CURRENT, if_none_match=etag)

    assert (same.status, same.body) == (304, b"")
    assert other.headers["etag"] != etag
    assert other.json == {"models": [{"slug": "my-model"}]}
    assert talker.turn(model="my-model").headers["x-models-etag"] == other.headers["etag"]
    assert talker.turn().status == 400


def test_the_catalogue_can_fail_and_can_be_scripted(talker: Talker) -> None:
    talker.sim.rules(models_unavailable={"status": 500, "times": 1})
    talker.sim.script(recipes.http(200, body="not json"), endpoint="models")

    assert talker.request("GET", CURRENT).body == b"not json"
    assert talker.request("GET", CURRENT).status == 500
    assert len(talker.request("GET", CURRENT).json["models"]) == len(default_models())


@pytest.mark.parametrize("path", [CURRENT, "/backend-api/wham/usage", "/backend-api/wham/accounts/check"])
def test_the_quiet_paths_need_a_token_too(talker: Talker, path: str) -> None:
    assert talker.request("GET", path, authorization="Bearer a.b.c").status == 401
    assert talker.request("GET", path).status == 200


def test_usage_tells_both_windows_or_none(talker: Talker) -> None:
    talker.sim.settings(quota={"primary_used": 80, "limit_reached": True})
    usage = talker.request("GET", "/backend-api/wham/usage").json

    assert usage["plan_type"] == "plus"
    assert usage["rate_limit"]["limit_reached"] is True
    assert usage["rate_limit"]["primary_window"]["used_percent"] == 80
    assert usage["rate_limit"]["secondary_window"]["limit_window_seconds"] == 604800
    talker.sim.rules(usage_windows_null=True)
    usage = talker.request("GET", "/backend-api/wham/usage").json
    assert usage["rate_limit"]["primary_window"] is usage["rate_limit"]["secondary_window"] is None


def test_accounts_name_the_place_turns_go_to(talker: Talker) -> None:
    answer = talker.request("GET", "/backend-api/wham/accounts/check").json

    (account,) = answer["accounts"]
    assert account["id"] == answer["default_account_id"] == talker.tokens["account_id"]
    assert account["workspace_backend_origin"] == talker.sim.base_url
    assert account["account_routing_override"] == "NO_CONSTRAINT"


def test_compaction_keeps_the_user_and_hides_the_rest(talker: Talker) -> None:
    items = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]

    answer = talker.request("POST", COMPACT, {"model": "gpt-5.5", "instructions": "x", "input": items}).json

    assert [item.get("content") for item in answer["output"]] == ["a", "c", None]
    assert answer["output"][-1]["type"] == "compaction"
    replayed = [answer["output"][-1], {"role": "user", "content": "go on"}]
    assert talker.turn(input=replayed).status == 200


@pytest.mark.parametrize(
    "change", [{"stream": True}, {"input": "text"}, {"instructions": None}, {"model": "gpt-3"}], ids=str
)
def test_compaction_refuses_what_it_does_not_know(talker: Talker, change: dict[str, object]) -> None:
    body = {"model": "gpt-5.5", "instructions": "x", "input": [], **change}

    assert "detail" in talker.request("POST", COMPACT, body).json


def test_a_compaction_trigger_in_a_turn_gives_exactly_one_compaction_item(talker: Talker) -> None:
    answer = talker.turn(input=[{"role": "user", "content": "a"}, {"type": "compaction_trigger"}])

    items = [event["item"]["type"] for event in answer.events if event["type"] == "response.output_item.done"]
    assert items == ["compaction"]
