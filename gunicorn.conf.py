"""gunicorn's settings for a deployment; what they are and why stands in codexproxy.web.serving.server."""

import os
import sys

from codexproxy.settings import SettingsError
from codexproxy.web.serving.server import IN_FORCE, gunicorn_options, log_to

try:
    settings = IN_FORCE.load(os.environ)
except SettingsError as error:
    sys.exit(str(error))
log_to(settings)
globals().update(gunicorn_options(settings))
del settings
