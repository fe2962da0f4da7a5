"""The guard's decision table, pure: genuine or not, listed or not, bound to which clients."""

from itertools import permutations
from typing import Any

import pytest

from codexproxy.access.authorization import Identity
from codexproxy.access.client_detection import BY_NAME, UNKNOWN, Client, Evidence
from codexproxy.access.routing import Rule, check_model, decide
from codexproxy.errors import ModelNotFound, PermissionRefused
from codexproxy.planning.model_catalog import ModelCatalog

RULES = {
    "codex-cli": Rule(("codex_cli_rs", "codex_exec"), "2apiCodex", complete=True),
    "claude-cli": Rule(("claude-cli",), "2api", complete=False),
}


def ann(*allowed: str, **further: Any) -> Identity:
    return Identity("ann", keyed=True, allowed_clients=allowed, provider_group="home", **further)


def client(name: str, user_agent: str, *verified: str, originator: str = "") -> Client:
    profile = BY_NAME.get(name, UNKNOWN)
    return Client(profile, user_agent, originator, evidence=Evidence(verified=frozenset(verified)))


CODEX = client("codex-cli", "codex_exec/0.169.0 (Debian)", "codex-cli")
CODEX_UNLISTED = client("codex-cli", "codex_vscode/1.0", "codex-cli")
CODEX_BY_ORIGINATOR = client("codex-cli", "Mozilla/5.0", "codex-cli", originator="codex_cli_rs")
CODEX_UNPROVEN = client("codex-cli", "codex_exec/0.169.0")
CLAUDE = client("claude-cli", "claude-cli/2.0.62 (external, cli)", "claude-cli")
CLAUDE_UNPROVEN = client("claude-cli", "claude-cli/2.0.62")
CURL = client("curl", "curl/8.5")
CURSOR = client("cursor", "Cursor/1.0")

#   allowedClients             client               reason                   group        forced complete
TABLE: list[tuple[tuple[str, ...], Client, str, str, bool, bool]] = [
    ((), CODEX, "unchecked", "home", False, False),
    ((), CURL, "unchecked", "home", False, False),
    (("codex-cli",), CODEX, "genuine", "home", False, False),
    (("codex-cli",), CODEX_BY_ORIGINATOR, "genuine", "home", False, False),
    (("codex-cli",), CODEX_UNLISTED, "user_agent_not_listed", "2apiCodex", True, False),
    (("codex-cli",), CODEX_UNPROVEN, "not_genuine", "2apiCodex", True, True),
    (("codex-cli",), CURL, "not_genuine", "2apiCodex", True, True),
    (("codex-cli",), CLAUDE, "not_genuine", "2apiCodex", True, True),
    (("codex-cli",), CURSOR, "not_genuine", "2apiCodex", True, True),
    (("claude-cli",), CLAUDE, "genuine", "home", False, False),
    (("claude-cli",), CLAUDE_UNPROVEN, "not_genuine", "2api", True, False),
    (("claude-cli",), CURL, "not_genuine", "2api", True, False),
    (("claude-cli",), CODEX, "not_genuine", "2api", True, False),
    (("codex-cli", "claude-cli"), CODEX, "genuine", "home", False, False),
    (("codex-cli", "claude-cli"), CLAUDE, "genuine", "home", False, False),
    (("codex-cli", "claude-cli"), CLAUDE_UNPROVEN, "not_genuine", "2apiCodex", True, True),
    (("claude-cli", "codex-cli"), CODEX_UNPROVEN, "not_genuine", "2apiCodex", True, True),
    (("codex-cli", "claude-cli"), CURL, "not_genuine", "2apiCodex", True, True),
    (("claude-cli", "codex-cli"), CURL, "not_genuine", "2apiCodex", True, True),
    (("cursor",), CURSOR, "allowed_client", "home", False, False),
    (("codex-cli", "cursor"), CURSOR, "allowed_client", "home", False, False),
    (("codex-cli", "cursor"), CURL, "not_genuine", "2apiCodex", True, True),
]


@pytest.mark.parametrize(("allowed", "asks", "reason", "group", "forced", "complete"), TABLE)
def test_the_decision_table(
    allowed: tuple[str, ...], asks: Client, reason: str, group: str, forced: bool, complete: bool
) -> None:
    decision = decide(ann(*allowed), asks, RULES, "/responses")
    assert (decision.reason, decision.group, decision.forced, decision.complete) == (reason, group, forced, complete)


@pytest.mark.parametrize("allowed", list(permutations(("claude-cli", "codex-cli", "cursor"))))
@pytest.mark.parametrize(
    ("route", "group"),
    [
        ("/responses", "2apiCodex"),
        ("/responses/compact", "2apiCodex"),
        ("/chat/completions", "2apiCodex"),
        ("/completions", "2apiCodex"),
        ("/backend-api/codex/responses", "2apiCodex"),
        ("/messages", "2api"),
        ("/messages/count_tokens", "2api"),
    ],
)
@pytest.mark.parametrize("asks", [CURL, CODEX_UNPROVEN, CLAUDE_UNPROVEN])
def test_the_rule_is_that_of_the_api_asked_in_whatever_order_clients_are_listed(
    allowed: tuple[str, ...], route: str, group: str, asks: Client
) -> None:
    assert decide(ann(*allowed), asks, RULES, route).group == group


@pytest.mark.parametrize("asks", [CURL, CODEX, CLAUDE])
def test_a_key_bound_to_clients_without_a_rule_refuses_all_others(asks: Client) -> None:
    with pytest.raises(PermissionRefused) as refusal:
        decide(ann("cursor", "zed"), asks, RULES, "/responses")
    assert (refusal.value.status, refusal.value.code) == (403, "client_not_allowed")
    assert "cursor, zed" in refusal.value.message


def test_group_allow_list_and_completion_are_settings() -> None:
    rules = {"codex-cli": Rule(("codex_vscode",), "elsewhere", complete=False)}
    assert decide(ann("codex-cli"), CODEX_UNLISTED, rules, "/responses").group == "home"
    decision = decide(ann("codex-cli"), CURL, rules, "/responses")
    assert (decision.group, decision.forced, decision.complete) == ("elsewhere", True, False)


def test_an_empty_allow_list_lists_nobody() -> None:
    assert (
        decide(ann("codex-cli"), CODEX, {"codex-cli": Rule(("",), "g")}, "/responses").reason == "user_agent_not_listed"
    )


# The owner's aliases: one name, and all names that mean nothing else.
CATALOGUE = ModelCatalog(None, {"cheap": "gpt-5.1-codex-mini", "gpt-4*": "gpt-5.1", "*": "gpt-5.2"})


@pytest.mark.parametrize(
    ("models", "name", "allowed"),
    [
        (("*",), "anything", True),
        (("gpt-5.2",), "gpt-5.2", True),
        (("gpt-5.2",), "2.5-tpg", True),
        (("gpt-5.2",), "gpt-5.2-high", True),
        (("gpt-5.2*",), "gpt-5.2-codex-high", True),
        (("gpt-5.2",), "gpt-5.1", False),
        ((), "gpt-5.1", False),
        (("cheap",), "cheap", True),
        (("cheap*",), "cheap", True),
        (("cli/*",), "cli/gpt-5.2-high", True),
        # A pattern is for models, not for what a caller may write behind or instead of their names.
        (("*mini*",), "gpt-5.1-codex-mini-high", True),
        (("*mini*",), "gpt-5.2-minimal", False),
        (("*mini*",), "openai/gpt-5.2-minimal", False),
        (("*mini*",), "laminim-2.5-tpg", False),
        (("*mini*",), "cli/gpt-5.2-minimal-fast", False),
        (("*-max",), "gpt-5.1-codex-max", True),
        (("*-max",), "gpt-5.2-max", False),
        (("gpt-5.2-*",), "gpt-5.2-low", True),
        (("gpt-5.2-low",), "gpt-5.2-low", True),
        (("gpt-5.1*",), "gpt-5.1-whatever", False),
        (("gpt-4o",), "gpt-4o", True),
        (("gpt-4*",), "gpt-4o", True),
        (("gpt-*",), "gpt-4o", True),
        (("gpt-4o*",), "gpt-4o-2024", False),
    ],
)
def test_a_key_may_use_the_models_it_names(models: tuple[str, ...], name: str, allowed: bool) -> None:
    identity, wanted = ann(models=models), CATALOGUE.find(name.removeprefix("cli/"))
    asked = name, CATALOGUE.family(name), wanted.slug if wanted else name
    if allowed:
        check_model(identity, *asked)
    else:
        with pytest.raises(ModelNotFound) as refusal:
            check_model(identity, *asked)
        assert (refusal.value.status, refusal.value.param) == (404, "model")
