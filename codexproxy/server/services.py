"""What the routes work with, handed in by the composition root."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flask import Flask

from codexproxy.access.context import AccessPolicy
from codexproxy.access.keys import KeyRing
from codexproxy.access.lockout import Lockout
from codexproxy.access.origins import OriginPolicy
from codexproxy.apis.base import Api
from codexproxy.gunicorn.fast_writer import SendLimits
from codexproxy.gunicorn.inflight import Underway
from codexproxy.gunicorn.janitor import Sweepers
from codexproxy.observability.metrics import Metrics
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.server.login.login_service import LoginDesk
from codexproxy.server.login.refresh_supervisor import LoginWatch
from codexproxy.server.planner import Planner
from codexproxy.server.running_turn import TurnObserver
from codexproxy.server.stored.response_service import ResponseService
from codexproxy.upstream.quota_report import QuotaReport
from codexproxy.upstream.router.router import Router


@dataclass(frozen=True)
class Services:
    """Everything the web layer needs, and nothing it could look up itself.

    Attributes:
        apis: Route -> API format.
        router: Opens turns; retries and fails over before the first event.
        access: Decides about every turn.
        planner: Plans turns and opens them.
        keys: Who may ask.
        origins: From where.
        lockout: Who must wait after too many wrong keys.
        ready: Reasons why turns cannot be served now; empty when they can.
        notes: What the owner should know although turns can be served.
        desk: Logs in and out.
        watch: Renews the logins ahead of time.
        quota: How much of the accounts is used, and by whom.
        max_body_bytes: Largest request, before and after unpacking.
        heartbeat_seconds: Silence in a stream after which a heartbeat is sent.
        reverse_names: Whether each model is listed by its reversed name, too.
        responses: Where answers are kept.
        observer: Takes the row of every turn, and counts it.
        inflight: The requests that this worker serves.
        send_limits: How long a client may take to read.
        sweepers: Clear away what is too old, while a worker lives.
        pause: Lets others run, now and then in a long walk.
    """

    apis: Mapping[str, Api]
    router: Router
    access: AccessPolicy
    planner: Planner
    keys: KeyRing
    origins: OriginPolicy
    ready: Callable[[], list[str]]
    notes: Callable[[], list[str]]
    desk: LoginDesk
    watch: LoginWatch
    responses: ResponseService
    quota: QuotaReport
    max_body_bytes: int
    heartbeat_seconds: float
    reverse_names: bool = False
    lockout: Lockout = field(default_factory=Lockout)
    observer: TurnObserver = field(default_factory=lambda: TurnObserver(Metrics()))
    pause: Pause = no_pause
    inflight: Underway = field(default_factory=Underway)
    send_limits: SendLimits = field(default_factory=SendLimits)
    sweepers: Sweepers = field(default_factory=Sweepers)

    def start(self) -> None:
        """Begins what a worker does besides serving requests; after the fork."""
        self.watch.start()
        self.sweepers.start()

    def stop(self) -> None:
        """Begins nothing new any more; requests under way go on."""
        self.watch.stop()

    def close(self) -> None:
        """Writes what waits to be written; after the last request."""
        self.observer.close()


# Where a Flask application has its services.
_EXTENSION = "codexproxy"


def attach(app: Flask, services: Services) -> None:
    """Hands an application its services."""
    app.extensions[_EXTENSION] = services


def services_of(app: object) -> Services | None:
    """The services of an application; None for a WSGI application that is not ours."""
    found = app.extensions.get(_EXTENSION) if isinstance(app, Flask) else None
    return found if isinstance(found, Services) else None
