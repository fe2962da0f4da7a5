"""The application gunicorn serves: ``gunicorn -c gunicorn.conf.py wsgi:app``."""

import os

from codexproxy.app import create_app
from codexproxy.settings import load_settings
from codexproxy.web.serving.server import IN_FORCE

app = create_app(IN_FORCE.current(lambda: load_settings(os.environ)))
