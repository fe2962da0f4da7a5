"""The service with two more paths, by which a test asks its worker what only the cyclic collector would free.

``/_collector/off`` collects and switches the collector off; ``/_collector/left`` collects and answers
how many objects that freed, by type, and after how many requests.
"""

import gc
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import gevent

from codexproxy.app import create_app
from codexproxy.gunicorn.config import IN_FORCE
from codexproxy.settings import load_settings

app = create_app(IN_FORCE.current(lambda: load_settings(os.environ)))
_answer = app.wsgi_app


_asked: list[str] = []


def collected() -> dict[str, Any]:
    """Collects, and counts what that frees by type."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    found = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.collect()
    return {"requests": len(_asked), "found": dict(found.most_common())}


def switched_off() -> dict[str, Any]:
    """Collects once, and never again by itself."""
    gc.disable()
    gc.collect()
    _asked.clear()
    return {}


PATHS: dict[str, Callable[[], dict[str, Any]]] = {"/_collector/off": switched_off, "/_collector/left": collected}


def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The two paths, and for everything else the service."""
    asked = PATHS.get(environ["PATH_INFO"])
    if asked is None:
        _asked.append(environ["PATH_INFO"])
        return _answer(environ, start_response)
    for _ in range(5):
        gevent.sleep(0.01)  # What a request leaves to other greenlets is done by then.
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(asked()).encode()]


app.wsgi_app = answer  # type: ignore[method-assign]
