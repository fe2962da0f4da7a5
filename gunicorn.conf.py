"""gunicorn's settings for a deployment; what they are and why stands in codexproxy.web.server."""

import os
import sys

from codexproxy.settings import SettingsError, load_settings
from codexproxy.web.server import gunicorn_options

try:
    globals().update(gunicorn_options(load_settings(os.environ)))
except SettingsError as error:
    sys.exit(str(error))
