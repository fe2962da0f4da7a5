"""gunicorn as we run it: one table of options, one application around it."""

import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from codexproxy.settings import Settings, refuse_public_bind

# Idle keep-alive connections count too; the default of 1,000 makes the next ones wait without an error.
WORKER_CONNECTIONS = 10_000
BACKLOG = 4096
# Longer than nginx's own keep-alive to us, so that it never writes into a closed connection.
KEEPALIVE_SECONDS = 75


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """gunicorn's settings for these settings of ours."""
    return {
        "bind": [_bind(settings)],
        "workers": settings.workers,
        "worker_class": "codexproxy.web.worker.ProxyWorker",
        "worker_connections": WORKER_CONNECTIONS,
        "backlog": BACKLOG,
        "keepalive": KEEPALIVE_SECONDS,
        "timeout": 120,
        "graceful_timeout": 30,
        # Session headers of older clients have underscores, which gunicorn drops unless told so.
        "forwarder_headers": "SESSION_ID,CONVERSATION_ID",
        "limit_request_line": 8190,
        "limit_request_field_size": 32_768,
        # Two instances of one user would fight for the one socket under the home folder.
        "control_socket_disable": True,
        "on_starting": _checked(settings),
        "loglevel": {"warn": "warning"}.get(settings.log_level, settings.log_level),
    }


def run(settings: Settings) -> None:
    """Serves until told to stop; the way of ``codexproxy serve``."""
    Server(settings).run()


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with our options and no command line of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Takes our options; gunicorn's environment variable and files have no say here."""
        for name, value in gunicorn_options(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Makes the application, in the worker and after gevent has patched the standard library."""
        from codexproxy.app import create_app

        return create_app(self._settings)


def _bind(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"


def _checked(settings: Settings) -> Any:
    def on_starting(server: Any) -> None:
        # The effective bind, ``--bind`` on the command line included.
        refusal = refuse_public_bind(settings, list(server.cfg.settings["bind"].get()))
        if refusal:
            sys.exit(refusal)

    return on_starting
