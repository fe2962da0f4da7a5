"""What the user may decide: one frozen object from defaults, config file and environment.

`model` is the table (one row per setting), `parsing` checks single values,
`loading` joins the three sources, `binding` judges who can reach the service.
Importing this package is light on purpose: ``gunicorn.conf.py`` reads it
before gevent has patched the standard library.
"""

from codexproxy.settings.binding import dangers, refuse_public_bind, refuse_shared_folder
from codexproxy.settings.entries import ClientRule, Provider, User
from codexproxy.settings.loading import load_settings
from codexproxy.settings.model import Settings
from codexproxy.settings.parsing import is_loopback_host
from codexproxy.settings.problems import Problem, SettingsError

__all__ = [
    "ClientRule",
    "Problem",
    "Provider",
    "Settings",
    "SettingsError",
    "User",
    "dangers",
    "is_loopback_host",
    "load_settings",
    "refuse_public_bind",
    "refuse_shared_folder",
]
