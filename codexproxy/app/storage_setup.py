"""Where answers are kept."""

from codexproxy.data_dir import DataDir
from codexproxy.gunicorn.janitor import Sweeper
from codexproxy.server.request_body.fairness import in_thread, let_others_run
from codexproxy.server.stored.response_service import ResponseService
from codexproxy.settings import Settings
from codexproxy.storage.base import DAY, Limits
from codexproxy.storage.files.locks import Leadership
from codexproxy.storage.sqlite.database import Database
from codexproxy.storage.sqlite.response_tables import SCHEMA
from codexproxy.storage.sqlite.responses import SqliteResponseStore

# Seconds for which the end of a finished answer waits until it can be kept.
PATIENCE = 5.0


def make_responses(settings: Settings) -> ResponseService:
    """The responses of this worker; all workers share its file."""
    limits = Limits(max_age=settings.store_max_days * DAY, max_bytes=settings.store_max_bytes)
    database = Database(DataDir(settings.data_dir).responses, SCHEMA, timeout=PATIENCE, aside=in_thread)
    store = SqliteResponseStore(database, limits, pause=let_others_run)
    return ResponseService(
        store,
        settings.store_responses,
        settings.resume_grace_seconds,
        most_bytes=settings.max_body_bytes,
        pause=let_others_run,
    )


def make_sweeper(settings: Settings, responses: ResponseService) -> Sweeper:
    """What forgets for all workers of the host."""
    return Sweeper("stored responses", responses.store, Leadership(DataDir(settings.data_dir).responses_leader))
