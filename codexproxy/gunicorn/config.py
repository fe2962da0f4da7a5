"""gunicorn as we run it: one table of options, one application around it."""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.app.base import BaseApplication

from codexproxy.gunicorn.log import GunicornLog
from codexproxy.gunicorn.master import MetricsFolder, Replacements, allow_open_files
from codexproxy.observability.log import configure_logging
from codexproxy.settings import Problem, Settings, SettingsError, dangers, refuse_public_bind, refuse_shared_folder

# Idle keep-alive connections count too; the default of 1,000 makes the next ones wait without an error.
WORKER_CONNECTIONS = 10_000
BACKLOG = 4096
# Longer than nginx's own keep-alive to us, so that it never writes into a closed connection.
KEEPALIVE_SECONDS = 75
# How long a service that stops lets open streams finish; `--graceful-timeout` overrides it.
GRACEFUL_SECONDS = 30

log = logging.getLogger(__name__)


class InForce:
    """The settings that this service runs with, also after a reload with a mistake in them."""

    def __init__(self) -> None:
        self._settings: Settings | None = None

    def load(self, read: Callable[[], Settings]) -> Settings:
        """Takes the settings as they are now; at a reload, mistakes leave the earlier ones in force.

        Args:
            read: Reads them from where they are written.

        Raises:
            SettingsError: There are mistakes, and nothing earlier.
        """
        try:
            self._take(read())
        except SettingsError as error:
            if self._settings is None:
                raise
            log.error("Not reloaded, the earlier settings stay in force: %s", error)
        return self.current(read)

    def current(self, read: Callable[[], Settings]) -> Settings:
        """The settings in force, for a worker."""
        return self._settings or read()

    def _take(self, fresh: Settings) -> None:
        if shared := refuse_shared_folder(fresh.data_dir):
            raise SettingsError((Problem("DATA_DIR", shared),))
        before = self._settings
        refusal = refuse_public_bind(fresh, [_bind(fresh)])
        # An address of the command line counts instead, and is judged once gunicorn knows it.
        if before and refusal and not refuse_public_bind(before, [_bind(before)]):
            log.error("Not reloaded, the earlier settings stay in force: %s", refusal)
        else:
            self._settings = fresh


IN_FORCE = InForce()
# gunicorn reads its options anew at every reload; what it knows of its workers has to last.
_REPLACEMENTS = Replacements()
_METRICS = MetricsFolder()


def gunicorn_options(settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """gunicorn's settings for these settings of ours."""
    return {
        "bind": [_bind(settings)],
        "workers": settings.workers,
        "worker_class": "codexproxy.gunicorn.worker.ProxyWorker",
        "worker_connections": WORKER_CONNECTIONS,
        "backlog": BACKLOG,
        "keepalive": KEEPALIVE_SECONDS,
        "timeout": 120,
        "graceful_timeout": GRACEFUL_SECONDS,
        "logger_class": GunicornLog,
        # Whose word about the original request counts: a proxy on this machine, and what the owner adds.
        "forwarded_allow_ips": environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1,::1",
        # Session headers of older clients have underscores, which gunicorn drops unless told so.
        "forwarder_headers": "SESSION_ID,CONVERSATION_ID",
        "limit_request_line": 8190,
        "limit_request_field_size": 32_768,
        # Two instances of one user would fight for the one socket under the home folder.
        "control_socket_disable": True,
        "on_starting": _on_starting(settings),
        "on_reload": _on_reload(settings),
        "child_exit": _child_exit,
        "on_exit": _METRICS.on_exit,
        "loglevel": {"warn": "warning"}.get(settings.log_level, settings.log_level),
    }


def log_to(settings: Settings) -> None:
    """Sets up logging for gunicorn's master."""
    secrets = [settings.api_key] if settings.api_key else []
    configure_logging(
        settings.log_level,
        settings.log_format,
        directory=settings.log_dir,
        keep_days=settings.log_keep_days,
        max_bytes=settings.log_max_bytes,
        secrets=secrets,
    )


def run(settings: Settings, read: Callable[[], Settings] | None = None) -> None:
    """Serves until told to stop; the way of ``codexproxy serve``.

    Args:
        settings: What to begin with.
        read: Reads the settings anew at a reload; None to keep what is there.
    """
    Server(settings, read or (lambda: settings)).run()


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with our options and no command line of its own.

    Args:
        settings: What to begin with.
        read: Reads the settings anew at a reload.
    """

    def __init__(self, settings: Settings, read: Callable[[], Settings]) -> None:
        self._in_force = InForce()
        self._in_force.load(lambda: settings)
        self._read = read
        super().__init__()

    def load_config(self) -> None:
        """Takes our options; gunicorn's environment variable and files have no say here."""
        settings = self._in_force.current(self._read)
        log_to(settings)
        for name, value in gunicorn_options(settings).items():
            self.cfg.set(name, value)

    def reload(self) -> None:
        """Reads the settings anew; their mistakes are logged and change nothing."""
        self._in_force.load(self._read)
        super().reload()

    def load(self) -> Any:
        """Makes the application, in the worker and after gevent has patched the standard library."""
        from codexproxy.app import create_app

        return create_app(self._in_force.current(self._read))


def _bind(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"


def _on_starting(settings: Settings) -> Any:
    def on_starting(server: Any) -> None:
        if refusal := refuse_public_bind(settings, _effective_binds(server)):
            sys.exit(refusal)
        _warn(settings)
        allow_open_files()
        _METRICS.on_starting(server)

    return on_starting


def _child_exit(server: Any, worker: Any) -> None:
    _REPLACEMENTS.child_exit(server, worker)
    _METRICS.child_exit(server, worker)


def _on_reload(settings: Settings) -> Any:
    def on_reload(server: Any) -> None:
        if refusal := refuse_public_bind(settings, _effective_binds(server)):
            # Nobody may be served without a key; a restart would refuse, too.
            log.error("%s", refusal)
            server.stop(graceful=True)
            sys.exit(refusal)
        _warn(settings)
        _REPLACEMENTS.on_reload(server)

    return on_reload


def _warn(settings: Settings) -> None:
    for danger in dangers(settings):
        log.warning("%s", danger)


def _effective_binds(server: Any) -> list[str]:
    # ``--bind`` on the command line included.
    return list(server.cfg.settings["bind"].get())
