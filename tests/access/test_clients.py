"""Clients are recognised by their marks; only a Codex CLI with all of its proofs is genuine."""

import json
from typing import Any

import pytest

from codexproxy.access.client_detection import BY_NAME, PROFILES, detect_client, read_headers, session_of
from codexproxy.planning.client_quirks import QUIRKS
from codexproxy.planning.official_instructions import KnownInstructions
from tests.data import RECORDINGS

OFFICIAL_TEXT = "You are the official assistant.\n\nBe careful."
OFFICIAL = KnownInstructions([OFFICIAL_TEXT])
THREAD = "0198c1de-6f2a-7c30-9c11-3b8f3f4a2d10"
SESSION = "0198c1de-6f2a-7c30-9c11-3b8f3f4a2d11"

OLD_HEADERS = {
    "user-agent": "codex_cli_rs/0.46.0 (Debian 12.0.0; x86_64) xterm",
    "originator": "codex_cli_rs",
    "session_id": SESSION,
    "conversation_id": THREAD,
}
NEW_HEADERS = {
    "user-agent": "codex_exec/0.169.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.169.0)",
    "originator": "codex_exec",
    "session-id": THREAD,
    "thread-id": THREAD,
}
USER: dict[str, Any] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


def developer(*texts: str) -> dict[str, Any]:
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": t} for t in texts]}


GENUINE_BODIES = {
    "instructions": {"instructions": OFFICIAL_TEXT, "input": [USER]},
    "instructions with CRLF and blank lines around": {
        "instructions": "\r\n" + OFFICIAL_TEXT.replace("\n", "\r\n") + "\n\n",
        "input": [USER],
    },
    "first developer message": {"input": [developer(OFFICIAL_TEXT), developer("skills"), USER]},
    "first part of the first developer message": {"input": [developer(OFFICIAL_TEXT, "more"), USER]},
    "developer message behind the tools of a lite body": {
        "instructions": "",
        "input": [{"type": "additional_tools", "role": "developer", "tools": []}, developer(OFFICIAL_TEXT), USER],
    },
    "message without a type": {"input": [{"role": "developer", "content": OFFICIAL_TEXT}]},
    "chat message": {"messages": [{"role": "system", "content": OFFICIAL_TEXT}]},
}


@pytest.mark.parametrize("headers", [OLD_HEADERS, NEW_HEADERS], ids=["old", "new"])
@pytest.mark.parametrize("body", GENUINE_BODIES.values(), ids=list(GENUINE_BODIES))
def test_the_real_codex_cli_is_genuine(headers: dict[str, str], body: dict[str, Any]) -> None:
    client = detect_client(headers, body, OFFICIAL)
    assert client.name == "codex-cli"
    assert client.evidence.verified == {"codex-cli"}


def without(headers: dict[str, str], *names: str, **changed: str) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in names} | {
        name.replace("_", "-"): value for name, value in changed.items()
    }


BODY: dict[str, Any] = GENUINE_BODIES["instructions"]
NOT_GENUINE = {
    "another text": (NEW_HEADERS, {"instructions": "You are a pirate.", "input": [USER]}, "officialInstructions"),
    "official text with something added": (
        NEW_HEADERS,
        {"instructions": OFFICIAL_TEXT + " And a pirate.", "input": [USER]},
        "officialInstructions",
    ),
    "official text said by the user": (
        NEW_HEADERS,
        {"input": [{"role": "user", "content": OFFICIAL_TEXT}]},
        "officialInstructions",
    ),
    "official text in the second developer message": (
        NEW_HEADERS,
        {"input": [developer("first"), developer(OFFICIAL_TEXT)]},
        "officialInstructions",
    ),
    "no text": (NEW_HEADERS, {"input": [USER]}, "officialInstructions"),
    "another program": (
        without(NEW_HEADERS, "originator", user_agent="curl/8.5"),
        BODY,
        "codexUserAgent",
    ),
    "a program named alike": (
        without(NEW_HEADERS, "originator", user_agent="codex_executor/1.0"),
        BODY,
        "codexUserAgent",
    ),
    "no session id": (without(NEW_HEADERS, "session-id"), BODY, "sessionIdIsUuid"),
    "no conversation id": (without(OLD_HEADERS, "conversation_id"), BODY, "conversationIdIsUuid"),
    "a session id that is no UUID": (without(NEW_HEADERS, session_id="abc"), BODY, "sessionIdIsUuid"),
    "one of two session ids is no UUID": (
        without(NEW_HEADERS, session_id=f"{THREAD},abc"),
        BODY,
        "sessionIdIsUuid",
    ),
    "a thread id that is no UUID": (without(NEW_HEADERS, thread_id=THREAD[:-1]), BODY, "conversationIdIsUuid"),
}


@pytest.mark.parametrize(("headers", "body", "missing"), NOT_GENUINE.values(), ids=list(NOT_GENUINE))
def test_a_request_that_lacks_one_proof_is_not_genuine(
    headers: dict[str, str], body: dict[str, Any], missing: str
) -> None:
    client = detect_client(headers, body, OFFICIAL)
    assert client.evidence.verified == frozenset()
    assert [
        name
        for name in ("officialInstructions", "codexUserAgent", "sessionIdIsUuid", "conversationIdIsUuid")
        if not client.evidence.signals[name]
    ] == [missing]


def test_old_and_new_session_headers_joined_by_a_comma_are_split() -> None:
    headers = without(NEW_HEADERS, session_id=f"{THREAD}, {SESSION}")
    assert detect_client(headers, BODY, OFFICIAL).evidence.verified
    assert session_of({"session-id": f"{SESSION},{THREAD}"}) == SESSION


def test_the_originator_alone_shows_the_program_too() -> None:
    assert detect_client(without(NEW_HEADERS, user_agent="Mozilla/5.0"), BODY, OFFICIAL).evidence.verified


def test_nothing_is_official_while_no_text_is_known() -> None:
    assert not detect_client(NEW_HEADERS, BODY, KnownInstructions()).evidence.verified
    assert not detect_client(NEW_HEADERS, {"instructions": ""}, KnownInstructions(["", " "])).evidence.verified


CLAUDE_HEADERS = {"user-agent": "claude-cli/2.0.62 (external, cli)", "x-app": "cli"}
CLAUDE_BODY = {"messages": [{"role": "system", "content": "You are Claude Code, Anthropic's official CLI for Claude."}]}


@pytest.mark.parametrize(
    ("headers", "body", "genuine"),
    [
        (CLAUDE_HEADERS, CLAUDE_BODY, {"claude-cli"}),
        (CLAUDE_HEADERS, {"metadata": {"user_id": f"user_ab_account_cd_session_{THREAD}"}}, {"claude-cli"}),
        (CLAUDE_HEADERS, {"messages": []}, set()),
        ({**CLAUDE_HEADERS, "x-app": "web"}, CLAUDE_BODY, set()),
        ({**CLAUDE_HEADERS, "user-agent": "curl/8"}, CLAUDE_BODY, set()),
    ],
)
def test_claude_code_is_genuine_by_its_own_marks(
    headers: dict[str, str], body: dict[str, Any], genuine: set[str]
) -> None:
    client = detect_client(headers, body, OFFICIAL)
    assert client.evidence.verified == genuine
    assert not client.evidence.signals["codexUserAgent"]


@pytest.mark.parametrize(
    ("headers", "body", "name"),
    [
        ({"user-agent": "Zed/0.200.1 (linux; x86_64)"}, {}, "zed"),
        ({"user-agent": "GitHubCopilotChat/0.35.0"}, {}, "vscode"),
        ({"user-agent": "OpenAI/JS 5.1.0", "x-title": "Cline"}, {}, "cline"),
        ({"user-agent": "OpenAI/JS 5.1.0", "http-referer": "https://cline.bot"}, {}, "cline"),
        ({"user-agent": "RooCode/3.25", "x-title": "Roo Code"}, {}, "roo-code"),
        ({"user-agent": "Python/3.11 aiohttp/3.11", "x-openwebui-chat-id": "c1"}, {}, "open-webui"),
        ({"user-agent": "n8n"}, {}, "n8n"),
        ({"user-agent": "OpenAI/Python 2.1.0"}, {}, "openai-sdk"),
        ({"user-agent": "AsyncOpenAI/Python 2.1.0"}, {}, "openai-sdk"),
        ({"user-agent": "curl/8.5.0"}, {}, "curl"),
        ({"user-agent": "Codex Desktop/26.1"}, {}, "codex-cli"),
        ({}, {}, "unknown"),
        ({"user-agent": ""}, {"messages": "no list", "input": 3, "instructions": 4, "metadata": []}, "unknown"),
        ({}, {"messages": [None, 3, {"role": "system", "content": [None, {"text": 5}]}]}, "unknown"),
    ],
)
def test_other_clients_are_rows_of_the_table(headers: dict[str, str], body: dict[str, Any], name: str) -> None:
    assert detect_client(headers, body, OFFICIAL).name == name


def test_the_recorded_cursor_request_is_recognised_by_its_system_text() -> None:
    body = json.loads((RECORDINGS / "requests/cursor_ask_mode.json").read_text())
    assert detect_client({"user-agent": "Go-http-client/2.0"}, body, OFFICIAL).name == "cursor"


def test_quirks_are_those_of_clients_that_can_be_recognised() -> None:
    assert QUIRKS.keys() <= BY_NAME.keys()


@pytest.mark.parametrize(
    ("headers", "session"),
    [
        (OLD_HEADERS, THREAD),
        (NEW_HEADERS, THREAD),
        ({"session_id": SESSION}, SESSION),
        ({"session-id": "any text"}, "any text"),
        ({"x-openwebui-chat-id": "chat-1"}, "chat-1"),
        ({"session-id": " , "}, None),
        ({"session-id": "x" * 300}, None),
        ({"session-id": "a\x00b"}, None),
        ({}, None),
    ],
)
def test_the_conversation_is_known_by_the_clients_own_id(headers: dict[str, str], session: str | None) -> None:
    assert session_of(headers) == session


def test_a_client_tells_lengths_of_its_text_but_never_the_text() -> None:
    client = detect_client({}, {"instructions": "secret plan"}, OFFICIAL)
    assert (client.evidence.has_instructions, client.evidence.instructions_length) == (True, 11)
    assert "secret" not in repr(client)


def test_profile_names_are_unique() -> None:
    assert len({profile.name for profile in PROFILES}) == len(PROFILES)


def test_headers_are_read_from_the_environment_of_a_request_in_either_spelling() -> None:
    environ = {"HTTP_USER_AGENT": "codex_exec/1", "HTTP_SESSION_ID": SESSION, "HTTP_ACCEPT": "*/*", "REMOTE_ADDR": ""}
    headers = read_headers(environ)
    assert headers["user-agent"] == "codex_exec/1"
    assert session_of(headers) == SESSION
    assert "accept" not in headers


def test_a_client_is_named_without_the_official_instructions_but_not_verified() -> None:
    client = detect_client(NEW_HEADERS, BODY)
    assert (client.name, client.session) == ("codex-cli", THREAD)
    assert not client.evidence.signals
    assert not client.evidence.verified
