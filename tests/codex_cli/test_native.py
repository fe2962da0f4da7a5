"""The real Codex CLI in its ChatGPT mode with the service in its backend's place, over TLS."""

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.codex_cli.certificates import Certificate, make_certificate
from tests.codex_cli.cli import Cli
from tests.patience import patient
from tests.service import Service
from tests.upstream.codex_cli.real_cli import installed

pytestmark = pytest.mark.real_cli

CONFIG = """
chatgpt_base_url = "{origin}/backend-api"
openai_base_url = "{origin}/backend-api/codex"
"""


class SecureService(Service):
    """The service behind its own certificate."""

    certificate: Certificate

    def connect(self, timeout: float | None = None) -> http.client.HTTPConnection:
        trust = ssl.create_default_context(cafile=str(self.certificate.authority))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout or patient(), context=trust)


@pytest.fixture
def secure(sim: SimulatorClient, tmp_path: Path) -> Iterator[SecureService]:
    sim.rules(instructions_required=False, lite_header_checks=True)
    service = SecureService(tmp_path / "service", sim)
    service.certificate = made = make_certificate(tmp_path)
    service.login()
    yield service.start("--certfile", str(made.certificate), "--keyfile", str(made.key))  # type: ignore[misc]
    service.stop()


@pytest.fixture
def cli(secure: SecureService, tmp_path: Path) -> Cli:
    trust = {"CODEX_CA_CERTIFICATE": str(secure.certificate.authority)}
    cli = Cli(installed(), tmp_path / "home", tmp_path / "work", trust)
    cli.configure(CONFIG.format(origin=f"https://127.0.0.1:{secure.port}"))
    tokens = secure.sim.login()
    kept = {name: tokens[name] for name in ("id_token", "access_token", "refresh_token", "account_id")}
    login = {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": kept, "last_refresh": "2099-01-01T00:00:00Z"}
    (cli.home / "auth.json").write_text(json.dumps(login))
    return cli


@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-6-sol"])
def test_a_turn_after_the_websocket_was_refused(cli: Cli, secure: SecureService, model: str) -> None:
    told = cli.exec("say:Hello from the other side.", model=model)
    assert (told.code, told.text) == (0, "Hello from the other side.")
    assert not [event for event in told.events if event["type"] == "error"]
    log = secure.log
    assert "path=/backend-api/wham/accounts/check" in log and "code=websocket_not_offered" in log
    assert log.count("method=POST path=/backend-api/codex/responses") == 1
    assert len([turn for turn in secure.sim.turns() if turn["status"] == 200]) == 1


def test_a_long_conversation_is_compacted_by_upstream(cli: Cli, secure: SecureService) -> None:
    first = cli.exec("say:" + "many words " * 400)
    resume = ("resume", first.events[0]["thread_id"])
    told = cli.exec("say:and on", "-c", "model_auto_compact_token_limit=2000", command=resume)
    assert (told.code, told.text) == (0, "and on")
    inputs = [turn["json"]["input"] for turn in secure.sim.turns() if turn["status"] == 200]
    assert any(items[-1]["type"] == "compaction_trigger" for items in inputs)
    assert any(item["type"] == "compaction" for item in inputs[-1])
