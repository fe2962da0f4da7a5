"""The settings table: one row per setting, on the attribute that holds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from codexproxy.provider_types import CODEX, CODEX_CLI
from codexproxy.settings import parsing as p
from codexproxy.settings.entries import GUARD, ClientRule, Provider, User
from codexproxy.settings.rows import row

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
SANDBOX_MODES = ("read-only", "workspace-write", "danger-full-access")
LEVELS = ("error", "warn", "info", "debug")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the user may decide; read by `app`, the commands and the two root files only.

    Times are seconds unless a name says otherwise; a limit of None is no limit.
    """

    config_path: Path = row(None, "CONFIG_PATH", p.folder, "~/.codexproxy/config.json", "The config file.")

    host: str = row("server.host", "HOST", p.host, "127.0.0.1", "Address to listen on.")
    port: int = row("server.port", "PORT", p.integer(0, 65535), 3000, "Port to listen on; 0 takes a free one.")
    address: tuple[str, int] | None = row(
        None, "CODEX_OPENAI_PROXY_ADDR", p.address, None, "`host:port` in one; beats `HOST` and `PORT`."
    )
    data_dir: Path = row(
        "server.dataDir", "DATA_DIR", p.folder, "~/.codexproxy/data", "Holds `tokens.json` and the local databases."
    )
    workers: int = row("server.workers", "WEB_CONCURRENCY", p.integer(1, 256), 1, "Worker processes.")
    heartbeat_seconds: float = row(
        "server.heartbeatSeconds",
        "HEARTBEAT_SECONDS",
        p.number(0.05),
        15.0,
        "Silence in a stream after which a heartbeat is sent.",
    )
    send_timeout_seconds: float = row(
        "server.sendTimeoutSeconds",
        "SEND_TIMEOUT_SECONDS",
        p.number(0.05),
        60.0,
        "Longest time a client may read nothing.",
    )
    cors_allow_origins: tuple[str, ...] = row(
        "server.corsAllowOrigins",
        "CORS_ALLOW_ORIGINS",
        p.origins,
        (),
        "Web pages that may call the service; `*` allows all.",
    )
    max_body_bytes: int = row(
        "server.maxBodyBytes", "MAX_BODY_BYTES", p.integer(1), 64 * 2**20, "Largest request, in bytes, unpacked."
    )
    fetch_remote_images: bool = row(
        "server.fetchRemoteImages",
        "FETCH_REMOTE_IMAGES",
        p.flag,
        False,
        "Fetch images by URL ourselves and send them as data; never from private addresses.",
    )

    oauth_client_id: str = row(
        "oauth.clientId", "CODEX_CLIENT_ID", p.text, "app_EMoamEEZ73f0CkXaXp7hrann", "OAuth client of the login."
    )
    oauth_redirect_uri: str = row(
        "oauth.redirectUri",
        "CODEX_REDIRECT_URI",
        p.exact_url,
        "http://localhost:1455/auth/callback",
        "Where the browser returns after the login.",
    )
    oauth_scope: str = row(
        "oauth.scope",
        "CODEX_OAUTH_SCOPE",
        p.text,
        "openid profile email offline_access",
        "Scopes that the login requests.",
    )
    oauth_issuer: str = row(
        "oauth.issuer", "CODEX_AUTH_ISSUER", p.secure_url, "https://auth.openai.com", "Issuer that signs the user in."
    )
    callback_host: str = row(
        "oauth.localServerHost", "CODEX_CALLBACK_HOST", p.host, "127.0.0.1", "Address of the login's callback."
    )
    callback_port: int = row(
        "oauth.localServerPort", "CODEX_CALLBACK_PORT", p.integer(0, 65535), 1455, "Port of the login's callback."
    )
    login_timeout_seconds: float = row(
        "oauth.loginTimeoutSeconds", "CODEX_LOGIN_TIMEOUT", p.number(60), 300.0, "How long a login may take."
    )

    backend_url: str = row(
        "backend.url", "CODEX_BACKEND_URL", p.secure_url, "https://chatgpt.com/backend-api", "Base URL of the backend."
    )
    turn_timeout: float | None = row(
        "backend.timeout", "CODEX_TIMEOUT", p.seconds, 600.0, "A whole turn.", parse_file=p.milliseconds
    )
    connect_timeout: float | None = row(
        "backend.connectTimeout", "CODEX_CONNECT_TIMEOUT", p.seconds, 10.0, "Connecting.", parse_file=p.milliseconds
    )
    first_event_timeout: float | None = row(
        "backend.firstEventTimeout",
        "CODEX_FIRST_EVENT_TIMEOUT",
        p.seconds,
        120.0,
        "Until the answer begins.",
        parse_file=p.milliseconds,
    )
    idle_timeout: float | None = row(
        "backend.idleTimeout",
        "CODEX_IDLE_TIMEOUT",
        p.seconds,
        300.0,
        "Silence within an answer.",
        parse_file=p.milliseconds,
    )
    client_version: str = row(
        "backend.clientVersion",
        "CODEX_CLIENT_VERSION",
        p.secret,
        "0.169.0",
        "Version of the Codex CLI sent when asking for models.",
    )
    originator: str = row(
        "backend.originator", "CODEX_ORIGINATOR", p.secret, "codex_cli_rs", "Name of the client sent upstream."
    )

    log_level: str = row(
        "logging.level", "LOG_LEVEL", p.choice(*LEVELS, aliases={"warning": "warn"}), "info", ", ".join(LEVELS) + "."
    )
    log_dir: Path | None = row("logging.dir", "LOG_DIR", p.folder, None, "Folder for log files.")
    log_format: str | None = row(
        "logging.format",
        "LOG_FORMAT",
        p.choice("text", "json"),
        None,
        "`text` or `json`.",
        shown="text on a terminal, else json",
    )
    log_requests: bool = row(
        "logging.enableRequestLogging",
        "ENABLE_REQUEST_LOGGING",
        p.flag,
        False,
        "Log redacted bodies at debug.",
    )
    log_keep_days: int = row(
        "logging.keepDays", "LOG_KEEP_DAYS", p.integer(1, 3650), 14, "Days that log files are kept."
    )
    log_max_bytes: int = row(
        "logging.maxBytes",
        "LOG_MAX_BYTES",
        p.integer(2**20),
        2**30,
        "Most bytes of all log files; the oldest are deleted.",
    )

    codex_mode: str = row(
        "codex.mode",
        "CODEX_MODE",
        p.choice("auto", "true", "false", aliases={"1": "true", "0": "false", "on": "true", "off": "false"}),
        "auto",
        "`auto`: the model family's prompt only when the caller sent no system text; `true`: always; `false`: never.",
    )
    reasoning_effort: str | None = row(
        "codex.defaultReasoningEffort",
        "CODEX_REASONING_EFFORT",
        p.choice(*EFFORTS),
        None,
        "Effort when the caller names none.",
        shown="the model's",
    )
    text_verbosity: str = row(
        "codex.defaultTextVerbosity",
        "CODEX_TEXT_VERBOSITY",
        p.choice("low", "medium", "high"),
        "medium",
        "`low`, `medium` or `high`.",
    )
    reasoning_summary: str = row(
        "codex.reasoningSummary",
        "CODEX_REASONING_SUMMARY",
        p.choice("auto", "concise", "detailed", "none"),
        "auto",
        "For chat: `auto`, `concise`, `detailed` or `none`; `reasoning_summary` in a request overrides it.",
    )
    reasoning_compat: str = row(
        "codex.reasoningCompat",
        "CODEX_REASONING_COMPAT",
        p.choice("reasoning_content", "think-tags", "o3", "none"),
        "reasoning_content",
        "How chat shows reasoning: `reasoning_content`, `think-tags`, `o3` or `none`.",
    )

    default_model: str | None = row("models.default", "CODEX_MODEL", p.text, None, "Model when the caller names none.")
    reverse_names: bool = row(
        "models.reverseNames", "CODEX_REVERSE_NAMES", p.flag, False, "List each model's name reversed too, for Cursor."
    )
    model_aliases: Mapping[str, str] = row(
        "models.aliases",
        "CODEX_MODEL_ALIASES",
        p.aliases,
        MappingProxyType({}),
        'Other names for models, as JSON: `{"gpt-4o": "gpt-5.2", "gpt-5-mini*": "gpt-5.1", "*": "gpt-5.2"}`. An '
        "exact name counts first, then a model of that name, then the longest pattern; patterns are not listed.",
        shown="{}",
    )
    models_strict: bool = row(
        "models.strict", "CODEX_MODELS_STRICT", p.flag, False, "Refuse names that are not in the catalogue."
    )
    models_refresh_seconds: float = row(
        "models.refreshSeconds",
        "CODEX_MODELS_REFRESH_SECONDS",
        p.number(1),
        3600.0,
        "Age of the catalogue at which it is fetched again.",
    )

    api_key: str | None = row(
        "auth.apiKey", "PROXY_API_KEY", p.secret, None, "The key callers must present.", secret=True
    )
    allow_unauthenticated: bool = row(
        "auth.allowUnauthenticated", "ALLOW_UNAUTHENTICATED", p.flag, False, "Serve everyone who can reach the service."
    )

    rate_per_minute: int | None = row(
        "limits.ratePerMinute", "RATE_LIMIT_PER_MINUTE", p.integer(1), None, "Turns per minute, of all keys together."
    )
    limits_storage: str | None = row(
        "limits.storage",
        "LIMITS_STORAGE",
        p.counters,
        None,
        "Where limits are counted: `codexproxy+sqlite:///PATH`, or `memory://` for each worker by itself.",
        secret=True,
        shown="a database in `DATA_DIR`",
    )
    max_parallel_requests: int | None = row(
        "limits.maxParallelRequests", "CODEX_MAX_PARALLEL_REQUESTS", p.integer(1), None, "Turns at the same time."
    )
    queue_timeout_seconds: float = row(
        "limits.queueTimeoutSeconds", "CODEX_QUEUE_TIMEOUT_SECONDS", p.number(0), 30.0, "Longest wait for a free slot."
    )
    max_queued_requests: int = row(
        "limits.maxQueuedRequests",
        "CODEX_MAX_QUEUED_REQUESTS",
        p.integer(0),
        100,
        "Turns that may wait for a free slot; the next ones get 503 at once.",
    )

    store_responses: bool = row(
        "responses.store", "CODEX_STORE_RESPONSES", p.flag, True, "Keep responses, so that they can be continued."
    )
    store_max_days: float = row(
        "responses.maxAgeDays",
        "CODEX_STORE_MAX_AGE_DAYS",
        p.number(0.01),
        30.0,
        "Days a conversation is kept after its last turn.",
    )
    store_max_bytes: int = row(
        "responses.maxBytes", "CODEX_STORE_MAX_BYTES", p.integer(2**20), 2**30, "Most bytes of all stored responses."
    )
    resume_grace_seconds: float = row(
        "responses.resumeGraceSeconds",
        "CODEX_RESUME_GRACE_SECONDS",
        p.number(0),
        0.0,
        "How long a stored stream goes on after its client left, so that it can be resumed; 0 ends it at once.",
    )

    cli_bin: str = row("cli.bin", "CODEX_BIN", p.text, "codex", "The local Codex CLI.")
    cli_home: Path = row("cli.home", "CODEX_HOME", p.folder, "~/.codex", "The local Codex CLI's own folder.")
    cli_workdir: Path | None = row(
        "cli.workdir",
        "CODEX_WORKDIR",
        p.folder,
        None,
        "Where it works.",
        shown="a fresh empty folder per request",
    )
    cli_sandbox_mode: str = row(
        "cli.sandboxMode", "CODEX_SANDBOX_MODE", p.choice(*SANDBOX_MODES), "read-only", ", ".join(SANDBOX_MODES) + "."
    )
    cli_project_docs: bool = row(
        "cli.projectDocs", "CODEX_PROJECT_DOCS", p.flag, False, "Follow AGENTS.md and skills of the folder it works in."
    )
    local_only: bool = row(
        "cli.localOnly", "CODEX_LOCAL_ONLY", p.flag, False, "Refuse every backend that is not on this machine."
    )
    allow_danger_full_access: bool = row(
        "cli.allowDangerFullAccess", "CODEX_ALLOW_DANGER_FULL_ACCESS", p.flag, False, "Permit `danger-full-access`."
    )

    default_provider_type: str = row(
        None,
        "CODEX_PROVIDER",
        p.choice(CODEX.type, CODEX_CLI.type),
        CODEX.type,
        "Type of the one default provider, `codex` or `codex-cli`.",
    )
    tokens_json: str | None = row(
        None, "CODEX_TOKENS_JSON", p.json_object, None, "Content of `tokens.json` for an empty `DATA_DIR`.", secret=True
    )

    providers: tuple[Provider, ...] = (Provider(name="default"),)
    users: tuple[User, ...] = ()
    guard: tuple[ClientRule, ...] = tuple(GUARD.values())

    @property
    def has_keys(self) -> bool:
        """Whether any key is configured, so that callers must present one."""
        return self.api_key is not None or any(user.enabled and user.api_key_hash for user in self.users)
