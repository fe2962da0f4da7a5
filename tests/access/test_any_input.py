"""Whatever a request holds, the guard decides and never breaks."""

from typing import Any
from urllib.parse import urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from codexproxy.access.client_detection import detect_client, session_of
from codexproxy.access.keys import KeyRing, presented_key
from codexproxy.access.origins import OriginPolicy, RequestOrigin, is_loopback_address, is_loopback_host, normal_origin
from codexproxy.compat.history.sanitize import has_ciphertext, has_compaction, without_encrypted_reasoning
from codexproxy.errors import PermissionRefused
from codexproxy.planning.official_instructions import KnownInstructions, OfficialInstructions, instructions_of
from codexproxy.protocol.request import Turn

NAMES = ("user-agent", "originator", "session-id", "session_id", "thread-id", "x-title", "authorization", "x-api-key")
WORDS = st.sampled_from(
    ["developer", "message", "reasoning", "compaction", "additional_tools", "text", "You operate in Cursor"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "encrypted_content"]), inner, max_size=5)
    ),
    max_leaves=20,
)
BODIES = st.dictionaries(
    st.sampled_from(["instructions", "input", "messages", "metadata", "model"]),
    JSON | st.lists(JSON, max_size=5),
    max_size=5,
)
HEADERS = st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40) | st.sampled_from(["Bearer x", "codex_exec/1"]))
LOCAL_PARTS = st.sampled_from(
    ["localhost", "127.0.0.1", "[::1]", "evil.example", "@", ":", ".", "/", "\\", "3000", "[", "]", "#", "?", " "]
)
HOSTS = st.text(max_size=20) | st.lists(LOCAL_PARTS, max_size=6).map("".join)
OFFICIAL = KnownInstructions(["official"])


@given(HEADERS, BODIES)
def test_any_request_is_recognised_as_something(headers: dict[str, str], body: dict[str, Any]) -> None:
    client = detect_client(headers, body, OFFICIAL)
    assert client.name
    signals = client.evidence.signals
    assert "codex-cli" not in client.evidence.verified or all(signals[name] for name in signals if "claude" not in name)
    session = session_of(headers)
    assert session is None or (session.isprintable() and session)


@given(HEADERS)
def test_no_header_but_the_right_key_opens_the_service(headers: dict[str, str]) -> None:
    ring = KeyRing(api_key="the key")
    presented = presented_key(headers)
    try:
        assert ring.identify(presented).keyed
    except Exception as error:
        assert getattr(error, "code", None) == "invalid_api_key"
    else:
        assert presented == "the key"


@example("127.0.0.0.")
@example("127.0.0.1.:3000")
@given(HOSTS)
def test_a_host_that_passes_as_loopback_is_loopback_to_every_reader(host: str) -> None:
    if is_loopback_host(host):
        name = urlsplit(f"http://{host.strip()}/").hostname
        assert name is not None
        assert name.rstrip(".") == "localhost" or is_loopback_address(name)


@given(HOSTS | st.none(), HOSTS | st.none())
def test_any_host_and_origin_get_a_decision(host: str | None, origin: str | None) -> None:
    policy = OriginPolicy(cors_allow_origins=("https://app.example",))
    try:
        policy.check(RequestOrigin(host, origin))
    except PermissionRefused:
        return
    assert is_loopback_host(host)
    assert (
        origin is None
        or urlsplit(origin.lower()).hostname in {urlsplit(f"http://{host}".lower()).hostname, "app.example"}
        or (normal_origin(origin) is not None)
    )


@given(st.lists(JSON, max_size=6), JSON)
def test_any_body_can_be_completed_and_stripped(items: list[Any], instructions: Any) -> None:
    body = {"model": "m", "instructions": instructions, "input": items}
    completed = OfficialInstructions(OFFICIAL, OFFICIAL, {"m": "official"}, {}).inject(Turn("m", body))
    assert instructions_of(completed.body)
    assert has_compaction(body) <= has_ciphertext(body)
    stripped = without_encrypted_reasoning(body)
    assert all(item in items for item in stripped["input"])
    assert without_encrypted_reasoning(stripped) is stripped
