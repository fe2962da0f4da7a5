"""The providers of the settings as backends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codexproxy.app.logins import Login, make_identity, make_login
from codexproxy.data_dir import DataDir
from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.gunicorn.socket_wait import alarm, wait_readable
from codexproxy.login.tokens.external_store import LinkedTokenStore
from codexproxy.protocol.stream import TimeLimits
from codexproxy.provider_types import CODEX, CODEX_CLI, OPENAI
from codexproxy.settings import Provider as ProviderRow
from codexproxy.settings import Settings
from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.upstream.base import Backend, Permits
from codexproxy.upstream.chatgpt.client import ChatGptBackend
from codexproxy.upstream.chatgpt.sse import untold
from codexproxy.upstream.chatgpt.transport import Transport
from codexproxy.upstream.codex_cli import CodexCliBackend, CodexCliOptions, is_local_url
from codexproxy.upstream.openai_compatible import RelayAddress, RelayBackend
from codexproxy.upstream.provider import Provider, UnavailableBackend
from codexproxy.upstream.quota_store import QuotaBook


@dataclass
class Providers:
    """Makes the backends of the settings; one per worker, after the fork.

    Attributes:
        settings: What the user decided.
        environ: Where keys of relays and the network's proxies are looked up.
        quotas: Told the quotas that upstreams mention.
        slots: Places for turns; None where nothing limits them.
        logins: The logins in use, by profile.
        refreshed: Told of every renewal of a login, whether it succeeded.
        skipped: Told of every event of a provider that was passed over.
        is_own: Whether instructions are ours, which the CLI with a prompt of its own needs not.
    """

    settings: Settings
    environ: Mapping[str, str]
    quotas: QuotaBook
    slots: Permits | None = None
    logins: dict[str, Login] = field(default_factory=dict)
    refreshed: Callable[[bool], None] | None = None
    skipped: Callable[[str], object] = untold
    is_own: Callable[[str], bool] = field(default=lambda text: False)

    def all(self) -> list[Provider]:
        """All enabled providers."""
        return [self._provider(row) for row in self.settings.providers if row.enabled]

    def login(self, profile: str) -> Login:
        """The login of a profile, made once."""
        if profile not in self.logins:
            self.logins[profile] = make_login(self.settings, profile, self.refreshed)
        return self.logins[profile]

    def _provider(self, row: ProviderRow) -> Provider:
        backend = self._unavailable(row) or (Providers._relay if row.api_key_env else MAKERS[row.type])(self, row)
        # Keys and the CLI's own login are accounts of their own.
        account = f"profile:{row.profile}" if row.uses_login else ""
        # A program on this machine takes a slot for each of its processes.
        queue = None if row.capabilities.is_local else self.slots
        return Provider(backend, row.group, row.priority, row.weight, row.models, account, queue)

    def _unavailable(self, row: ProviderRow) -> Backend | None:
        url = row.url or self.settings.backend_url
        if not self.settings.local_only or row.capabilities.is_local or is_local_url(url):
            return None
        message = (
            f"The provider '{row.name}' is not on this machine, and CODEX_LOCAL_ONLY=1 permits nothing else. "
            "Use a local one, or unset CODEX_LOCAL_ONLY."
        )
        return UnavailableBackend(row.name, row.capabilities, message, "local_only")

    def _codex(self, row: ProviderRow) -> Backend:
        url = row.url or self.settings.backend_url
        return ChatGptBackend(
            row.name,
            url,
            Transport(url, self.environ),
            self.login(row.profile).credentials,
            identity=make_identity(self.settings),
            limits=self._limits(),
            wait=wait_readable,
            patience=self.settings.heartbeat_seconds,
            alarm=alarm,
            skipped=self.skipped,
            heard=self.quotas.note,
        )

    def _relay(self, row: ProviderRow) -> Backend:
        url, name = row.url or "https://api.openai.com/v1", row.api_key_env or "OPENAI_API_KEY"
        return RelayBackend(
            row.name,
            RelayAddress(url, self.environ.get(name, ""), name, wants_key=bool(row.api_key_env or not row.url)),
            Transport(url, self.environ),
            capabilities=row.capabilities,
            limits=self._limits(),
            wait=wait_readable,
            patience=self.settings.heartbeat_seconds,
            alarm=alarm,
            skipped=self.skipped,
        )

    def _cli(self, row: ProviderRow) -> Backend:
        settings = self.settings
        scratch = DataDir(settings.data_dir).cli_runs
        make_private_folder(scratch)
        options = CodexCliOptions(
            bin=settings.cli_bin,
            home=settings.cli_home,
            workdir=settings.cli_workdir,
            sandbox_mode=settings.cli_sandbox_mode,
            local_only=settings.local_only,
            allow_danger_full_access=settings.allow_danger_full_access,
            limits=TimeLimits(settings.connect_timeout, None, None, settings.turn_timeout),
            environment=self.environ,
            scratch=scratch,
            hidden=(settings.data_dir, settings.config_path, Path(".env").absolute(), *_folders(settings.log_dir)),
            linked=self._linked,
            key_workdirs=DataDir(settings.data_dir).cli_workdirs,
            project_docs=settings.cli_project_docs,
        )
        return CodexCliBackend(
            row.name, options, permits=self.slots, patience=settings.heartbeat_seconds, is_own=self.is_own
        )

    def _linked(self) -> list[Path]:
        """The files of other programs that hold a login of ours."""
        found: list[Path] = []
        for folder in DataDir(self.settings.data_dir).all_profiles():
            try:
                link = LinkedTokenStore.in_folder(folder.root).linked()
            except ProxyError:  # a broken link leads nowhere; status and doctor say so
                continue
            found += [link.path] if link is not None else []
        return found

    def _limits(self) -> TimeLimits:
        settings = self.settings
        return TimeLimits(
            settings.connect_timeout, settings.first_event_timeout, settings.idle_timeout, settings.turn_timeout
        )


def _folders(folder: Path | None) -> tuple[Path, ...]:
    return () if folder is None else (folder,)


# Type of a provider -> what makes its backend; one with a key of its own is a relay, whatever its type.
MAKERS: dict[str, Callable[[Providers, ProviderRow], Backend]] = {
    CODEX.type: Providers._codex,
    CODEX_CLI.type: Providers._cli,
    OPENAI.type: Providers._relay,
}


def first_models(providers: list[Provider]) -> Callable[[], list[dict[str, object]]]:
    """Fetches the catalogue of the first provider that has one, preferring those that describe their models."""
    ordered = sorted(providers, key=lambda provider: (not provider.capabilities.describes_models, provider.priority))

    def fetch() -> list[dict[str, object]]:
        refusal: ProxyError = UpstreamFailed("No provider is enabled. Check 'providers' in the config file.")
        for provider in ordered:
            try:
                return provider.backend.models()
            except ProxyError as error:
                refusal = error
        raise refusal

    return fetch
