"""Completing requests: official instructions byte for byte, the caller's words kept, one UUID; and the log line."""

import logging
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.authorization import Identity
from codexproxy.access.context import AccessContext, AccessPolicy
from codexproxy.access.parallel import ParallelTurns
from codexproxy.access.rate_limits import Limiter, open_storage
from codexproxy.access.routing import Rule
from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS
from codexproxy.planning.official_instructions import (
    InstructionCatalog,
    KnownInstructions,
    OfficialInstructions,
    closest,
    one_uuid,
)
from codexproxy.protocol.request import Caller, Turn
from codexproxy.provider_types import CODEX, CODEX_CLI, OPENAI, Capabilities
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook
from tests.fakes.backends import ScriptedBackend

OFFICIAL = "You are official.\r\nLine two.\r\n"
OTHER = "You are official, too."
STAND_IN = "You are a stand-in."
INSTRUCTIONS = OfficialInstructions(
    KnownInstructions([OFFICIAL, OTHER]),
    KnownInstructions([OFFICIAL, OTHER, STAND_IN]),
    {"gpt-5.2": OFFICIAL},
    {"gpt-5.2": STAND_IN},
)
UUID = "0198c1de-6f2a-7c30-9c11-3b8f3f4a2d10"


def developer(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}


USER: dict[str, Any] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
TOOLS: dict[str, Any] = {"type": "additional_tools", "role": "developer", "tools": []}


def turn(instructions: Any, *items: Any, key: str = "c1") -> Turn:
    body = {"model": "gpt-5.2", "instructions": instructions, "input": list(items), "prompt_cache_key": key}
    return Turn("gpt-5.2", body, caller=Caller("ann"), cache_key=key)


#   what came                                    instructions  input
TABLE: dict[str, tuple[Turn, str, list[Any]]] = {
    "the caller's own words": (turn("Be a pirate.", USER), OFFICIAL, [developer("Be a pirate."), USER]),
    "no words": (turn("", USER), OFFICIAL, [USER]),
    "words absent": (turn(None, USER), OFFICIAL, [USER]),
    "our stand-in": (turn(STAND_IN, USER), OFFICIAL, [USER]),
    "our neutral sentence": (
        turn(NEUTRAL_INSTRUCTIONS, developer("Be a pirate."), USER),
        OFFICIAL,
        [developer("Be a pirate."), USER],
    ),
    "another official text as instructions": (turn(OTHER, USER), OTHER, [USER]),
    "an official text as the first developer message": (
        turn(NEUTRAL_INSTRUCTIONS, developer(OTHER), developer("more"), USER),
        OTHER,
        [developer("more"), USER],
    ),
    "the lite shape": (
        turn("", TOOLS, developer("Be a pirate."), USER),
        "",
        [TOOLS, developer(OFFICIAL), developer("Be a pirate."), USER],
    ),
    "the lite shape with an official text": (
        turn("", TOOLS, developer(OTHER), USER),
        "",
        [TOOLS, developer(OTHER), USER],
    ),
}


@pytest.mark.parametrize(("came", "instructions", "items"), TABLE.values(), ids=list(TABLE))
def test_what_a_completed_request_holds(came: Turn, instructions: str, items: list[Any]) -> None:
    completed = INSTRUCTIONS.inject(came)
    assert completed.body["instructions"] == instructions
    assert completed.body["input"] == items
    assert completed.adapted == ("guard:completed",)


def test_completing_does_not_change_the_turn_that_came() -> None:
    came = turn("Be a pirate.", USER)
    INSTRUCTIONS.inject(came)
    assert came.body["input"] == [USER]
    assert came.body["instructions"] == "Be a pirate."


def test_completing_twice_changes_nothing_more() -> None:
    once = INSTRUCTIONS.inject(turn("Be a pirate.", USER))
    assert INSTRUCTIONS.inject(once).body == once.body


def test_one_uuid_is_session_conversation_and_cache_key() -> None:
    completed = INSTRUCTIONS.inject(turn("x", USER, key="not a uuid"))
    assert re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", completed.cache_key)
    assert completed.body["prompt_cache_key"] == completed.cache_key
    assert INSTRUCTIONS.inject(turn("y", USER, key="not a uuid")).cache_key == completed.cache_key
    assert INSTRUCTIONS.inject(turn("x", USER, key=UUID)).cache_key == UUID


def test_two_callers_with_one_conversation_id_get_two_uuids() -> None:
    assert one_uuid(turn("", key="k")) != one_uuid(Turn("m", {}, caller=Caller("bob"), cache_key="k"))


class Shelf:
    """A text store whose texts a test changes."""

    def __init__(self, **texts: Sequence[str]) -> None:
        self.texts: Mapping[str, Sequence[str]] = texts

    def stamp(self) -> Hashable:
        return str(self.texts)

    def load(self) -> Mapping[str, Sequence[str]]:
        return self.texts


def test_a_catalog_has_fallbacks_until_texts_are_synchronised() -> None:
    shelf = Shelf()
    catalog = InstructionCatalog(shelf, {"gpt-5.2": STAND_IN})
    before = catalog.current()
    assert (before.are_synchronised, before.for_model("gpt-5.2"), STAND_IN in before.official) == (
        False,
        STAND_IN,
        True,
    )
    shelf.texts = {"gpt-5.2": [OFFICIAL, OTHER]}
    after = catalog.current()
    assert (after.are_synchronised, after.for_model("gpt-5.2")) == (True, OFFICIAL)
    assert (OTHER in after.official, STAND_IN in after.official, STAND_IN in after.known) == (True, False, True)
    assert before.for_model("gpt-5.2") == STAND_IN


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-5.2", "gpt-5.2"),
        ("gpt-5.2-codex-spark", "gpt-5.2-codex"),
        ("gpt-6-sol", "gpt-5.2"),
        ("gpt-6-codex", "gpt-5.2-codex"),
        ("gpt-5.1-codex-max-new", "gpt-5.1-codex-max"),
        ("", "gpt-5.2"),
    ],
)
def test_a_model_without_a_text_gets_its_nearest_relatives(model: str, name: str) -> None:
    texts = {name: name for name in ("gpt-5.1", "gpt-5.2", "gpt-5.1-codex", "gpt-5.1-codex-max", "gpt-5.2-codex")}
    assert closest(model, texts) == name


def test_without_any_text_there_is_none() -> None:
    assert InstructionCatalog(Shelf(), {}).for_model("gpt-5.2") == ""


RULES = {"codex-cli": Rule(("codex_exec",), "2api Codex", complete=True)}
BOUND = Identity("ann", keyed=True, allowed_clients=("codex-cli",))
SAID: dict[str, Any] = {"instructions": "secret words"}


def provider(name: str, capabilities: Capabilities) -> Provider:
    return Provider(ScriptedBackend(name, capabilities=capabilities), group="2api Codex")


@pytest.fixture
def policy(tmp_path: Path) -> AccessPolicy:
    memory = open_storage("memory://")
    return AccessPolicy(
        rules=RULES,
        instructions=InstructionCatalog(Shelf(**{"gpt-5.2": [OFFICIAL]}), {}),
        limiter=Limiter(memory, memory),
        parallel=ParallelTurns(tmp_path / "parallel"),
        quotas=QuotaBook(tmp_path / "quotas.sqlite3"),
        providers=[provider("my relay", CODEX), provider("platform", OPENAI), provider("local", CODEX_CLI)],
    )


def authorized(policy: AccessPolicy, identity: Identity) -> AccessContext:
    access = policy.authorize(identity, {"HTTP_USER_AGENT": "curl/8.5"}, SAID, "/chat/completions")
    return access.with_plan(turn("secret words", USER))


def decision_line(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (line,) = [record for record in caplog.records if record.getMessage() == "guard decision"]
    return line


def facts(line: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = vars(line)["codexproxy_fields"]
    return found


def test_a_codex_provider_gets_the_completed_turn_and_the_log_tells_all_facts(
    policy: AccessPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    access = authorized(policy, BOUND)
    sent = access.route.fit(turn("secret words", USER), CODEX)
    assert sent.body["instructions"] == OFFICIAL
    assert sent.adapted == ("guard:group=2api_Codex", "guard:completed")
    with caplog.at_level(logging.INFO, "codexproxy.access"):
        policy.settle(access, "my relay", 0)
    line = decision_line(caplog)
    found = facts(line)
    assert {name: found[name] for name in found if name != "marks"} == {
        "user": "ann",
        "allowedClients": ["codex-cli"],
        "route": "/chat/completions",
        "profile": "curl",
        "genuine": [],
        "hasInstructions": True,
        "instructionsLengthBefore": len("secret words"),
        "instructionsLengthAfter": len(OFFICIAL),
        "officialTexts": "synchronised",
        "rule": "codex-cli",
        "reason": "not_genuine",
        "group": "2api Codex",
        "forced": True,
        "completed": True,
        "mismatch": False,
        "provider": "my relay",
        "providerType": "codex",
    }
    assert found["marks"]["officialInstructions"] is False
    assert "secret" not in str(found)
    assert line.levelno == logging.INFO


@pytest.mark.parametrize(("name", "capabilities"), [("platform", OPENAI), ("local", CODEX_CLI)])
def test_a_provider_of_another_type_gets_the_turn_as_it_is_with_a_warning(
    policy: AccessPolicy, caplog: pytest.LogCaptureFixture, name: str, capabilities: Capabilities
) -> None:
    access, came = authorized(policy, BOUND), turn("secret words", USER)
    sent = access.route.fit(came, capabilities)
    assert (sent.body, sent.cache_key) == (came.body, came.cache_key)
    policy.settle(access, name, 0)
    line = decision_line(caplog)
    found = facts(line)
    assert (found["completed"], found["mismatch"], line.levelno) == (False, True, logging.WARNING)
    assert found["instructionsLengthAfter"] == len("secret words")


def test_an_unbound_key_is_left_alone_and_nothing_is_looked_at(
    policy: AccessPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "codexproxy.access")
    access, came = authorized(policy, Identity("ann", keyed=True)), turn("secret words", USER)
    assert access.route.fit(came, CODEX) == came
    assert (access.decision.reason, access.client.name) == ("unchecked", "curl")
    assert not access.client.evidence.signals
    policy.settle(access, "my relay", 0)
    assert not caplog.records


def test_at_debug_level_decisions_about_unbound_keys_are_logged_with_their_facts(
    policy: AccessPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "codexproxy.access"):
        access = authorized(policy, Identity("ann", keyed=True))
        policy.settle(access, "my relay", 0)
    found = facts(decision_line(caplog))
    assert (found["reason"], found["instructionsLengthAfter"]) == ("unchecked", len("secret words"))
    assert found["marks"]["officialInstructions"] is False


def test_a_turn_that_reached_no_provider_is_told_as_such(
    policy: AccessPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "codexproxy.access"):
        policy.settle(authorized(policy, BOUND), "", 0)
    found = facts(decision_line(caplog))
    assert (found.get("provider"), found["completed"]) == (None, False)


def test_an_access_context_holds_no_text_of_the_request(policy: AccessPolicy) -> None:
    assert "secret" not in repr(authorized(policy, BOUND))
