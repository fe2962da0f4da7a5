"""Official instructions from where they are published: the catalogue, an installed CLI, the public repository."""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import requests

from codexproxy.errors import UpstreamFailed
from codexproxy.outbound import Limits, fetch

Texts = dict[str, list[str]]

PUBLIC_REPOSITORY = "https://raw.githubusercontent.com/openai/codex"
NEWEST = "main"

# Where the repository keeps, or kept, its catalogue, and single texts of older models.
_CATALOGUES = ("codex-rs/models-manager/models.json", "codex-rs/core/models.json")
# The first that is there counts; ``unknown-model`` stands for names that the CLI does not know.
_SINGLE_TEXTS = (
    ("unknown-model", "codex-rs/protocol/src/prompts/base_instructions/default.md"),
    ("unknown-model", "codex-rs/core/prompt.md"),
    ("gpt-5.1", "codex-rs/core/gpt_5_1_prompt.md"),
    ("gpt-5.2", "codex-rs/core/gpt_5_2_prompt.md"),
    ("gpt-5.1-codex", "codex-rs/core/gpt_5_codex_prompt.md"),
    ("gpt-5.1-codex-mini", "codex-rs/core/gpt_5_codex_prompt.md"),
    ("gpt-5.1-codex-max", "codex-rs/core/gpt-5.1-codex-max_prompt.md"),
    ("gpt-5.2-codex", "codex-rs/core/gpt-5.2-codex_prompt.md"),
)

# What stands in a model's template for the personality that was chosen.
_PERSONALITY = "{{ personality }}"
_LIMITS = Limits(seconds=60.0, size=16 * 2**20)
_CLI_TIMEOUT = 60.0


def texts_of_rows(rows: Iterable[Mapping[str, Any]]) -> Texts:
    """The instructions in rows of a catalogue, by model; models without any are left out.

    See docs/reference/models.md#the-catalogue.
    """
    found = {str(row.get("slug")): texts_of(row) for row in rows if isinstance(row, Mapping)}
    return {slug: texts for slug, texts in found.items() if texts}


def texts_of(row: Mapping[str, Any]) -> list[str]:
    """All instructions the real client may send for a model: the base text, then one per personality."""
    messages = row.get("model_messages")
    messages = messages if isinstance(messages, Mapping) else {}
    template, variables = messages.get("instructions_template"), messages.get("instructions_variables")
    texts = [row.get("base_instructions")]
    if isinstance(template, str):
        known = variables.values() if isinstance(variables, Mapping) else ()
        personalities = ["", *(text for text in known if isinstance(text, str))]
        texts += [template.replace(_PERSONALITY, personality) for personality in personalities]
    return list(dict.fromkeys(text for text in texts if _is_text(text)))


def _is_text(value: Any) -> TypeGuard[str]:
    # A lone surrogate, which JSON can carry, could neither be stored nor sent.
    return isinstance(value, str) and bool(value.strip()) and _is_unicode(value)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def texts_of_cli(command: Sequence[str], environ: Mapping[str, str] | None = None) -> Texts:
    """The instructions an installed Codex CLI knows (docs/reference/codex-cli.md#asking-for-its-models).

    Args:
        command: The CLI and its arguments before ``debug``.
        environ: Its environment; ours when None.

    Raises:
        UpstreamFailed: It is not installed, fails, or says something else.
    """
    try:
        done = subprocess.run(
            [*command, "debug", "models"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CLI_TIMEOUT,
            check=False,
            env=None if environ is None else dict(environ),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(f"The Codex CLI '{command[0]}' cannot be run") from error
    if done.returncode != 0:
        raise _unusable(f"'{command[0]} debug models' failed with exit code {done.returncode}")
    return texts_of_rows(_rows(done.stdout, f"'{command[0]} debug models'"))


def texts_of_repository(session: requests.Session, tag: str = NEWEST, base: str = PUBLIC_REPOSITORY) -> Texts:
    """The instructions in the public Codex repository.

    Args:
        session: Fetches; nothing secret may hang on it.
        tag: A tag, ``rust-v0.169.0``, or a branch.
        base: Where files of the repository are served.

    Raises:
        UpstreamFailed: It cannot be reached, or this tag holds none.
    """
    found: Texts = {}
    for model, path in _SINGLE_TEXTS:
        text = _fetch(session, f"{base}/{tag}/{path}") if model not in found else None
        if text is not None:
            found[model] = [_decoded(text, path)]
    for path in _CATALOGUES:
        catalogue = _fetch(session, f"{base}/{tag}/{path}")
        if catalogue is not None:
            # The catalogue is newer than the single files that were left beside it.
            return found | texts_of_rows(_rows(catalogue, path))
    if not found:
        raise _unusable(f"'{tag}' of the public Codex repository holds no instructions; name another tag")
    return found


def _fetch(session: requests.Session, url: str) -> bytes | None:
    try:
        found = fetch(session, "GET", url, _LIMITS)
    except requests.RequestException as error:
        raise _unusable(f"{url} cannot be reached") from error
    if found.status_code == 404:
        return None
    if found.status_code != 200:
        raise _unusable(f"{url} answered {found.status_code}")
    return found.content


def _rows(data: bytes, what: str) -> list[Mapping[str, Any]]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise _unusable(f"{what} is not JSON") from error
    rows = document.get("models") if isinstance(document, Mapping) else None
    if not isinstance(rows, list):
        raise _unusable(f"{what} holds no list of models")
    return rows


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unusable(f"{what} is not UTF-8") from error


def _unusable(what: str) -> UpstreamFailed:
    return UpstreamFailed(f"{what}. The instructions known before stay in use.", retryable=False)
