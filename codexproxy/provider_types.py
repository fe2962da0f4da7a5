"""The types of providers (``providerType`` in the config file), and what each can do: one row per type.

A new type is a row here, a package below ``upstream/`` with its backend, and the function of
``app/providers.py`` that makes it. Everything else asks for capabilities, never for a type's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What providers of one type can do, and what they need.

    Attributes:
        type: The type's name, as in the config file and in reports.
        needs_login: Whether it works with a login to ChatGPT, unless it is given a key.
        needs_official_instructions: Whether its upstream may refuse instructions other than the official ones.
        describes_models: Whether its list of models tells their efforts and limits, not only their names.
        is_local: Whether it is a program on this machine, which ``CODEX_LOCAL_ONLY`` permits.
        runs_cli_models: Whether models named ``cli/…`` run there; they run nowhere else.
        honours_x_codex: Whether it reads the field ``x_codex`` of a request.
    """

    type: str
    needs_login: bool = False
    needs_official_instructions: bool = False
    describes_models: bool = False
    is_local: bool = False
    runs_cli_models: bool = False
    honours_x_codex: bool = False


CODEX = Capabilities(type="codex", needs_login=True, needs_official_instructions=True, describes_models=True)
CODEX_CLI = Capabilities(type="codex-cli", is_local=True, runs_cli_models=True, honours_x_codex=True)
OPENAI = Capabilities(type="openai")

PROVIDER_TYPES: Mapping[str, Capabilities] = {row.type: row for row in (CODEX, CODEX_CLI, OPENAI)}
