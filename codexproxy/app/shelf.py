"""Where answers are kept, and how what is too old or too much is forgotten."""

import logging
import random
import threading
import time

from codexproxy.errors import ProxyError
from codexproxy.settings import Settings
from codexproxy.state.database import Database
from codexproxy.state.leader import Leadership
from codexproxy.state.responses.record import DAY, Limits, ResponseStore
from codexproxy.state.responses.schema import SCHEMA
from codexproxy.state.responses.sqlite import SqliteResponseStore
from codexproxy.web.shelf import Shelf

# Seconds between two looks for what is to be forgotten.
SWEEP_EVERY = 60.0

log = logging.getLogger(__name__)


def make_shelf(settings: Settings) -> Shelf:
    """The shelf of this worker; all workers share its file."""
    limits = Limits(max_age=settings.store_max_days * DAY, max_bytes=settings.store_max_bytes)
    store = SqliteResponseStore(Database(settings.data_dir / "responses.sqlite3", SCHEMA), limits)
    return Shelf(store, settings.store_responses, settings.resume_grace_seconds)


def keep_swept(store: ResponseStore, settings: Settings) -> None:
    """Begins to forget what is too old or too much; one process of the host does it."""
    office = Leadership(settings.data_dir / "responses.leader")
    threading.Thread(target=_sweep_forever, args=(store, office), name="sweep", daemon=True).start()


def _sweep_forever(store: ResponseStore, office: Leadership) -> None:
    # Not at the very start, when everything else is waiting to begin.
    pause = 1.0 + random.random()
    while True:
        time.sleep(pause)
        try:
            if office.is_leader():
                store.sweep()
        except ProxyError as error:
            log.warning("stored responses were not swept: %s", error.message)
        except Exception:  # a bug must not end the sweeping for as long as the process lives
            log.exception("the sweep of stored responses stumbled")
        pause = SWEEP_EVERY * (0.5 + random.random())
