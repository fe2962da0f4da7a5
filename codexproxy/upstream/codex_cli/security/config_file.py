"""The CLI's own configuration, ``$CODEX_HOME/config.toml``, as far as we have to know it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codexproxy.errors import UpstreamFailed

CONFIG = "config.toml"

# The provider the CLI uses when nothing is configured.
BUILT_IN = "openai"

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class CliConfig:
    """What the CLI will use.

    Attributes:
        provider: Id of the model provider.
        provider_table: Its ``model_providers`` entry, ``{}`` when there is none.
        top: All top-level keys, the profile's laid over them.
    """

    provider: str = BUILT_IN
    provider_table: Mapping[str, Any] = field(default_factory=dict)
    top: Mapping[str, Any] = field(default_factory=dict)

    @property
    def secret_names(self) -> tuple[str, ...]:
        """Environment variables that the providers read their keys from."""
        names: list[str] = []
        for table in _table(self.top.get("model_providers")).values():
            key = _table(table).get("env_key")
            named = [key, *_table(_table(table).get("env_http_headers")).values()]
            names += [name for name in named if isinstance(name, str) and name]
        return tuple(dict.fromkeys(names))


class ConfigFile:
    """Reads the configuration again whenever the file has changed.

    Args:
        home: The CLI's own folder.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / CONFIG
        self._cached: tuple[Stamp, CliConfig] | None = None

    def stamp(self) -> Stamp:
        """Changes whenever the file does; None while there is none."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def dotenv(self) -> str:
        """The ``.env`` beside it, whose variables the CLI takes; empty when there is none.

        Raises:
            UpstreamFailed: It cannot be read.
        """
        try:
            return (self._path.parent / ".env").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise UpstreamFailed("The Codex CLI's .env cannot be read.", code="codex_cli_failed") from error

    def read(self) -> CliConfig:
        """The configuration as it is now.

        Raises:
            UpstreamFailed: The file cannot be read or is no TOML.
        """
        stamp = self.stamp()
        if self._cached is None or self._cached[0] != stamp:
            self._cached = (stamp, config_of(self._load()) if stamp else CliConfig())
        return self._cached[1]

    def _load(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            # What the parser says may quote the file, and with it a key.
            raise UpstreamFailed(
                "The Codex CLI's config.toml cannot be read. Please check that it is valid TOML.",
                code="codex_cli_failed",
            ) from error


def config_of(top: Mapping[str, Any]) -> CliConfig:
    """What a parsed config.toml comes to: its profile's keys win over its own."""
    profile = _table(_table(top.get("profiles")).get(str(top.get("profile"))))
    merged = {**top, **profile}
    provider = merged.get("model_provider", BUILT_IN)
    name = provider if isinstance(provider, str) else ""
    return CliConfig(name, _table(_table(top.get("model_providers")).get(name)), merged)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
