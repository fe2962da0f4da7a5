"""gunicorn's settings for a deployment; what they are and why stands in codexproxy.gunicorn.config."""

import os
import sys

from codexproxy.gunicorn.config import IN_FORCE, gunicorn_options, log_to
from codexproxy.settings import SettingsError, load_settings

try:
    settings = IN_FORCE.load(lambda: load_settings(os.environ))
except SettingsError as error:
    sys.exit(str(error))
log_to(settings)
globals().update(gunicorn_options(settings))
del settings
