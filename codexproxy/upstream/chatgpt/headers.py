"""The headers that upstream gets (docs/reference/requests.md#headers-of-a-turn)."""

from collections.abc import Mapping
from dataclasses import dataclass

from codexproxy import __version__
from codexproxy.protocol.request import Credential, Turn

LITE = "x-openai-internal-codex-responses-lite"


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who we say we are upstream.

    Attributes:
        originator: Client family; ``codex_cli_rs`` is what public clients send.
        version: Version of the Codex CLI whose protocol we speak.
    """

    originator: str = "codex_cli_rs"
    version: str = "0.169.0"

    @property
    def user_agent(self) -> str:
        """Codex-like, since a bare library's name is refused by the edge, and honest about who adds to it."""
        return f"{self.originator}/{self.version} (codexproxy; {__version__})"


def account_headers(identity: ClientIdentity, access: Credential) -> dict[str, str]:
    """What every request to the backend carries."""
    headers = {
        "Authorization": f"Bearer {access.token}",
        "originator": identity.originator,
        "User-Agent": identity.user_agent,
        "Accept-Encoding": "identity",
    }
    if access.account_id:
        headers["chatgpt-account-id"] = access.account_id
    return headers


def turn_headers(identity: ClientIdentity, access: Credential, turn: Turn) -> dict[str, str]:
    """The headers of one turn; the session ids are the prompt cache key."""
    headers = {
        **turn.passthrough.headers,
        **account_headers(identity, access),
        "OpenAI-Beta": "responses=experimental",
        "accept": "text/event-stream",
        "content-type": "application/json",
        "session_id": turn.cache_key,
        "conversation_id": turn.cache_key,
        "session-id": turn.cache_key,
    }
    if turn.routing.lite:
        headers[LITE] = "true"
    return headers


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """The same headers for a human to read, without the credential."""
    return {name: "Bearer ***" if name == "Authorization" else value for name, value in headers.items()}
