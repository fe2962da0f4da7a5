"""Names that begin with ``cli/`` go to a local Codex CLI, and lead nobody out of the group of their key."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.fakes.codex_cli import FakeCli
from tests.service import Answer, Service

Json = dict[str, Any]

PROVIDERS = [
    {"name": "http"},
    {"name": "local", "providerType": "codex-cli", "groupTag": "workshop"},
    {"name": "forced", "groupTag": "2apiCodex"},
]
USERS = [
    {"name": "ann", "apiKeyHash": hash_key("ann-key")},
    {"name": "smith", "apiKeyHash": hash_key("smith-key"), "providerGroup": "workshop", "cli": "read"},
    {
        "name": "bound",
        "apiKeyHash": hash_key("bound-key"),
        "allowedClients": ["codex-cli"],
        "providerGroup": "workshop",
        "cli": "read",
    },
]


@pytest.fixture
def workshop(serve: Callable[..., Service], tmp_path: Path) -> Service:
    """A service with a CLI in a group of its own."""
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"providers": PROVIDERS, "users": USERS, "models": {"aliases": {"mine": "cli/gpt-5.5"}}})
    )
    cli = FakeCli(tmp_path)
    environ = {"CODEX_BIN": str(cli.bin), "CODEX_HOME": str(cli.home)}
    return serve(CONFIG_PATH=str(config), PROXY_API_KEY="owner-key", **environ)


def ask(service: Service, key: str, model: str) -> Answer:
    return service.post("/v1/responses", {"model": model, "input": "hi"}, {"authorization": f"Bearer {key}"})


@pytest.mark.parametrize("model", ["cli/gpt-5.5", "cli/gpt-5.5-low", "cli/5.5-tpg", "mine"])
def test_the_owner_reaches_the_cli_by_name_and_is_answered_by_that_name(
    workshop: Service, sim: SimulatorClient, model: str
) -> None:
    answer = ask(workshop, "owner-key", model)
    assert (answer.status, answer.headers["x-codexproxy-backend"], answer.json["model"]) == (200, "local", model)
    assert sim.turns() == []


def test_other_names_go_where_they_always_went(workshop: Service) -> None:
    assert ask(workshop, "owner-key", "gpt-5.5").headers["x-codexproxy-backend"] == "http"


def test_a_named_key_reaches_a_cli_of_its_own_group_only(workshop: Service, sim: SimulatorClient) -> None:
    assert ask(workshop, "smith-key", "cli/gpt-5.5").headers["x-codexproxy-backend"] == "local"
    answer = ask(workshop, "ann-key", "cli/gpt-5.5")
    assert (answer.status, answer.code) == (404, "model_not_found")
    assert "codex-cli" in answer.json["error"]["message"]
    assert sim.turns() == []


def test_who_is_sent_to_another_group_does_not_get_out_of_it_by_a_name(workshop: Service, sim: SimulatorClient) -> None:
    answer = ask(workshop, "bound-key", "cli/gpt-5.5")
    assert (answer.status, answer.code) == (404, "model_not_found")
    assert "2apiCodex" in answer.json["error"]["message"]
    assert sim.turns() == []
