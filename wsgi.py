"""The application gunicorn serves: ``gunicorn -c gunicorn.conf.py wsgi:app``."""

import os

from codexproxy.app import create_app
from codexproxy.gunicorn.config import IN_FORCE
from codexproxy.settings import load_settings

app = create_app(IN_FORCE.current(lambda: load_settings(os.environ)))
