"""PartTracker of other APIs that clients may try here, and what to use instead (docs/reference/clients.md#continue).

A test holds the table to every route that OpenAI's own library knows.
"""

from dataclasses import dataclass

from codexproxy.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Absent:
    """Something that is not offered.

    Attributes:
        what: Its name, at the beginning of a sentence.
        instead: What to do, as a sentence.
        why: Why it is not there.
    """

    what: str
    instead: str
    why: str = "the Codex backend has no such thing"


_NOT_KEPT = "nothing of that kind is stored"
_PLATFORM = "Please use the OpenAI platform with an API key of its own for that."
_TEXT = "Please send a turn to /v1/responses or /v1/chat/completions instead."
_STORED = "Please continue a stored response by its id: see /v1/responses."
_IN_TURN = "Please send files inside a turn, as `file_data`."
_OWN_API = (
    "Please set the client to OpenAI's own API with this server's /v1 as the base URL; "
    "the name of a model takes the place of the deployment."
)
_ADMINISTRATION = Absent("The administration API is", _PLATFORM)
_VOICES = Absent("Speech and transcription are", _PLATFORM)
_AGENTS = Absent("The Agents API is", _TEXT)
_FINE_TUNING = Absent("Fine-tuning is", _PLATFORM)
_WEBHOOKS = Absent("Webhooks are", "Please poll a `background` response, or read it as a stream.")
_SAFETY = Absent("Safety reports are", _PLATFORM)
_ASSISTANTS = Absent("The Assistants API is", _TEXT)
_REALTIME = Absent("The Realtime API is", _TEXT)
_STORED_CHATS = Absent(
    "Stored chat completions are", "Please send the turn to /v1/responses, which keeps answers.", _NOT_KEPT
)

# The beginning of a route, without ``/v1``; with a method before it where other methods of it are offered.
ABSENT: dict[str, Absent] = {
    "embeddings": Absent(
        "Embeddings are", "Please set another provider for them in your client, such as a local embedding model."
    ),
    "engines": Absent("Engines are", _TEXT),
    "edits": Absent("Edits are", _TEXT),
    "answers": Absent("Answers are", _TEXT),
    "classifications": Absent("Classifications are", _TEXT),
    "search": Absent("Searches are", _TEXT),
    "audio": _VOICES,
    "realtime": _REALTIME,
    "live": _REALTIME,
    "images": Absent(
        "The Images API is",
        'Please ask for the picture in a turn to /v1/responses that offers {"type": "image_generation"} in `tools`; '
        "where the plan or the model lacks that tool, the answer is a text.",
    ),
    "videos": Absent("Videos are", _PLATFORM),
    "moderations": Absent("Moderation is", _PLATFORM),
    "fine_tuning": _FINE_TUNING,
    "fine-tunes": _FINE_TUNING,
    "DELETE models": Absent("Deleting models is", "Please leave the models as they are: they belong to the account."),
    "evals": Absent("Evals are", _PLATFORM),
    "decisions": Absent("Decisions are", _PLATFORM),
    "files": Absent("The Files API is", _IN_TURN),
    "uploads": Absent("Uploads are", _IN_TURN),
    "batches": Absent("The Batch API is", "Please send the turns one by one; `background` responses can be polled."),
    "vector_stores": Absent("Vector stores are", _PLATFORM),
    "containers": Absent("Containers are", _PLATFORM),
    "skills": Absent("Skills are", "Please put their text into the `instructions` of a turn."),
    "chatkit": Absent("ChatKit is", _TEXT),
    "agents": _AGENTS,
    "vaults": _AGENTS,
    "assistants": _ASSISTANTS,
    "threads": _ASSISTANTS,
    "conversations": Absent("The Conversations API is", _STORED),
    "GET chat/completions": _STORED_CHATS,
    "chat/completions": _STORED_CHATS,
    "organization": _ADMINISTRATION,
    "projects": _ADMINISTRATION,
    "usage": Absent("The platform's usage report is", "Please see /v1/quota, or `codexproxy usage`."),
    "dashboard/billing": Absent("Billing is", "Please see /v1/quota, or `codexproxy usage`."),
    "webhooks": _WEBHOOKS,
    "webhook_endpoints": _WEBHOOKS,
    "webhook_event_types": _WEBHOOKS,
    "safety": _SAFETY,
    "content_provenance_checks": _SAFETY,
    "openai": Absent("Azure's paths are", _OWN_API, "this server has no deployments"),
    "messages": Absent("Anthropic's API is", _TEXT),
    "complete": Absent("Anthropic's API is", _TEXT),
    "api": Absent("Ollama's API is", "Please add this server to your client as an OpenAI-compatible one, with /v1."),
}
_LONGEST = max(key.count("/") + 1 for key in ABSENT)


def absent_at(method: str, path: str, *, offered: bool = False) -> InvalidRequest | None:
    """The refusal for a route that is known elsewhere; None for one that is known nowhere.

    Args:
        method: ``GET``.
        path: The canonical path, as in ``paths``.
        offered: Whether other methods of this path are offered.
    """
    words = path.strip("/").split("/")[:_LONGEST]
    beginnings = ["/".join(words[:count]) for count in range(len(words), 0, -1)]
    keys = [f"{method} {beginning}" for beginning in beginnings] + ([] if offered else beginnings)
    found = next((ABSENT[key] for key in keys if key in ABSENT), None)
    if found is None:
        return None
    message = f"{found.what} not offered here: {found.why}. {found.instead}"
    return InvalidRequest(message, code="not_offered", status=501)
