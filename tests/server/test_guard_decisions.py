"""The guard's decision table over real HTTP, with the log line each decision leaves.

One service holds, in every group, one provider of each type; the model that is asked chooses among them.
"""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.fakes.codex_cli import FakeCli
from tests.server.routes import turn_routes
from tests.service import Answer, Service, wait_until

Json = dict[str, Any]

# Line ends as Windows writes them: they are sent as they are, and compared as if they were others.
OFFICIAL = "You are the official assistant.\r\n\r\nBe careful.\r\n"
OWN = "You are a pirate, and this is nobody else's business."
THREAD = "0198c1de-6f2a-7c30-9c11-3b8f3f4a2d10"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Model -> type of the provider that serves it.
KINDS = {"gpt-5.2": "codex", "gpt-5.1": "openai", "gpt-5.5": "codex-cli"}
GROUPS = ("default", "2apiCodex", "2api")
CODEX, CLAUDE = ("codex-cli",), ("claude-cli",)


def codex_headers(product: str) -> dict[str, str]:
    return {
        "user-agent": f"{product}/0.169.0 (Debian)",
        "originator": product,
        "session_id": THREAD,
        "thread-id": THREAD,
    }


def claude_headers(version: str) -> dict[str, str]:
    return {"user-agent": f"claude-cli/{version} (external, cli)", "x-app": "cli"}


@dataclass(frozen=True)
class Asker:
    """A program that asks: its headers, its system text, and what is true of it."""

    headers: Json
    system: str
    profile: str
    genuine: tuple[str, ...] = ()


ASKERS = {
    "codex": Asker(codex_headers("codex_exec"), OFFICIAL.replace("\r\n", "\n"), "codex-cli", CODEX),
    "codex, not listed": Asker(codex_headers("codex_vscode"), OFFICIAL, "codex-cli", CODEX),
    "codex, changed": Asker(codex_headers("codex_exec"), OWN, "codex-cli"),
    "claude": Asker(
        claude_headers("1.0"), "You are Claude Code, Anthropic's official CLI for Claude.", "claude-cli", CLAUDE
    ),
    "claude, not listed": Asker(
        claude_headers("2.0"), "You are Claude Code, Anthropic's official CLI for Claude.", "claude-cli", CLAUDE
    ),
    "curl": Asker({"user-agent": "curl/8.0"}, OWN, "curl"),
    "curl, no system text": Asker({"user-agent": "curl/8.0"}, "", "curl"),
}

# allowedClients, who asks -> reason, group, whether the request is to be completed.
UNCHECKED = ("unchecked", "default", False)
TABLE: dict[tuple[tuple[str, ...], str], tuple[str, str, bool]] = {
    **{((), asker): UNCHECKED for asker in ASKERS},
    (CODEX, "codex"): ("genuine", "default", False),
    (CODEX, "codex, not listed"): ("user_agent_not_listed", "2apiCodex", False),
    (CODEX, "codex, changed"): ("not_genuine", "2apiCodex", True),
    (CODEX, "claude"): ("not_genuine", "2apiCodex", True),
    (CODEX, "curl"): ("not_genuine", "2apiCodex", True),
    (CODEX, "curl, no system text"): ("not_genuine", "2apiCodex", True),
    (CLAUDE, "claude"): ("genuine", "default", False),
    (CLAUDE, "claude, not listed"): ("user_agent_not_listed", "2api", False),
    (CLAUDE, "codex"): ("not_genuine", "2api", False),
    (CLAUDE, "curl"): ("not_genuine", "2api", False),
    (CODEX + CLAUDE, "codex"): ("genuine", "default", False),
    (CODEX + CLAUDE, "claude"): ("genuine", "default", False),
    (CODEX + CLAUDE, "codex, not listed"): ("user_agent_not_listed", "2apiCodex", False),
    (CODEX + CLAUDE, "curl"): ("not_genuine", "2apiCodex", True),
}


def chat(model: str, system: str) -> Json:
    messages = [{"role": "system", "content": system}] if system else []
    return {"model": model, "messages": [*messages, {"role": "user", "content": "hi"}]}


def responses(model: str, system: str) -> Json:
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": system}]}
    return {"model": model, "input": [developer, user] if system else [user]}


def completions(model: str, system: str) -> Json:
    return {"model": model, "prompt": "hi"} | ({"instructions": system} if system else {})


# Turn routes of the application -> a body for them.
ROUTES = {
    "/chat/completions": chat,
    "/responses": responses,
    "/completions": completions,
    "/backend-api/codex/responses": responses,
}


class Guarded:
    """The service, its upstream, and a key for each list of allowed clients."""

    def __init__(self, folder: Path, sim: SimulatorClient) -> None:
        self.sim = sim
        rows = [{"slug": model, "base_instructions": OFFICIAL, "supported_in_api": True} for model in KINDS]
        sim.settings(models=rows, keep_requests=10_000)
        sim.rules(account_id_must_match=False)
        self.cli = FakeCli(folder)
        config = folder / "config.json"
        config.write_text(json.dumps(self._config(sim)))
        self.service = Service(
            folder,
            sim,
            CONFIG_PATH=str(config),
            LOG_LEVEL="debug",
            LOG_FORMAT="json",
            RELAY_KEY=sim.login()["access_token"],
            CODEX_BIN=str(self.cli.bin),
            CODEX_HOME=str(self.cli.home),
        )
        self.service.login()
        self.service.start()
        # The very first request that is checked at all finds the official instructions there already.
        self.first = self.ask(CODEX, ASKERS["codex"], "/responses", "gpt-5.2")[1]["reason"]

    def _config(self, sim: SimulatorClient) -> Json:
        def provider(group: str, model: str) -> Json:
            kind = KINDS[model]
            row = {"name": f"{group} {kind}", "groupTag": group, "providerType": kind, "models": [model]}
            relay = {"url": f"{sim.backend_url}/codex", "apiKeyEnv": "RELAY_KEY"} if kind == "openai" else {}
            return row | relay

        users = [
            {"name": f"for {clients}", "apiKeyHash": hash_key(key_for(clients)), "allowedClients": list(clients)}
            | {"cli": "read"}
            for clients in sorted({clients for clients, _ in TABLE})
        ]
        rule = {"claudeCli": {"userAgents": ["claude-cli/1"]}}
        providers = [provider(group, model) for group in GROUPS for model in KINDS]
        return {"providers": providers, "users": users, "guard": rule}

    def ask(self, clients: tuple[str, ...], asker: Asker, path: str, model: str) -> tuple[Answer, Json]:
        """Asks, and returns the answer and the decision's log line."""
        request_id = uuid.uuid4().hex
        headers = {**asker.headers, "authorization": f"Bearer {key_for(clients)}", "x-request-id": request_id}
        answer = self.service.post(path, ROUTES[path](model, asker.system), headers)
        line = wait_until(lambda: self.line(request_id), "the line of the decision")
        return answer, line

    def line(self, request_id: str) -> Json | None:
        """The one line about a decision on this request."""
        found = [
            line
            for text in self.service.log.splitlines()
            if request_id in text and (line := json.loads(text))["message"] == "guard decision"
        ]
        assert len(found) < 2
        return found[0] if found else None


def key_for(clients: tuple[str, ...]) -> str:
    return f"key for {clients}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with SimulatorProcess() as simulator:
        sim = SimulatorClient(simulator.base_url)
        sim.reset()
        guarded = Guarded(tmp_path_factory.mktemp("guarded"), sim)
        try:
            yield guarded
        finally:
            guarded.service.stop()


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("model", KINDS, ids=KINDS.values())
@pytest.mark.parametrize(("clients", "name"), TABLE, ids=[f"{'+'.join(c) or 'any'}-{a}" for c, a in TABLE])
def test_the_decision_table(guarded: Guarded, clients: tuple[str, ...], name: str, model: str, path: str) -> None:
    asker, kind = ASKERS[name], KINDS[model]
    reason, group, wanted = TABLE[clients, name]
    completed = wanted and kind == "codex"
    answer, line = guarded.ask(clients, asker, path, model)

    assert answer.status == 200, answer.body
    assert answer.headers["x-codexproxy-backend"] == f"{group} {kind}"
    notes = answer.headers.get("x-codexproxy-adapted", "").split(",")
    assert (f"guard:group={group}" in notes) == (group != "default")
    assert ("guard:completed" in notes) == completed

    facts = {
        "user": f"for {clients}",
        "allowedClients": list(clients),
        "route": path,
        "profile": asker.profile,
        "genuine": list(asker.genuine),
        "hasInstructions": bool(asker.system),
        "instructionsLengthBefore": len(asker.system),
        "officialTexts": "synchronised",
        "reason": reason,
        "group": group,
        "forced": group != "default",
        "completed": completed,
        "mismatch": wanted and not completed,
        "provider": f"{group} {kind}",
        "providerType": kind,
        "level": "warn" if wanted and not completed else "info" if clients else "debug",
    }
    assert {fact: line[fact] for fact in facts} == facts
    marks = {"officialInstructions", "codexUserAgent", "sessionIdIsUuid", "conversationIdIsUuid", "claudeUserAgent"}
    assert marks <= line["marks"].keys()
    assert line["marks"]["officialInstructions"] is (asker.genuine == CODEX)
    assert "pirate" not in json.dumps(line) and "official assistant" not in json.dumps(line)
    if completed:
        check_completed(guarded.sim.last_turn(), asker.system if path != "/completions" else None)
        assert line["instructionsLengthAfter"] == len(OFFICIAL)
    elif kind == "codex" and path.endswith("/responses"):
        check_unchanged(guarded.sim.last_turn(), asker.system)


def check_completed(sent: Json, own: str | None) -> None:
    """Official instructions byte for byte, the caller's own behind them, one UUID as session and conversation."""
    body, headers = sent["json"], sent["headers"]
    assert body["instructions"] == OFFICIAL
    developer = [item for item in body["input"] if item.get("role") == "developer"]
    texts = [part["text"] for item in developer for part in item["content"]]
    if own is not None:
        assert texts == ([own] if own else [])
    ids = {headers["session_id"], headers["conversation_id"], body["prompt_cache_key"]}
    assert len(ids) == 1
    assert UUID.fullmatch(ids.pop())


def check_unchanged(sent: Json, own: str) -> None:
    """Nothing was put in: what the caller said is what upstream gets."""
    developer = [item for item in sent["json"]["input"] if item.get("role") == "developer"]
    assert [part["text"] for item in developer for part in item["content"]] == ([own] if own else [])
    assert sent["json"]["instructions"] != OFFICIAL


def test_the_very_first_request_is_told_apart_rightly(guarded: Guarded) -> None:
    assert guarded.first == "genuine"


def test_a_refused_request_leaves_its_line_too(guarded: Guarded) -> None:
    config = json.loads((guarded.service.data_dir.parent / "config.json").read_text())
    assert {"Cursor", "cursor"}.isdisjoint(str(config["users"]))
    key = "cursor only"
    path = guarded.service.data_dir / "keys.json"
    path.write_text(json.dumps({"users": [{"name": "c", "apiKeyHash": hash_key(key), "allowedClients": ["cursor"]}]}))
    try:
        for name, status in (("curl", 403), ("codex", 403)):
            request_id = uuid.uuid4().hex
            headers = {**ASKERS[name].headers, "authorization": f"Bearer {key}", "x-request-id": request_id}
            answer = guarded.service.post("/v1/responses", responses("gpt-5.2", OWN), headers)
            assert (answer.status, answer.code) == (status, "client_not_allowed")
            line = wait_until(lambda: guarded.line(request_id), "the line of the refusal")  # noqa: B023
            assert (line["reason"], line["level"], line["user"]) == ("refused", "warn", "c")
        headers = {"user-agent": "Cursor/1.0", "authorization": f"Bearer {key}"}
        assert guarded.service.post("/v1/responses", responses("gpt-5.2", OWN), headers).status == 200
    finally:
        path.unlink()


def test_the_table_knows_every_turn_route() -> None:
    assert {path for path in turn_routes() if not path.endswith("/compact")} == set(ROUTES)
