"""Every name of the plan's table, read from what upstream received."""

from collections.abc import Iterator

import pytest

from codexproxy.planning.model_catalog import FALLBACK
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Service

ROWS = [(spec.slug, spec.slug, spec.default_effort) for spec in FALLBACK]
ROWS += [(f"{spec.slug}-{effort}", spec.slug, effort) for spec in FALLBACK for effort in spec.efforts]


@pytest.fixture(scope="module")
def fresh_service(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that learned nothing from other tests about what upstream takes."""
    client = SimulatorClient(simulator.base_url)
    client.reset()
    with Service(tmp_path_factory.mktemp("names"), client) as service:
        yield service


@pytest.fixture
def service(fresh_service: Service, sim: SimulatorClient) -> Service:
    """The module's service, logged in afresh."""
    fresh_service.login()
    return fresh_service


@pytest.mark.parametrize(("name", "slug", "effort"), ROWS)
def test_a_name_reaches_upstream_as_model_and_effort(
    service: Service, sim: SimulatorClient, name: str, slug: str, effort: str
) -> None:
    answer = service.post("/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "hi"}]})
    assert answer.json["model"] == name
    turn = sim.last_turn()
    body, headers = turn["json"], turn["headers"]
    assert (body["model"], body["reasoning"]["effort"]) == (slug, effort)
    assert body["reasoning"]["summary"] == "auto"
    assert (body["store"], body["stream"]) == (False, True)
    assert "reasoning.encrypted_content" in body["include"]
    # The simulated catalogue says, like the real one, that the codex family takes no verbosity.
    assert body.get("text") == (None if "codex" in slug else {"verbosity": "medium"})
    assert isinstance(body["instructions"], str) and body["instructions"]
    key = body["prompt_cache_key"]
    assert headers["session_id"] == headers["conversation_id"] == headers["session-id"] == key
    assert headers["openai-beta"] == "responses=experimental"
    assert headers["accept"] == "text/event-stream"
    assert headers["originator"] == "codex_cli_rs"
    assert headers["user-agent"].startswith("codex_cli_rs/")
    assert headers["chatgpt-account-id"]
