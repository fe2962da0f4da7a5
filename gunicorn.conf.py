"""gunicorn's settings for a deployment; what they are and why stands in codexproxy.web.serving.server."""

import os
import sys

from codexproxy.settings import SettingsError, load_settings
from codexproxy.web.serving.server import IN_FORCE, gunicorn_options, log_to

try:
    settings = IN_FORCE.load(lambda: load_settings(os.environ))
except SettingsError as error:
    sys.exit(str(error))
log_to(settings)
globals().update(gunicorn_options(settings))
del settings
