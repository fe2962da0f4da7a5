"""Parts of other APIs that clients may try here, and what to use instead (COMPAT.md, trap 19)."""

from dataclasses import dataclass

from codexproxy.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Absent:
    """Something the Codex backend has nothing for.

    Attributes:
        what: Its name, at the beginning of a sentence.
        instead: What to do, as a sentence.
    """

    what: str
    instead: str


_PLATFORM = "Please use the OpenAI platform with an API key of its own for that."
_TEXT = "Please send a turn to /v1/responses or /v1/chat/completions instead."
_STORED = "Responses are stored and continued by id: see /v1/responses."

# The first word of a route, without ``/v1``.
ABSENT: dict[str, Absent] = {
    "embeddings": Absent(
        "Embeddings are", "Please set another provider for them in your client, such as a local embedding model."
    ),
    "engines": Absent("Engines are", _TEXT),
    "edits": Absent("Edits are", _TEXT),
    "audio": Absent("Speech and transcription are", _PLATFORM),
    "realtime": Absent("The Realtime API is", _TEXT),
    "images": Absent(
        "The Images API is", "Please ask for a picture in /v1/responses, with the tool `image_generation`."
    ),
    "videos": Absent("Videos are", _PLATFORM),
    "moderations": Absent("Moderation is", _PLATFORM),
    "fine_tuning": Absent("Fine-tuning is", _PLATFORM),
    "fine-tunes": Absent("Fine-tuning is", _PLATFORM),
    "evals": Absent("Evals are", _PLATFORM),
    "files": Absent("The Files API is", "Please send files inside a turn, as `file_data`."),
    "uploads": Absent("Uploads are", "Please send files inside a turn, as `file_data`."),
    "batches": Absent("The Batch API is", "Please send the turns one by one; `background` responses can be polled."),
    "vector_stores": Absent("Vector stores are", _PLATFORM),
    "containers": Absent("Containers are", _PLATFORM),
    "assistants": Absent("The Assistants API is", _TEXT),
    "threads": Absent("The Assistants API is", _TEXT),
    "conversations": Absent("The Conversations API is", _STORED),
    "organization": Absent("The administration API is", _PLATFORM),
    "messages": Absent("Anthropic's API is", _TEXT),
    "api": Absent("Ollama's API is", "Please add this server to your client as an OpenAI-compatible one, with /v1."),
}


def absent_at(path: str) -> InvalidRequest | None:
    """The refusal for a route that is known elsewhere; None for one that is known nowhere.

    Args:
        path: The canonical path, as in ``paths``.
    """
    found = ABSENT.get(path.split("/")[1])
    if found is None:
        return None
    message = f"{found.what} not offered here: the Codex backend has no such thing. {found.instead}"
    return InvalidRequest(message, code="not_offered", status=501)
