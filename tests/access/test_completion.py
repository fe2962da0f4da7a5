"""Completing requests: official instructions byte for byte, the caller's words kept, one UUID; and the log line."""

import logging
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pytest

from codexproxy.access.authorization import Identity
from codexproxy.access.client_detection import detect
from codexproxy.access.routing import Rule, decide
from codexproxy.access.routing_log import Passage
from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS
from codexproxy.planning.official_instructions import (
    InstructionCatalog,
    KnownInstructions,
    closest,
    inject_instructions,
    one_uuid,
)
from codexproxy.protocol.request import Caller, Turn
from codexproxy.provider_types import CODEX, CODEX_CLI, OPENAI, Capabilities

OFFICIAL = "You are official.\r\nLine two.\r\n"
OTHER = "You are official, too."
STAND_IN = "You are a stand-in."
GENUINE = KnownInstructions([OFFICIAL, OTHER])
OURS = KnownInstructions([OFFICIAL, OTHER, STAND_IN])
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
    completed = inject_instructions(came, OFFICIAL, GENUINE, OURS)
    assert completed.body["instructions"] == instructions
    assert completed.body["input"] == items
    assert completed.adapted == ("guard:completed",)


def test_completing_does_not_change_the_turn_that_came() -> None:
    came = turn("Be a pirate.", USER)
    inject_instructions(came, OFFICIAL, GENUINE, OURS)
    assert came.body["input"] == [USER]
    assert came.body["instructions"] == "Be a pirate."


def test_completing_twice_changes_nothing_more() -> None:
    once = inject_instructions(turn("Be a pirate.", USER), OFFICIAL, GENUINE, OURS)
    assert inject_instructions(once, OFFICIAL, GENUINE, OURS).body == once.body


def test_one_uuid_is_session_conversation_and_cache_key() -> None:
    completed = inject_instructions(turn("x", USER, key="not a uuid"), OFFICIAL, GENUINE, OURS)
    assert re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", completed.cache_key)
    assert completed.body["prompt_cache_key"] == completed.cache_key
    assert (
        inject_instructions(turn("y", USER, key="not a uuid"), OFFICIAL, GENUINE, OURS).cache_key == completed.cache_key
    )
    assert inject_instructions(turn("x", USER, key=UUID), OFFICIAL, GENUINE, OURS).cache_key == UUID


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


def test_a_library_has_stand_ins_until_texts_are_synchronised() -> None:
    shelf = Shelf()
    library = InstructionCatalog(shelf, {"gpt-5.2": STAND_IN})
    assert library.current().fallbacks
    assert (library.for_model("gpt-5.2"), STAND_IN in library.current()) == (STAND_IN, True)
    shelf.texts = {"gpt-5.2": [OFFICIAL, OTHER]}
    assert not library.current().fallbacks
    assert library.for_model("gpt-5.2") == OFFICIAL
    assert (OTHER in library.current(), STAND_IN in library.current(), STAND_IN in library.known()) == (
        True,
        False,
        True,
    )


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


def passage(allowed: tuple[str, ...], library: InstructionCatalog) -> Passage:
    headers = {"user-agent": "curl/8.5"}
    client = detect(headers, {"instructions": "secret words"}, library.current())
    decision = decide(Identity("ann", keyed=True, allowed_clients=allowed), client, RULES, "/responses")
    return Passage(decision, "/chat/completions", library)


@pytest.fixture
def library() -> InstructionCatalog:
    return InstructionCatalog(Shelf(**{"gpt-5.2": [OFFICIAL]}), {})


def test_a_codex_provider_gets_the_completed_turn_and_the_record_tells_all_facts(library: InstructionCatalog) -> None:
    way = passage(("codex-cli",), library)
    adapted = way.adapt(turn("secret words", USER), "my relay", CODEX)
    assert adapted.body["instructions"] == OFFICIAL
    assert adapted.adapted == ("guard:group=2api_Codex", "guard:completed")
    record = way.record()
    assert {name: record[name] for name in record if name != "marks"} == {
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
    assert record["marks"]["officialInstructions"] is False  # type: ignore[index]
    assert "secret" not in str(record)
    assert way.level == logging.INFO


@pytest.mark.parametrize("capabilities", [OPENAI, CODEX_CLI])
def test_a_provider_of_another_type_gets_the_turn_as_it_is_with_a_warning(
    library: InstructionCatalog, capabilities: Capabilities
) -> None:
    way = passage(("codex-cli",), library)
    came = turn("secret words", USER)
    adapted = way.adapt(came, "relay", capabilities)
    assert (adapted.body, adapted.cache_key) == (came.body, came.cache_key)
    assert (way.record()["completed"], way.record()["mismatch"], way.level) == (False, True, logging.WARNING)


def test_an_unchecked_user_is_left_alone(library: InstructionCatalog) -> None:
    way = passage((), library)
    came = turn("secret words", USER)
    assert way.adapt(came, "main", CODEX) == came
    assert way.record()["reason"] == "unchecked"


def test_a_turn_that_reached_no_provider_is_told_as_such(library: InstructionCatalog) -> None:
    record = passage(("codex-cli",), library).record()
    assert (record["provider"], record["completed"]) == (None, False)
