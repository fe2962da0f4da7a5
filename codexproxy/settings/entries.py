"""What the config file may hold lists of: providers, users and the guard's rules."""

from dataclasses import dataclass

from codexproxy.provider_types import CODEX, PROVIDER_TYPES, Capabilities
from codexproxy.settings import parsing as p
from codexproxy.settings.rows import row

ROLES = ("user", "metrics", "admin")
CLI_LEVELS = ("none", "read", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One place where turns can run."""

    name: str = row("name", None, p.text, doc="Its name in logs and headers.")
    type: str = row("providerType", None, p.choice(*PROVIDER_TYPES), CODEX.type, "`codex`, `codex-cli` or `openai`.")
    group: str = row("groupTag", None, p.text, "default", "The group of providers it belongs to.")
    enabled: bool = row("isEnabled", None, p.flag, True, "Whether turns may go there.")
    priority: int = row("priority", None, p.integer(0), 0, "Lower values are tried first.")
    weight: int = row("weight", None, p.integer(1), 1, "Share among providers of the same priority.")
    profile: str = row("profile", None, p.text, "default", "The login it uses.")
    models: tuple[str, ...] = row("models", None, p.names, ("*",), "Models it may serve.")
    url: str | None = row("url", None, p.url, None, "Base URL, where it is not the usual one.")
    api_key_env: str | None = row("apiKeyEnv", None, p.text, None, "Environment variable that holds its key.")

    @property
    def capabilities(self) -> Capabilities:
        """What its type can do."""
        return PROVIDER_TYPES[self.type]

    @property
    def uses_login(self) -> bool:
        """Whether it works with a login to ChatGPT; one with a key of its own does not."""
        return self.capabilities.needs_login and not self.api_key_env


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One person or program with a key of its own."""

    name: str = row("name", None, p.user_name, doc="Shown in logs instead of the key.")
    api_key_hash: str | None = row("apiKeyHash", None, p.key_hash, None, "Salted hash of the key.", secret=True)
    role: str = row(
        "role",
        None,
        p.choice(*ROLES),
        "user",
        "`user`: turns; `metrics`: `/metrics` only; `admin`: everything the owner may do.",
    )
    allowed_clients: tuple[str, ...] = row(
        "allowedClients", None, p.names, (), "Clients the guard checks for: `codex-cli`, `claude-cli`; none: no check."
    )
    provider_group: str = row("providerGroup", None, p.text, "default", "Where this user's turns go.")
    models: tuple[str, ...] = row("models", None, p.names, ("*",), "Models this user may use.")
    rate_per_minute: int | None = row("ratePerMinute", None, p.integer(1), None, "Turns per minute.")
    tokens_per_day: int | None = row("tokensPerDay", None, p.integer(1), None, "Tokens per day.")
    max_parallel: int | None = row("maxParallel", None, p.integer(1), None, "Turns at the same time.")
    reserve_weekly_percent: float = row(
        "reserveWeeklyPercent", None, p.number(0, 100), 0.0, "Share of the weekly window left for others."
    )
    cli: str = row(
        "cli", None, p.choice(*CLI_LEVELS), "none", "The local Codex CLI: `none`, `read` or `write` (files of its own)."
    )
    cli_network: bool = row("cliNetwork", None, p.flag, False, "Whether commands of that CLI may use the network.")
    enabled: bool = row("isEnabled", None, p.flag, True, "Whether the key is accepted.")

    @property
    def id(self) -> str:
        """Empty: whoever edits the list by hand decides what a name owns."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRule:
    """How the guard recognises one kind of client, and what becomes of the others."""

    client: str
    user_agents: tuple[str, ...] = row("userAgents", None, p.names, (), "Beginnings of User-Agents that are allowed.")
    group: str = row("group", None, p.text, "default", "Group of providers for everybody else.")
    complete: bool = row("complete", None, p.flag, False, "Whether requests of others are completed.")


GUARD = {
    "codexCli": ClientRule(
        client="codex-cli", user_agents=("codex_cli_rs", "codex_exec"), group="2apiCodex", complete=True
    ),
    "claudeCli": ClientRule(client="claude-cli", user_agents=("claude-cli",), group="2api"),
}
